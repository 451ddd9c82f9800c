//! The board as it changes.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::client::{Events, PATIENCE, database, get, post, status};
use crate::gateway::served::Served;
use crate::support::World;

fn served() -> Served {
    let world = World::new();
    for name in ["cold", "other"] {
        world.weights(name, "word ");
        world.write_definition(name, &format!("state = \"on_demand\"\n{}", World::tiny_toml(name)));
    }
    let served = Served::new(world);
    assert_eq!(get(served.port, "/api/models/cold").status, 200);
    served
}

/// What the dashboard of the models database does: it replaces its list by each message.
#[test]
fn a_dashboard_sees_every_change_and_the_truth_again_after_a_restart() {
    let mut served = served();
    let mut events = Events::connect(served.port, "");
    let first = events.next().unwrap();
    assert_eq!((&first["type"], status(&first, "cold").as_str()), (&json!("models"), "idle"));
    let (epoch, mut seq) = (first["epoch"].as_i64().unwrap(), first["seq"].as_u64().unwrap());

    assert_eq!(post(served.port, "/api/models/cold/start", "").status, 202);
    let seen = events.until(|message| status(message, "cold") == "running");
    for message in &seen {
        assert_eq!(message["data"].as_array().unwrap().len(), 2, "always every model");
        assert!(message["seq"].as_u64().unwrap() > seq);
        seq = message["seq"].as_u64().unwrap();
    }

    // The watcher goes, and the dashboard reads the database meanwhile.
    drop(served.watcher.take());
    while events.next().is_some() {}
    let database = Connection::open(database(&served.world)).unwrap();
    let row = || {
        database.query_row("SELECT status FROM models WHERE name = 'cold'", [], |row| row.get::<_, String>(0)).unwrap()
    };
    assert_eq!(row(), "running");
    // What it says is older than what is seen.
    database.execute("UPDATE models SET status = 'error' WHERE name = 'cold'", []).unwrap();

    served.start();
    let mut events = Events::connect(served.port, &format!("?since={seq}"));
    let again = events.next().unwrap();
    assert_eq!(again["type"], "models", "another watcher: everything");
    assert!(again["epoch"].as_i64().unwrap() > epoch && again["seq"].as_u64().unwrap() > seq);
    assert_eq!(status(&again, "cold"), "running");
}

#[test]
fn changes_alone_are_resumed_where_they_were_left() {
    let served = served();
    let mut events = Events::connect(served.port, "?changes=true");
    let first = events.next().unwrap();
    assert_eq!(first["type"], "models");
    assert_eq!(post(served.port, "/api/models/cold/start?wait=60s", "").status, 200);
    let is_ready = |message: &Value| message["type"] == "model" && message["data"]["status"] == "running";
    let seen = events.until(is_ready);
    assert!(seen.iter().all(|message| message["type"] == "model"), "{seen:?}");
    let since = seen.last().unwrap()["seq"].as_u64().unwrap();
    drop(events);

    assert_eq!(post(served.port, "/api/models/cold/stop?wait=60s", "").status, 200);
    served.world.remove_definition("other");
    let mut events = Events::connect(served.port, &format!("?changes=true&since={since}"));
    let id = first["data"].as_array().unwrap().iter().find(|model| model["name"] == "other").unwrap()["id"].clone();
    let seen = events.until(|message| message["type"] == "removed");
    assert_eq!(seen.last().unwrap()["data"]["key"], id);
    let stopped = seen.iter().any(|message| message["data"]["name"] == "cold" && message["data"]["instance"].is_null());
    assert!(stopped && seen.iter().all(|message| message["type"] != "models"), "{seen:?}");
}

#[test]
fn the_same_comes_as_server_sent_events() {
    let served = served();
    let mut stream = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let mut before = String::new();
    let data = lines.find_map(|line| {
        let data = line.strip_prefix("data: ").map(str::to_owned);
        before = if data.is_some() { std::mem::take(&mut before) } else { line };
        data
    });
    let (id, data) = (before.strip_prefix("id: ").expect("its number comes first").to_owned(), data.unwrap());
    let first: Value = serde_json::from_str(&data).unwrap();
    assert_eq!((&first["type"], first["seq"].to_string()), (&json!("models"), id));
    assert_eq!(post(served.port, "/api/models/cold/start", "").status, 202);
    let is_running = |line: &String| {
        line.strip_prefix("data: ")
            .is_some_and(|data| status(&serde_json::from_str(data).unwrap(), "cold") == "running")
    };
    assert!(lines.any(|line| is_running(&line)));
}

#[test]
fn while_nothing_can_be_recorded_the_last_state_is_shown_with_why() {
    let served = served();
    let mut events = Events::connect(served.port, "?changes=true");
    events.next().unwrap();
    let lock = Connection::open(database(&served.world)).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    served.world.write_definition("third", &format!("state = \"on_demand\"\n{}", World::tiny_toml("cold")));
    let seen = events.until(|message| message["type"] == "problem");
    assert!(seen.last().unwrap()["problem"].is_string(), "{seen:?}");
    assert_eq!(get(served.port, "/api/models/cold").status, 200);
    drop(lock);
    let seen = events.until(|message| message["type"] == "problem");
    assert!(seen.last().unwrap()["problem"].is_null(), "{seen:?}");
}

#[test]
fn definitions_that_cannot_be_read_are_a_problem_until_they_can() {
    let served = served();
    let mut events = Events::connect(served.port, "?changes=true");
    events.next().unwrap();
    let aside = served.world.path().join("aside");
    std::fs::rename(served.world.models_dir(), &aside).unwrap();
    let seen = events.until(|message| message["type"] == "problem");
    let problem = seen.last().unwrap()["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("models.d does not exist") && problem.contains("as they were defined"), "{problem}");
    assert_eq!(get(served.port, "/api/models/cold").status, 200);
    std::fs::rename(&aside, served.world.models_dir()).unwrap();
    let seen = events.until(|message| message["type"] == "problem");
    assert!(seen.last().unwrap()["problem"].is_null(), "{seen:?}");
}

#[test]
fn the_time_of_the_last_request_is_the_same_at_every_look() {
    let served = served();
    served.ask("cold").unwrap();
    let mut events = Events::connect(served.port, "?changes=true");
    events.next().unwrap();
    // Its time of last use is looked at every second, and is the same each time.
    let is_idle = get(served.port, "/api/models/cold").json();
    assert!(is_idle["requests"]["lastUsed"].is_string(), "{is_idle}");
    let begun = std::time::Instant::now();
    let mut times = std::collections::BTreeSet::new();
    while begun.elapsed() < std::time::Duration::from_secs(4) {
        times.insert(get(served.port, "/api/models/cold").json()["requests"]["lastUsed"].to_string());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(times.len(), 1, "{times:?}");
}
