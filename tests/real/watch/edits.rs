//! How a file is written: in place, replaced, in halves, without end.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::scene::{PATIENCE, Scene, causes_are, events, serves};
use crate::support::{World, eventually};

#[test]
fn an_edit_in_place_is_applied() {
    let scene = Scene::new();
    fs::write(scene.definition(), World::tiny_toml("v2")).unwrap();
    scene.m_serves("v2");
    causes_are(&scene.world, "m", "restart", &["files changed"]);
    eventually("the log says why", PATIENCE, || {
        let parts = ["m restart: model ", "v2.gguf models.d/m.toml:1 (files changed)"];
        scene.watcher.log().lines().any(|line| parts.iter().all(|part| line.contains(part)))
    });
}

#[test]
fn a_file_that_is_written_beside_and_renamed_over_is_applied() {
    let scene = Scene::new();
    // As most editors do.
    let beside = scene.world.models_dir().join(".m.toml.new");
    fs::write(&beside, World::tiny_toml("v2")).unwrap();
    fs::rename(&beside, scene.definition()).unwrap();
    scene.m_is_ready("v2");
    // As vim does: the old one becomes a backup.
    fs::rename(scene.definition(), scene.world.models_dir().join("m.toml~")).unwrap();
    fs::write(scene.definition(), World::tiny_toml("v3")).unwrap();
    scene.m_is_ready("v3");
    // From another directory.
    scene.world.write_definition("m", &World::tiny_toml("v4"));
    scene.m_serves("v4");
    causes_are(&scene.world, "m", "restart", &["files changed"; 3]);
}

#[test]
fn a_new_file_is_created_and_a_removed_one_deleted() {
    let scene = Scene::new();
    scene.world.tiny("third");
    serves(&scene.world, "third", "third");
    scene.world.remove_definition("third");
    eventually("third is gone", PATIENCE, || scene.world.instances().len() == 2);
    eventually("its record is", PATIENCE, || {
        events(&scene.world, "third").iter().any(|event| event.action == "delete")
    });
    causes_are(&scene.world, "third", "create", &["files changed"]);
    scene.other_is_untouched();
}

/// Writes `toml` to `m`'s definition bit by bit for longer than the debounce
/// time of a second and less than the two seconds that a burst may last. A
/// machine that was busy elsewhere may have left pauses of a second: `false`.
fn write_slowly(scene: &Scene, toml: &str) -> bool {
    let begun = Instant::now();
    let mut last = begun;
    for part in 1..=8 {
        let end = toml.len() - (8 - part);
        fs::write(scene.definition(), &toml[..end]).unwrap();
        let paused = last.elapsed();
        last = Instant::now();
        if paused > Duration::from_millis(900) {
            fs::write(scene.definition(), toml).unwrap();
            return false;
        }
        if part < 8 {
            std::thread::sleep(Duration::from_millis(170));
        }
    }
    begun.elapsed() < Duration::from_millis(1900)
}

#[test]
fn half_a_file_is_never_applied() {
    let scene = Scene::with(&["--debounce", "1s"]);
    // Every half is valid and means another size.
    let as_meant = (1..=5).find(|attempt| {
        let toml = format!("{}threads_batch = 1", World::tiny_toml("v2").replace("512", "256"));
        let size = format!("{attempt}2345678");
        let in_time = write_slowly(&scene, &format!("{toml}\ntop_k = {size}"));
        scene.m_serves("v2");
        eventually("the whole file is applied", PATIENCE, || top_k(&scene).contains(&size));
        in_time
    });
    // What an attempt came to that was not in time says nothing.
    let first_digit = as_meant.expect("this machine is too busy for this test").to_string();
    let is_half = |size: &String| size.starts_with(&first_digit) && size.len() < 8;
    let halves: Vec<String> = top_k(&scene).into_iter().filter(is_half).collect();
    assert_eq!(halves, Vec::<String>::new());
}

/// The `top_k` of every generation of `m` that ever was.
fn top_k(scene: &Scene) -> Vec<String> {
    let connection = Connection::open(scene.world.state_dir().join("herdsman.db")).unwrap();
    let sql = "SELECT spec FROM herdsman_generations WHERE name = 'm' AND spec LIKE '%top%k%'";
    let mut statement = connection.prepare(sql).unwrap();
    let specs = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let digits = |spec: String| {
        let rest = spec.split_once("top").unwrap().1.trim_start_matches(|c: char| !c.is_ascii_digit()).to_owned();
        rest.chars().take_while(char::is_ascii_digit).collect()
    };
    specs.map(|spec| digits(spec.unwrap())).collect()
}

#[test]
fn a_burst_without_end_is_applied_while_it_goes_on() {
    let scene = Scene::with(&["--debounce", "1s"]);
    let (begun, applied) = (Instant::now(), AtomicBool::new(false));
    // For longer than the test waits, so that it fails if that was in vain.
    let goes_on = || !applied.load(Ordering::Relaxed) && begun.elapsed() < 2 * PATIENCE;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if !goes_on() {
                    return;
                }
                let toml = format!("description = \"{number}\"\n{}", World::tiny_toml("v2"));
                scene.world.write_definition("m", &toml);
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        scene.m_serves("v2");
        assert!(goes_on());
        applied.store(true, Ordering::Relaxed);
    });
    causes_are(&scene.world, "m", "restart", &["files changed"]);
}
