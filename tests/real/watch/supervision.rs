//! Servers that die, hang, or never come up; and SIGHUP.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use super::scene::{PATIENCE, Scene, causes, causes_are, events, kill_and_see_it_return, serves, watch, world};
use crate::support::{World, eventually};

#[test]
fn a_killed_server_comes_back() {
    let scene = Scene::new();
    kill_and_see_it_return(&scene.world, "m");
    scene.other_is_untouched();
    causes_are(&scene.world, "m", "start", &["server of m exited"]);
    eventually("it is told why", PATIENCE, || {
        scene.watcher.log().lines().any(|l| l.contains("m start: ") && l.contains("(server of m exited)"))
    });
}

#[test]
fn an_adopted_server_that_is_killed_comes_back() {
    let world = world();
    world.converges();
    let watcher = watch(&world, &[]);
    watcher.eventually_says("2 models match their definitions");
    kill_and_see_it_return(&world, "m");
    causes_are(&world, "m", "start", &["server of m exited"]);
}

#[test]
fn a_server_that_dies_at_every_start_slows_down_and_an_edit_heals_it() {
    let scene = Scene::new();
    let world = &scene.world;
    world.weights_that_die("bad");
    world.write_definition("dies", &World::tiny_toml("bad"));
    let starts = || -> Vec<i64> {
        let events = events(world, "dies").into_iter();
        events.filter(|event| matches!(&*event.action, "create" | "start")).map(|event| event.begun).collect()
    };
    eventually("it was tried three times", PATIENCE, || starts().len() >= 3);
    let starts = starts();
    let delays: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(delays[0] >= 1000 && delays[1] >= 2000, "{delays:?}");
    scene.watcher.eventually_says("dies failed to start: ");
    eventually("it waits", PATIENCE, || world.status("dies")["status"] == "error");
    world.run(&["status"]).says_why_it_died().says(&["next try"]);
    // A pass that is made late notices the death only then.
    let expected = |cause: &String| matches!(&**cause, "deadline" | "server of dies exited");
    assert!(causes(world, "dies", "start")[..2].iter().all(expected), "{:?}", causes(world, "dies", "start"));
    world.write_definition("dies", &World::tiny_toml("v2"));
    serves(world, "dies", "v2");
    scene.other_is_untouched();
}

#[test]
fn a_server_that_falls_silent_is_killed_only_if_its_definition_says_so() {
    let world = world();
    world.write_definition("m", &format!("{}[ready]\nunhealthy_after = \"2s\"\n", World::tiny_toml("m")));
    let scene = Scene::of(watch(&world, &[]), world);
    let world = &scene.world;
    world.signal("other", Signal::STOP);
    let silent = world.signal("m", Signal::STOP);
    eventually("the silent one is gone", PATIENCE, || world.instances().iter().all(|(pid, _)| *pid != silent));
    scene.m_serves("m");
    // The other one has been silent for longer.
    world.signal("other", Signal::CONT);
    serves(world, "other", "other");
    scene.other_is_untouched();
    eventually("it is told why", PATIENCE, || {
        let told = ["m stop: /health has not answered for ", "health check"];
        scene.watcher.log().lines().any(|line| told.iter().all(|part| line.contains(part)))
    });
    let causes = causes(world, "m", "stop");
    assert!(matches!(&causes[..], [cause] if cause.contains("health check")), "{causes:?}");
}

#[test]
fn a_hangup_makes_a_pass() {
    let world = world();
    let key = world.path().join("key");
    fs::write(&key, "first").unwrap();
    let toml = format!("{}[secrets]\napi_key = {{ file = \"../key\" }}\n", World::tiny_toml("m"));
    world.write_definition("keyed", &toml);
    let mut scene = Scene::of(watch(&world, &[]), world);
    scene.watcher.eventually_says("keyed is ready");
    let before = scene.world.pid("keyed");
    // Nobody is told of that.
    fs::write(&key, "second").unwrap();
    scene.watcher.signal(Signal::HUP);
    eventually("it has the new key", PATIENCE, || {
        scene.world.instances().iter().any(|(pid, name)| name == "keyed" && *pid != before)
    });
    eventually("that is recorded", PATIENCE, || causes(&scene.world, "keyed", "restart") == ["SIGHUP"]);
    scene.other_is_untouched();
}

#[test]
fn with_nothing_to_do_nothing_is_said_and_the_resync_goes_on() {
    let world = world();
    let key = world.path().join("key");
    fs::write(&key, "first").unwrap();
    let toml = format!("{}[secrets]\napi_key = {{ file = \"../key\" }}\n", World::tiny_toml("m"));
    world.write_definition("keyed", &toml);
    let scene = Scene::of(watch(&world, &["--resync", "200ms"]), world);
    scene.watcher.eventually_says("3 models match their definitions");
    let (log, begun) = (scene.watcher.log(), std::time::Instant::now());
    eventually("some resyncs are over", PATIENCE, || begun.elapsed() > Duration::from_secs(2));
    assert_eq!(scene.watcher.log(), log);
    // They were made: only a resync finds this.
    fs::write(&key, "second").unwrap();
    eventually("it is found", PATIENCE, || causes(&scene.world, "keyed", "restart") == ["resync"]);
    scene.other_is_untouched();
}
