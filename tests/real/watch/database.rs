//! Another program at the database: what it does to a managed row is put back.

use rusqlite::Connection;

use super::scene::{PATIENCE, Scene, causes_are};
use crate::support::{World, eventually};

const CAUSE: &str = "database changed by another process";

fn client(world: &World) -> Connection {
    Connection::open(world.state_dir().join("herdsman.db")).unwrap()
}

#[test]
fn restores_an_edited_row() {
    let scene = Scene::new();
    let (client, m) = (client(&scene.world), scene.world.pid("m"));
    let sql = "UPDATE models SET status = 'error', ctx_size = 4096 WHERE name = 'm'";
    assert_eq!(client.execute(sql, []).unwrap(), 1);
    eventually("both columns are put back", PATIENCE, || {
        let row = "SELECT status, ctx_size FROM models WHERE name = 'm'";
        client.query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap() == ("running".to_owned(), 512)
    });
    scene.watcher.eventually_says("m update: ");
    scene.watcher.eventually_says("database drift: ctx_size changed from 512 to 4096");
    causes_are(&scene.world, "m", "update", &[CAUSE]);
    assert_eq!(scene.world.pid("m"), m);
    scene.other_is_untouched();
}

#[test]
fn a_deleted_row_returns_with_its_id() {
    let scene = Scene::new();
    let (client, m) = (client(&scene.world), scene.world.pid("m"));
    let id = || client.query_row("SELECT id FROM models WHERE name = 'm'", [], |row| row.get::<_, i64>(0));
    let before = id().unwrap();
    assert_eq!(client.execute("DELETE FROM models WHERE name = 'm'", []).unwrap(), 1);
    eventually("it returns", PATIENCE, || id().is_ok_and(|id| id == before));
    scene.watcher.eventually_says(&format!("database drift: another program deleted row {before}"));
    causes_are(&scene.world, "m", "update", &[CAUSE]);
    assert_eq!(scene.world.pid("m"), m);
    scene.other_is_untouched();
}

#[test]
fn recreates_a_database_deleted_under_the_watcher_and_loses_no_server() {
    let scene = Scene::new();
    let m = scene.world.pid("m");
    for file in ["herdsman.db", "herdsman.db-wal", "herdsman.db-shm"] {
        // There is no -wal before the first commit.
        let _ = std::fs::remove_file(scene.world.state_dir().join(file));
    }
    scene.watcher.eventually_says("herdsman.db was deleted; herdsman created a new one");
    scene.watcher.eventually_says("m adopt: ");
    eventually("its row is back", PATIENCE, || {
        let row = "SELECT status FROM models WHERE name = 'm'";
        client(&scene.world).query_row(row, [], |row| row.get::<_, String>(0)).is_ok_and(|status| status == "running")
    });
    assert_eq!(scene.world.pid("m"), m);
    scene.other_is_untouched();
}
