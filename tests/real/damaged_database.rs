//! A database that is damaged costs what only it knew, and no server: it is
//! set aside, and the pass goes on.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Ran, Scene, Watcher, World, eventually};
use rusqlite::Connection;

const PAGE: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(30);

fn database(world: &World) -> PathBuf {
    world.state_dir().join("herdsman.db")
}

/// Overwrites the first page of each of `tables` with garbage.
fn damage(path: &Path, tables: &[&str]) {
    let client = Connection::open(path).unwrap();
    let root = |table: &&str| {
        let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        client.query_row(sql, [table], |row| row.get::<_, u32>(0)).unwrap().into()
    };
    let roots: Vec<u64> = tables.iter().map(root).collect();
    let busy: i64 = client.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0, "what is in the log would hide the damage");
    drop(client);
    overwrite(path, &roots, 0xa5);
}

/// Fills `pages` with one byte, in place: a process with the file open has this
/// very file, and at no time is it shorter.
fn overwrite(path: &Path, pages: &[u64], byte: u8) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    for page in pages {
        file.write_all_at(&[byte; PAGE], (page - 1) * PAGE as u64).unwrap();
    }
}

/// Adds a row that another program made.
fn add_row(world: &World, name: &str) {
    let sql = "INSERT INTO models (name, type, status, created_at, updated_at) VALUES (?1, 'gpt', 'stopped', 1, 1)";
    Connection::open(database(world)).unwrap().execute(sql, [name]).unwrap();
}

/// The files that were set aside.
fn set_aside(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.state_dir()).unwrap().map(|entry| entry.unwrap().path());
    let is_aside = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().contains(".db.corrupt-");
    entries.filter(is_aside).filter(|path| !path.to_str().unwrap().ends_with(['l', 'm'])).collect()
}

fn id(world: &World, model: &str) -> String {
    world.run(&["models", "get", model, "--format", "json"]).exits(0).json()["model"]["id"].to_string()
}

#[test]
fn a_damaged_database_is_set_aside_and_the_pass_goes_on() {
    let world = World::new();
    for name in ["a", "b", "idle"] {
        world.tiny(name);
    }
    world.write_definition("idle", &format!("state = \"stopped\"\n{}", World::tiny_toml("idle")));
    world.converges();
    add_row(&world, "hand-made");
    let (before, ports, ids) =
        (world.instances(), ["a", "b"].map(|m| world.port(m)), ["b", "idle"].map(|m| id(&world, m)));
    damage(&database(&world), &["herdsman_models"]);
    let bytes = fs::read(database(&world)).unwrap();
    world.tiny("new");
    let ran = world.converges().says(&[
        "was damaged",
        "< a          adopt",
        "< b          adopt",
        "+ new        create",
        "Lost: ",
    ]);
    let aside = set_aside(&world);
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(ran.stderr.contains(aside[0].file_name().unwrap().to_str().unwrap()), "{ran}");
    assert_eq!(fs::read(&aside[0]).unwrap(), bytes);
    assert_eq!(world.instances()[..2], before);
    assert_eq!(["a", "b"].map(|m| world.port(m)), ports);
    assert_eq!(["b", "idle"].map(|m| id(&world, m)), ids);
    world.run(&["models", "get", "hand-made"]).exits(0);
    world.run(&["reconcile", "--detailed-exitcode"]).exits(0).says(&["No changes."]).does_not_say("damaged");
    assert_eq!(set_aside(&world), aside);
    // Known well enough again to be updated and distinguished.
    world.write_definition("a", &World::tiny_toml("a").replace("512", "1024"));
    world.converges().says(&["-/+ a          restart"]);
    assert_eq!(world.answer("a"), "a a a ");
}

#[test]
fn damage_found_while_recording_ends_only_that_pass() {
    let scene = Scene::new();
    damage(&database(&scene.world), &["herdsman_events"]);
    // The new model's server was started when the pass ended, and recorded.
    scene.world.converges().says(&["was damaged", "all of herdsman's records", "2 models match"]);
    scene.others_are_reconciled();
    assert_eq!(scene.world.instances().len(), 2);
    assert_eq!(set_aside(&scene.world).len(), 1);
    scene.world.is_settled();
}

#[test]
fn down_survives_a_damaged_database_too() {
    let scene = Scene::new();
    damage(&database(&scene.world), &["herdsman_instances"]);
    scene.world.run(&["down"]).exits(0).says(&["was damaged", "Stopped 1 server."]);
    assert_eq!(scene.world.instances(), []);
}

#[test]
fn read_only_commands_report_damage_and_change_nothing() {
    let scene = Scene::new();
    let world = &scene.world;
    let listing = || {
        let entries = fs::read_dir(world.state_dir()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    };
    for tables in [&["herdsman_models", "models"][..], &["sqlite_schema"]] {
        match tables {
            ["sqlite_schema"] => overwrite(&database(world), &[1], 0),
            tables => damage(&database(world), tables),
        }
        let (bytes, names) = (fs::read(database(world)).unwrap(), listing());
        let said = ["herdsman.db", "damaged", "`herdsman reconcile`", "set it aside"];
        let plan = world.run(&["reconcile", "--dry-run"]).exits(0).says(&said);
        plan.says(&["< good  adopt", "+ new   create"]);
        world.run(&["status"]).exits(0).says(&said).says(&["good  running"]);
        world.run(&["models", "list"]).exits(1).says(&said);
        assert_eq!((fs::read(database(world)).unwrap(), listing()), (bytes, names));
    }
    scene.world.converges().says(&["was damaged"]);
    scene.others_are_reconciled();
}

#[test]
fn a_damaged_database_of_another_program_is_refused_and_left_as_it_is() {
    let scene = Scene::new();
    let theirs = scene.world.path().join("theirs.db");
    let client = Connection::open(&theirs).unwrap();
    client
        .execute_batch("CREATE TABLE models (id INTEGER PRIMARY KEY, name, type, status, created_at, updated_at)")
        .unwrap();
    drop(client);
    damage(&theirs, &["models"]);
    let bytes = fs::read(&theirs).unwrap();
    for command in ["reconcile", "down"] {
        let ran = scene.world.run(&["--database", "theirs.db", command]).exits(1);
        ran.says(&["theirs.db", "left it alone", "--database"]);
    }
    assert_eq!(fs::read(&theirs).unwrap(), bytes);
    scene.good_is_untouched();
}

#[test]
fn a_disk_too_full_for_a_new_database_leaves_the_damaged_one_in_place() {
    let scene = Scene::new();
    let world = &scene.world;
    for number in 0..200 {
        add_row(world, &format!("row-{number:0300}"));
    }
    damage(&database(world), &["herdsman_models"]);
    let size = fs::metadata(database(world)).unwrap().len() / 1024 + 32;
    let setup = format!(
        "mkdir full; mount -t tmpfs -o size={size}k full full; cp state/herdsman.db full/; \
         \"$@\" && exit 9; ls full >&2; exit 1"
    );
    let ran = Ran::of(world.command_after(&setup).args(["--database", "full/herdsman.db", "reconcile"]));
    ran.exits(1).says(&["full/herdsman.db", "the disk is full"]).does_not_say("corrupt-");
    scene.good_is_untouched();
}

#[test]
fn only_one_of_two_herdsmen_sets_a_damaged_database_aside() {
    let scene = Scene::new();
    damage(&database(&scene.world), &["herdsman_models"]);
    std::thread::scope(|scope| {
        let ran = [(); 3].map(|()| scope.spawn(|| scene.world.run(&["reconcile"])));
        let said = ran.map(|ran| ran.join().unwrap().exits(0).stderr.contains("was damaged"));
        assert_eq!(said.iter().filter(|said| **said).count(), 1);
    });
    scene.others_are_reconciled();
    assert_eq!((set_aside(&scene.world).len(), scene.world.instances().len()), (1, 2));
}

/// A watcher at rest over one model.
fn watched() -> (World, Watcher) {
    let world = World::new();
    world.tiny("m");
    world.converges();
    let watcher = world.watch(&["--resync", "1s"]);
    watcher.eventually_says("1 model matches");
    (world, watcher)
}

fn is_adopted(world: &World) -> bool {
    let sql = "SELECT status FROM models WHERE name = 'm'";
    let client = Connection::open(database(world)).unwrap();
    client.query_row(sql, [], |row| row.get::<_, String>(0)).is_ok_and(|status| status == "running")
}

#[test]
fn a_watcher_that_reads_damage_goes_on_with_a_new_database() {
    let (world, watcher) = watched();
    let pid = world.pid("m");
    let dashboard = Connection::open(database(&world)).unwrap();
    damage(&database(&world), &["herdsman_instances"]);
    // A commit makes the watcher read again.
    dashboard.execute("UPDATE models SET ctx_size = 1", []).unwrap();
    watcher.eventually_says("was damaged");
    watcher.eventually_says("m adopt: ");
    eventually("its row is right", PATIENCE, || is_adopted(&world));
    assert_eq!((world.pid("m"), set_aside(&world).len()), (pid, 1));
    // Which does not keep it from anything.
    world.tiny("later");
    watcher.eventually_says("later is ready");
    assert_eq!(world.pid("m"), pid);
}

#[test]
fn a_watcher_that_meets_damage_while_it_records_goes_on_with_a_new_database() {
    let (world, watcher) = watched();
    let pid = world.pid("m");
    damage(&database(&world), &["herdsman_events", "herdsman_generations", "herdsman_instances"]);
    world.tiny("later");
    watcher.eventually_says("was damaged");
    watcher.eventually_says("later is ready");
    watcher.eventually_says("m adopt: ");
    assert_eq!((world.pid("m"), set_aside(&world).len()), (pid, 1));
    assert_eq!(world.instances().len(), 2);
}

#[test]
fn a_model_that_was_rolled_back_stays_up_when_only_history_is_damaged() {
    let world = World::new();
    world.tiny("m");
    world.converges();
    world.weights_that_die("bad");
    world.write_definition("m", &World::tiny_toml("bad"));
    world.run(&["reconcile"]).exits(1).says(&["generation 2 failed", "generation 1 is serving"]);
    let rolled_back = world.pid("m");
    damage(&database(&world), &["herdsman_events"]);
    // Nothing is to be done, so the damage is met by the next pass that does.
    world.tiny("new");
    world.run(&["reconcile"]).exits(1).says(&["was damaged", "all of herdsman's records", "generation 1 is serving"]);
    assert_eq!((world.pid("m"), world.answer("m")), (rolled_back, "m m m ".to_owned()));
    assert_eq!(world.answer("new"), "new new new ");
}

#[test]
fn another_database_copied_over_the_one_a_watcher_has_open_costs_no_server() {
    let (world, watcher) = watched();
    let (pid, copy) = (world.pid("m"), world.path().join("restored.db"));
    let client = Connection::open(database(&world)).unwrap();
    client.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    let theirs = Connection::open(&copy).unwrap();
    theirs
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 400)
             INSERT INTO models (name, type, status, created_at, updated_at)
             SELECT 'row-' || i, 'gpt', 'stopped', 1, 1 FROM n;
             DELETE FROM herdsman_events;
             VACUUM",
        )
        .unwrap();
    drop(theirs);
    client.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(client);
    fs::write(database(&world), fs::read(copy).unwrap()).unwrap();
    world.tiny("later");
    watcher.eventually_says("later is ready");
    assert_eq!((world.pid("m"), world.instances().len()), (pid, 2));
}
