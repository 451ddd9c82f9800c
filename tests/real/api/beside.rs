//! Programs that use the database beside a watcher that serves.

use std::process::Command;

use rusqlite::Connection;
use serde_json::json;

use super::client::{database, get, post};
use crate::gateway::served::Served;
use crate::support::{Ran, World};

const OTHER: &str = "
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute('UPDATE models SET top_k = top_k')
database.commit()
database.close()
";

/// A program that closes the database last deletes its log: the watcher's own reading
/// must not make it look as if nobody else had it open.
#[test]
fn a_program_that_opens_and_closes_the_database_costs_the_watcher_nothing() {
    let world = World::new();
    world.weights("cold", "cold ");
    world.write_definition("cold", &format!("state = \"on_demand\"\n{}", World::tiny_toml("cold")));
    let served = Served::new(world);
    for path in ["/api/models", "/api/plan", "/api/models/cold/why", "/api/models/cold/history"] {
        assert_eq!(get(served.port, path).status, 200, "{path}");
    }
    // As dashboards do, by the SQLite of the system.
    let mut other = served.world.own(Command::new("python3"));
    other.args(["-c", OTHER]).arg(database(&served.world));
    Ran::of(&mut other).exits(0);
    let log = database(&served.world).with_extension("db-wal");
    assert!(log.exists(), "the log of the watcher's own connection is gone");

    let started = post(served.port, "/api/models/cold/start?wait=60s", "").json();
    assert_eq!(started["outcome"], "done", "{started}");
    let events = get(served.port, "/api/models/cold/history").json()["events"].clone();
    assert!(events.as_array().unwrap().iter().any(|event| event["event"] == "ready"), "{events}");
    let again = Connection::open(database(&served.world)).unwrap();
    let status = again.query_row("SELECT status FROM models", [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(json!(status), json!("running"));
}
