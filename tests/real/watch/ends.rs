//! The end of a watcher, at any moment and of any kind: servers run on, and
//! the next watcher continues.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;

use super::scene::{PATIENCE, Scene, events, serves, watch};
use crate::support::{Ended, Watcher, World, eventually, llama_server};

/// Twice what the service manager is promised, for a machine that does much
/// else besides.
const LIMIT: Duration = Duration::from_secs(10);

#[track_caller]
fn assert_ended_well(ended: Ended) {
    assert!(ended.code == Some(0) && ended.after < LIMIT, "{ended:?}");
}

#[test]
fn a_signal_stops_the_watcher_at_once_and_every_server_keeps_running() {
    let (world, mut watcher) = Scene::new().into_parts();
    let servers = world.instances();
    for signal in [Signal::TERM, Signal::INT] {
        assert_ended_well(watcher.end_by(signal));
        assert_eq!(world.instances(), servers);
        let actions = || ["m", "other"].map(|name| events(&world, name));
        let before = actions();
        watcher = watch(&world, &[]);
        // Whatever it does at first comes before what it does for an edit.
        let description = format!("description = \"{}\"\n{}", signal.as_raw(), World::tiny_toml("m"));
        world.write_definition("m", &description);
        eventually("it watches", PATIENCE, || actions()[0].len() > before[0].len());
        assert_eq!(actions()[0].last().map(|event| &*event.action), Some("update"));
        assert_eq!((actions()[0].len(), &actions()[1]), (before[0].len() + 1, &before[1]));
        assert_eq!(world.instances(), servers);
    }
}

/// Whether the watcher waits for the lock of a pass, or has it.
fn is_at_the_lock(watcher: &mut Watcher, world: &World) -> bool {
    let descriptors = fs::read_dir(format!("/proc/{}/fd", watcher.pid().as_raw_nonzero())).unwrap();
    let lock = world.state_dir().join("lock");
    descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()).any(|target| target == lock)
}

#[test]
fn a_watcher_ends_in_time_while_its_pass_waits_for_another() {
    let (world, mut watcher) = Scene::new().into_parts();
    let servers = world.instances();
    let lock = fs::File::open(world.state_dir().join("lock")).unwrap();
    lock.lock().unwrap();
    world.write_definition("m", &World::tiny_toml("v2"));
    eventually("a pass is held up", PATIENCE, || is_at_the_lock(&mut watcher, &world));
    assert_ended_well(watcher.stop());
    assert_eq!(world.instances(), servers);
    drop(lock);
    let _next = watch(&world, &[]);
    serves(&world, "m", "v2");
}

/// A llama-server whose dry run goes on for as long as the file `hold` exists.
fn llama_server_with_a_long_dry_run(world: &World) -> PathBuf {
    let (path, dir) = (world.path().join("some-llama-server"), world.path().display());
    let real = llama_server();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version) touch '{dir}/checking'; while [ -e '{dir}/hold' ]; do sleep 0.01; done;; esac\nexec '{}' \"$@\"\n",
        real.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// `m` with that llama-server; a pass is in its dry run.
fn held_pass(scene: &Scene) -> (PathBuf, PathBuf) {
    let binary = llama_server_with_a_long_dry_run(&scene.world);
    let hold = scene.world.path().join("hold");
    fs::write(&hold, "").unwrap();
    let toml = |weights| format!("binary = \"{}\"\n{}", binary.display(), World::tiny_toml(weights));
    scene.world.write_definition("m", &toml("v2"));
    eventually("the pass is in the dry run", PATIENCE, || scene.world.path().join("checking").exists());
    (hold, binary)
}

#[test]
fn a_change_during_a_pass_starts_another() {
    let scene = Scene::new();
    let (hold, _) = held_pass(&scene);
    scene.world.write_definition("m", &World::tiny_toml("v3"));
    fs::remove_file(hold).unwrap();
    scene.m_serves("v3");
}

#[test]
fn a_watcher_ends_in_time_in_the_middle_of_a_pass() {
    let scene = Scene::new();
    let servers = scene.world.instances();
    let (hold, _) = held_pass(&scene);
    let (world, watcher) = scene.into_parts();
    assert_ended_well(watcher.stop());
    assert_eq!(world.instances(), servers);
    fs::remove_file(hold).unwrap();
    let _next = watch(&world, &[]);
    serves(&world, "m", "v2");
}

#[test]
fn a_second_signal_stops_the_watcher_immediately() {
    let mut scene = Scene::new();
    let lock = fs::File::open(scene.world.state_dir().join("lock")).unwrap();
    lock.lock().unwrap();
    scene.world.write_definition("m", &World::tiny_toml("v2"));
    eventually("a pass is held up", PATIENCE, || is_at_the_lock(&mut scene.watcher, &scene.world));
    let begun = Instant::now();
    scene.watcher.signal(Signal::TERM);
    // One that is still pending would be merged with the second.
    eventually("the first has arrived", PATIENCE, || {
        scene.watcher.signal(Signal::INT);
        scene.watcher.log().contains("abandoned")
    });
    // One signal alone ends it after 4 s.
    assert!(begun.elapsed() < Duration::from_millis(3800), "{:?}", begun.elapsed());
    assert_ended_well(scene.watcher.ended(begun));
}

#[test]
fn a_watcher_killed_at_any_moment_is_continued_by_the_next() {
    let mut scene = Scene::new();
    let mut seed = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
    for round in 0..8 {
        scene.world.write_definition("m", &World::tiny_toml(["v2", "v3"][round % 2]));
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Any moment of debounce, stop, start and load.
        std::thread::sleep(Duration::from_millis(u64::from(seed >> 23)));
        scene = scene.watch_again(&["--debounce", "50ms"]);
        scene.other_is_untouched();
        let instances = scene.world.instances();
        assert!(instances.iter().filter(|(_, name)| name == "m").count() <= 1, "round {round}: {instances:?}");
    }
    scene.m_serves("v3");
    assert_eq!(scene.world.instances().len(), 2);
    scene.world.is_settled();
}
