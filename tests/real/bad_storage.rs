//! Whatever is wrong with database, state directory and disk: an error that
//! names the file and what to do, and every running server keeps running.

use std::fs;
use std::time::Duration;

use crate::support::{Ran, Scene, World, eventually};
use rusqlite::Connection;

/// Runs herdsman where `mount` (sh) has changed what is mounted, for it alone.
fn with_mounts(world: &World, mount: &str, arguments: &[&str]) -> Ran {
    Ran::of(world.command_after(mount).args(arguments))
}

#[test]
fn names_a_file_that_is_not_a_database_and_leaves_it_unchanged() {
    let scene = Scene::new();
    let path = scene.world.path().join("notes.txt");
    let text = "these are notes, and longer than the header of a database has to be, which is 100 bytes\n".repeat(2);
    fs::write(&path, &text).unwrap();
    for arguments in [&["reconcile"][..], &["reconcile", "--dry-run"], &["models", "list"], &["status"], &["down"]] {
        let all = [&["--database", "notes.txt"], arguments].concat();
        scene.world.run(&all).exits(1).says(&["notes.txt", "--database"]);
    }
    scene.good_is_untouched();
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_table_that_is_not_the_contracts_is_refused() {
    let scene = Scene::new();
    let path = scene.world.path().join("theirs.db");
    let theirs = Connection::open(&path).unwrap();
    theirs
        .execute_batch("CREATE TABLE models (id TEXT PRIMARY KEY, name, type, status, created_at, updated_at)")
        .unwrap();
    scene.world.run(&["--database", "theirs.db", "reconcile"]).exits(1).says(&["theirs.db", "INTEGER PRIMARY KEY"]);
    scene.good_is_untouched();
}

#[test]
fn a_read_only_database_is_named() {
    let scene = Scene::new();
    let mount = "mount --bind state state; mount -o remount,bind,ro state state";
    // The lock cannot be taken there either; the database is elsewhere in the second case.
    with_mounts(&scene.world, mount, &["reconcile"]).exits(1).says(&["state/", "Read-only"]);
    fs::create_dir(scene.world.path().join("data")).unwrap();
    let database = ["--database", "data/h.db", "reconcile"];
    scene.world.run(&["--database", "data/h.db", "reconcile", "--target", "good"]).exits(0);
    let mount = "mount --bind data data; mount -o remount,bind,ro data data";
    with_mounts(&scene.world, mount, &database).exits(1).says(&["data/h.db", "read-only", "--database"]);
    scene.good_is_untouched();
    scene.world.run(&database).exits(0);
    scene.others_are_reconciled();
}

#[test]
fn reports_a_disk_too_full_for_the_database() {
    let scene = Scene::new();
    let mount = "mkdir full; mount -t tmpfs -o size=72k full full";
    let arguments = ["--database", "full/h.db", "reconcile"];
    with_mounts(&scene.world, mount, &arguments).exits(1).says(&["full/h.db", "the disk is full"]);
    scene.good_is_untouched();
    scene.world.converges();
    scene.others_are_reconciled();
}

#[test]
fn a_disk_too_full_for_a_log_affects_only_its_model() {
    let scene = Scene::new();
    let world = &scene.world;
    world.tiny("bad");
    let full =
        "mkdir state/logs/bad; mount -t tmpfs -o size=4k full state/logs/bad; head -c 4k /dev/zero >state/logs/bad/x";
    with_mounts(world, full, &["reconcile"]).exits(1).says(&[
        "create bad: cannot write the log",
        "state/logs/bad/",
        "free some space",
    ]);
    scene.others_are_reconciled();
    assert_eq!(world.instances().len(), 2);
    assert_eq!(world.status("bad")["status"], "error");
    eventually("it is tried again", Duration::from_secs(20), || world.run(&["reconcile"]).code == 0);
    assert_eq!(world.answer("bad"), "bad bad bad ");
}

#[test]
fn a_named_pipe_instead_of_a_log_does_not_block() {
    let scene = Scene::new();
    let world = &scene.world;
    world.tiny("bad");
    let log = world.state_dir().join("logs/bad");
    rustix::fs::mknodat(rustix::fs::CWD, &log, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    world.run(&["reconcile"]).exits(1).says(&["create bad: cannot write the log", "state/logs/bad/", "File exists"]);
    scene.others_are_reconciled();
}

#[test]
fn waits_for_a_locked_database_and_then_names_the_problem() {
    let scene = Scene::new();
    let world = &scene.world;
    let mut theirs = Connection::open(world.state_dir().join("herdsman.db")).unwrap();
    // Both halves at once: the wait of one passes while the other is tested.
    let held = theirs.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let begun = std::time::Instant::now();
    std::thread::scope(|scope| {
        let pass = scope.spawn(|| world.run(&["reconcile"]));
        eventually("three seconds have passed", Duration::from_secs(5), || begun.elapsed() > Duration::from_secs(3));
        // Read-only commands do not wait.
        world.run(&["models", "list"]).exits(0);
        drop(held);
        pass.join().unwrap().exits(0);
    });
    scene.others_are_reconciled();
    world.tiny("late");
    let _held = theirs.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    world.run(&["reconcile"]).exits(1).says(&["herdsman.db", "another program has held the database locked", "fuser"]);
    scene.others_are_reconciled();
    assert_eq!(world.instances().len(), 2);
}

#[test]
fn a_damaged_state_id_is_not_replaced() {
    let scene = Scene::new();
    let path = scene.world.state_dir().join("id");
    let id = fs::read_to_string(&path).unwrap();
    fs::write(&path, "").unwrap();
    scene.world.run(&["reconcile"]).exits(1).says(&["state/id", "does not contain a state id"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    fs::write(&path, id).unwrap();
    scene.world.converges();
    scene.others_are_reconciled();
}

#[test]
fn a_lost_state_id_duplicates_no_server() {
    let scene = Scene::new();
    let world = &scene.world;
    let (path, pid) = (world.state_dir().join("id"), world.pid("good"));
    let id = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let says = ["state/id was lost", "restore the old id", "good  wait", &format!("pid {pid}")];
    world.run(&["reconcile"]).exits(1).says(&says);
    assert_eq!(world.instances().len(), 1, "the new model alone is of the new id");
    world.run(&["down"]).exits(0);
    fs::write(&path, id).unwrap();
    scene.good_is_untouched();
    world.converges();
    scene.others_are_reconciled();
}

#[test]
fn a_state_directory_that_is_a_file_is_named() {
    let scene = Scene::new();
    fs::write(scene.world.path().join("file"), "").unwrap();
    for command in ["reconcile", "down"] {
        scene.world.run(&["--state-dir", "file", command]).exits(1).says(&["file", "--state-dir"]);
    }
    scene.good_is_untouched();
}
