//! Where events are lost, or there are none.

use std::fs;
use std::time::SystemTime;

use rustix::process::Signal;

use super::scene::{PATIENCE, Scene, causes_are, watch_by, world};
use crate::support::{World, eventually};

#[test]
fn an_edit_whose_event_is_lost_in_an_overflow_is_applied() {
    let mut scene = Scene::new();
    let limit: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    scene.watcher.signal(Signal::STOP);
    // No definitions, so their events tell of none; two, for equal events in a
    // row are one.
    let files = ["one", "two"].map(|name| fs::File::create(scene.world.models_dir().join(name)).unwrap());
    for _ in 0..=limit / 2 {
        for file in &files {
            file.set_modified(SystemTime::now()).unwrap();
        }
    }
    scene.world.write_definition("m", &World::tiny_toml("v2"));
    scene.watcher.signal(Signal::CONT);
    scene.m_serves("v2");
    causes_are(&scene.world, "m", "restart", &["files changed"]);
}

/// Runs the watcher below an inotify limit: the error names the limit to raise, and
/// the watcher polls the files.
fn without(limit: &str, sysctl: &str) {
    let world = world();
    // The limit of its own namespace of users, below the one of the machine.
    let herdsman = world.command_after(&format!("echo 0 > /proc/sys/user/{limit}"));
    let watcher = watch_by(&world, herdsman, &[]);
    watcher.eventually_says(sysctl);
    watcher.eventually_says("checking the files every 2.0 s");
    let scene = Scene::of(watcher, world);
    fs::write(scene.definition(), World::tiny_toml("v2")).unwrap();
    scene.m_serves("v2");
    assert_eq!(scene.watcher.log().matches(sysctl).count(), 1, "logged once");
    causes_are(&scene.world, "m", "restart", &["files changed"]);
}

#[test]
fn with_no_inotify_instance_left_the_files_are_polled() {
    without("max_inotify_instances", "fs.inotify.max_user_instances");
}

#[test]
fn with_no_inotify_watch_left_the_files_are_polled() {
    without("max_inotify_watches", "fs.inotify.max_user_watches");
}

#[test]
fn files_that_are_polled_need_no_inotify() {
    let mut scene = Scene::with(&["--poll", "100ms"]);
    let descriptors = format!("/proc/{}/fd", scene.watcher.pid().as_raw_nonzero());
    let targets = fs::read_dir(descriptors).unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let targets: Vec<_> = targets.map(|target| target.display().to_string()).collect();
    assert!(targets.iter().any(|target| target.contains("eventfd")), "{targets:?}");
    assert!(!targets.iter().any(|target| target.contains("inotify")), "{targets:?}");
    fs::write(scene.definition(), World::tiny_toml("v2")).unwrap();
    scene.m_serves("v2");
    scene.world.remove_definition("m");
    eventually("m is gone", PATIENCE, || scene.world.instances().len() == 1);
    scene.world.write_definition("m", &World::tiny_toml("v3"));
    scene.m_serves("v3");
}
