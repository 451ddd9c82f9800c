//! herdsman may be killed at any moment, and so may its servers: the next
//! pass continues, and at no time has a model two servers.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use crate::support::gguf::TinyGguf;
use crate::support::{Ran, World, ask, eventually, processes, try_ask};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(30);

/// Asserts that no model has two servers.
#[track_caller]
fn no_doubles(world: &World) {
    let instances = world.instances();
    assert!(instances.windows(2).all(|pair| pair[0].1 != pair[1].1), "{instances:?}");
}

#[test]
fn a_herdsman_killed_at_any_moment_loses_and_doubles_nothing() {
    let mut seed = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    let world = World::new();
    let definition = |name: &str, round: u32| {
        let state = if name == "c" && round % 2 == 1 { "stopped" } else { "running" };
        let ctx = if name == "a" { 512 + 256 * (round % 4) } else { 512 };
        format!("state = \"{state}\"\n{}", World::tiny_toml(name).replace("512", &ctx.to_string()))
    };
    for name in ["a", "b", "c"] {
        world.weights(name, &format!("{name} "));
    }
    for round in 0..12 {
        for name in ["a", "b", "c"] {
            world.write_definition(name, &definition(name, round));
        }
        let mut herdsman = world.start(&["reconcile"]);
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        std::thread::sleep(Duration::from_millis(u64::from(seed >> 24)));
        // Fails only if it has ended already.
        let _ = herdsman.child().kill();
        let _ = herdsman.child().wait();
        no_doubles(&world);
        let ran = world.run(&["reconcile"]);
        let expected: &[&str] = if round % 2 == 1 { &["a", "b"] } else { &["a", "b", "c"] };
        let names: Vec<String> = world.instances().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, expected, "round {round}, {ran}");
        assert_eq!(world.answer("a"), "a a a ", "round {round}");
        ran.exits(0);
    }
    world.is_settled();
}

#[test]
fn a_lost_database_loses_no_server() {
    let world = World::new();
    for name in ["a", "b"] {
        world.tiny(name);
    }
    world.converges();
    let (before, port) = (world.instances(), world.port("a"));
    for file in ["herdsman.db", "herdsman.db-wal", "herdsman.db-shm"] {
        // There is no -wal after the last connection closed.
        let _ = fs::remove_file(world.state_dir().join(file));
    }
    world.converges().says(&["< a  adopt", "is missing from the database"]);
    assert_eq!(world.instances(), before);
    assert_eq!(world.port("a"), port);
    world.is_settled();
    // Known again well enough to be updated.
    world.write_definition("a", &World::tiny_toml("a").replace("512", "1024"));
    world.converges().says(&["-/+ a  restart"]);
    assert_eq!(world.answer("a"), "a a a ");
    no_doubles(&world);
}

#[test]
fn only_one_pass_runs_at_a_time_and_the_other_times_out() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.tiny(name);
    }
    let herdsman = || world.command().arg("reconcile").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut herdsmen: Vec<_> = (0..4).map(|_| herdsman()).collect();
    for herdsman in &mut herdsmen {
        assert!(herdsman.wait().unwrap().success());
    }
    assert_eq!(world.instances().len(), 3);
    no_doubles(&world);

    let lock = fs::File::open(world.state_dir().join("lock")).unwrap();
    lock.lock().unwrap();
    for command in ["reconcile", "down"] {
        world.run(&[command, "--lock-timeout", "0s"]).exits(75).says(&["another pass has held", "--lock-timeout"]);
    }
    world.run(&["status"]).exits(0);
    world.run(&["reconcile", "--dry-run"]).exits(0);
    drop(lock);
    world.is_settled();
}

#[test]
fn a_killed_server_comes_back_and_one_that_dies_again_and_again_slows_down() {
    let world = World::new();
    world.tiny("a");
    world.tiny("b");
    world.converges();
    let b = world.pid("b");
    let mut crashes = 0;
    let waiting = loop {
        world.kill("a");
        crashes += 1;
        let ran = world.run(&["reconcile"]);
        match ran.code {
            // 8 s: long enough to look at it.
            1 if crashes >= 4 => break ran,
            1 => drop(world.run(&["reconcile", "--retry"]).exits(0)),
            _ => drop(ran.exits(0).says(&["> a  start", "process gone"])),
        }
        assert_eq!(world.answer("a"), "a a a ");
        assert!(crashes < 6, "the delay doubles at every crash and was never seen");
    };
    waiting.says(&["a  wait", "crashed", "waiting to retry"]);
    let status = world.status("a");
    assert_eq!((&status["status"], &status["crashes"]), (&"error".into(), &crashes.into()), "{status}");
    world.run(&["status"]).says(&["next try in"]);
    assert_eq!(world.instances(), [(b, "b".to_owned())]);
    // Remembered from run to run, and over.
    eventually("the delay is over", 2 * PATIENCE, || world.run(&["reconcile"]).code == 0);
    assert_eq!(world.answer("a"), "a a a ");
    assert_eq!(world.status("a")["crashes"], crashes);
    assert_eq!(world.pid("b"), b);

    world.kill("a");
    world.run(&["reconcile", "--retry"]).exits(0);
    assert_eq!(world.answer("a"), "a a a ");
}

#[test]
fn a_server_killed_while_it_loads_is_started_again() {
    let world = World::new();
    TinyGguf::new("slow ").zero_layers(6).write(&world.path().join("weights/slow.gguf")).unwrap();
    world.write_definition("slow", &World::tiny_toml("slow"));
    world.run(&["reconcile", "--no-wait"]).exits(0);
    world.kill("slow");
    let ran = world.run(&["reconcile", "--no-wait"]);
    assert!(matches!(ran.code, 0 | 1), "{ran}");
    ran.says(&["slow: failed to start"]);
    eventually("it is tried again", PATIENCE, || world.run(&["reconcile"]).code == 0);
    assert_eq!(world.answer("slow"), "slow slow slow ");
    assert_eq!(world.instances().len(), 1);
}

#[test]
fn a_frozen_server_is_stopped_all_the_same() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    world.signal("a", Signal::STOP);
    // It cannot be asked what is in flight: the whole drain time passes.
    let stopped = format!("state = \"stopped\"\n{}[update]\ndrain = \"200ms\"\n", World::tiny_toml("a"));
    world.write_definition("a", &stopped);
    world.converges().says(&["x a  stop"]);
    assert_eq!(world.instances(), []);
    assert_eq!(world.status("a")["status"], "idle");
    world.is_settled();
}

#[test]
fn reconcile_restarts_what_down_stopped_and_down_refuses_beside_a_watcher() {
    let world = World::new();
    for name in ["a", "b"] {
        world.tiny(name);
    }
    world.converges();
    let port = world.port("a");
    let lock = fs::File::create(world.state_dir().join("watch.lock")).unwrap();
    lock.lock().unwrap();
    world.run(&["down"]).exits(75).says(&["a watcher is running on"]);
    assert_eq!(world.instances().len(), 2);
    drop(lock);
    world.run(&["down"]).exits(0).says(&["Stopped 2 servers."]);
    assert_eq!(world.instances(), []);
    assert!(try_ask(port).is_err());
    world.run(&["models", "list", "--status", "idle", "--format", "json"]).exits(0).says(&["\"a\"", "\"b\""]);
    world.run(&["down"]).exits(0).says(&["Stopped 0 servers."]);
    world.converges().says(&["> a  start", "> b  start"]);
    assert_eq!(ask(port), "a a a ");
}

#[test]
fn a_server_of_another_state_directory_is_named_and_not_doubled() {
    let world = World::new();
    world.tiny("a");
    world.tiny("b");
    world.run(&["reconcile", "--target", "a"]).exits(0);
    let pid = world.pid("a");
    let other = |arguments: &[&str]| {
        // Its own ports, as another user's would be.
        Ran::of(world.command().env("HERDSMAN_STATE_DIR", "other-state").args(arguments))
    };
    other(&["reconcile"]).exits(1).says(&["a  wait", &format!("pid {pid}"), "another state directory"]);
    assert_eq!(world.pid("a"), pid);
    assert_eq!(processes(|p| p.variable("HERDSMAN_MODEL") == Some("a") && in_world(p, &world)).len(), 1);
    assert_eq!(processes(|p| p.variable("HERDSMAN_MODEL") == Some("b") && in_world(p, &world)).len(), 1);
    // Nor does the other one's `down` touch it.
    other(&["down"]).exits(0).says(&["Stopped 1 server."]);
    assert_eq!(world.pid("a"), pid);
    world.run(&["down"]).exits(0);
    other(&["reconcile"]).exits(0);
}

fn in_world(process: &crate::support::Process, world: &World) -> bool {
    process.variable("HERDSMAN_DEFINITION").is_some_and(|path| path.starts_with(world.path().to_str().unwrap()))
}
