//! SIGUSR2: another herdsman takes over, and nobody notices.

use std::fs;
use std::time::Instant;

use rustix::process::Signal;

use super::scene::{Scene, world};
use crate::support::{Program, Watcher, World, free_port, get};

/// The watcher of the state directory, by its own note.
fn watcher_of(world: &World) -> i64 {
    let note = fs::read(world.state_dir().join("watch.lock")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&note).unwrap()["pid"].as_i64().unwrap()
}

fn assert_took_over(world: &World, watcher: &mut Watcher) {
    let old = i64::from(watcher.pid().as_raw_nonzero().get());
    watcher.signal(Signal::USR2);
    let ended = watcher.ended(Instant::now());
    assert_eq!(ended.code, Some(0), "{}", watcher.log());
    watcher.eventually_says(&format!("took over from pid {old}"));
    assert_ne!(watcher_of(world), old);
}

#[test]
fn another_herdsman_takes_over_and_no_server_notices() {
    let mut scene = Scene::new();
    let servers = scene.world.instances();
    assert_took_over(&scene.world, &mut scene.watcher);
    // It watches: an edit is applied, by a herdsman that nobody may join.
    let second = scene.world.command().arg("watch").output().unwrap();
    let refusal = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && refusal.contains("another watcher is running"), "{refusal}");
    assert_eq!(scene.world.instances(), servers);
    scene.world.write_definition("m", &World::tiny_toml("v2"));
    scene.m_serves("v2");
}

#[test]
fn metrics_stay_reachable_through_a_handover() {
    let port = free_port();
    let address = format!("--metrics=127.0.0.1:{port}");
    let mut scene = Scene::with(&[&address]);
    assert_took_over(&scene.world, &mut scene.watcher);
    let (status, _) = get(port, "/metrics").unwrap();
    assert_eq!(status, 200);
    scene.world.write_definition("m", &World::tiny_toml("v2"));
    scene.m_serves("v2");
}

#[test]
fn a_herdsman_that_cannot_start_takes_nothing_over() {
    let world = world();
    let program = Program::new(&world);
    let mut scene = Scene::of(world.watch_by(program.command(&world), &["--resync=1h"]), world);
    let before = watcher_of(&scene.world);
    // A new version that is broken, in place of the one that runs.
    program.replace("exit 1");
    scene.watcher.signal(Signal::USR2);
    scene.watcher.eventually_says("did not take over: it ended (exit status: 1)");
    // One that says why only after it has closed its end is given the time for it.
    program.replace("exec 3>&-\nsleep 0.3\necho this is why >&2\nexit 7");
    scene.watcher.signal(Signal::USR2);
    scene.watcher.eventually_says("this is why");
    scene.watcher.eventually_says("did not take over: it ended (exit status: 7)");
    assert_eq!(watcher_of(&scene.world), before);
    scene.world.write_definition("m", &World::tiny_toml("v2"));
    scene.m_serves("v2");
    // And once it is repaired, it takes over.
    program.restore();
    assert_took_over(&scene.world, &mut scene.watcher);
}
