//! Another program at the database: what it does to a managed row is put back.

use rusqlite::Connection;

use crate::scene::{PATIENCE, Scene, causes};
use crate::support::{World, eventually};

const CAUSE: &str = "database changed by another program";

fn client(world: &World) -> Connection {
    Connection::open(world.state_dir().join("herdsman.db")).unwrap()
}

#[test]
fn an_edited_row_is_put_back() {
    let scene = Scene::new();
    let (client, m) = (client(&scene.world), scene.world.pid("m"));
    let sql = "UPDATE models SET status = 'error', ctx_size = 4096 WHERE name = 'm'";
    assert_eq!(client.execute(sql, []).unwrap(), 1);
    eventually("both columns are put back", PATIENCE, || {
        let row = "SELECT status, ctx_size FROM models WHERE name = 'm'";
        client.query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap() == ("running".to_owned(), 512)
    });
    scene.watcher.eventually_says("m update: ");
    scene.watcher.eventually_says("database drift: ctx_size was 512, found 4096");
    assert_eq!(causes(&scene.world, "m", "update"), [CAUSE]);
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
    scene.watcher.eventually_says(&format!("database drift: row {before} was deleted"));
    assert_eq!(causes(&scene.world, "m", "update"), [CAUSE]);
    assert_eq!(scene.world.pid("m"), m);
    scene.other_is_untouched();
}
