//! `kill -9` of the watcher while commands are under way: each is recorded or not, and
//! those that were answered are in effect.

use std::collections::BTreeMap;
use std::thread;

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::client::{Events, PATIENCE, database, get, post, try_send};
use crate::gateway::served::Served;
use crate::support::{World, eventually};

const WRITES: usize = 20;

/// How many of them are answered before the others are sent.
const ANSWERED: usize = 10;

/// What each fifth model is asked for, and the word of its event.
const VERBS: [(&str, &str); 5] = [
    ("start", "start_asked"),
    ("stop", "stop_asked"),
    ("restart", "restart_asked"),
    ("suspend", "suspended"),
    ("resume", "resumed"),
];

fn model(number: usize) -> String {
    format!("m{number:02}")
}

fn verb(number: usize) -> (&'static str, &'static str) {
    VERBS[number % VERBS.len()]
}

/// Models that are to be stopped and restarted run; those to be resumed are suspended.
fn served() -> Served {
    let world = World::new();
    world.weights("tiny", "word ");
    for number in 0..WRITES {
        let runs = ["stop", "restart"].contains(&verb(number).0);
        let state = if runs { "running" } else { "stopped" };
        world.write_definition(&model(number), &format!("state = \"{state}\"\n{}", World::tiny_toml("tiny")));
    }
    let served = Served::new(world);
    eventually("all is as defined", PATIENCE, || {
        let models = get(served.port, "/api/models").json()["models"].as_array().unwrap().clone();
        models.iter().filter(|model| model["inSync"] == true).count() == WRITES
    });
    for number in (0..WRITES).filter(|number| verb(*number).0 == "resume") {
        assert_eq!(post(served.port, &format!("/api/models/{}/suspend", model(number)), "").status, 202);
    }
    served
}

/// How often each command is in the history, by its model.
fn recorded(world: &World) -> BTreeMap<String, usize> {
    let database = Connection::open_with_flags(database(world), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    let sql = "SELECT name, action, reasons FROM herdsman_events";
    let mut events = database.prepare(sql).unwrap();
    let events = events.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let mut counts = BTreeMap::new();
    for (name, event, reasons) in events.map(Result::<(String, String, String), _>::unwrap) {
        let is_one =
            (0..WRITES).any(|number| name == model(number) && event == verb(number).1 && reasons.contains("write "));
        *counts.entry(name).or_default() += usize::from(is_one);
    }
    counts
}

#[test]
fn each_of_twenty_writes_is_recorded_or_not_and_the_next_watcher_says_which() {
    let mut served = served();
    let mut events = Events::connect(served.port, "");
    let before = events.next().unwrap();
    let (port, pids) = (served.port, served.world.instances());
    let write = |number: usize| {
        thread::spawn(move || {
            let path = format!("/api/models/{}/{}", model(number), verb(number).0);
            let body = json!({"reason": format!("write {number}")}).to_string();
            try_send(port, "POST", &path, &[], &body).map(|answer| (answer.status, answer.body))
        })
    };
    // It dies in the middle of them: what they cause goes on for the first, and some of
    // the others are recorded.
    let first: Vec<_> = (0..ANSWERED).map(write).collect();
    let mut answers: Vec<Option<(u16, String)>> = first.into_iter().map(|write| write.join().unwrap()).collect();
    let others: Vec<_> = (ANSWERED..WRITES).map(write).collect();
    let some = ANSWERED + (WRITES - ANSWERED) / 4;
    eventually("some are recorded", PATIENCE, || recorded(&served.world).values().sum::<usize>() >= some);
    drop(served.watcher.take());
    answers.extend(others.into_iter().map(|write| write.join().unwrap()));
    while events.next().is_some() {}
    let after_kill = recorded(&served.world);
    served.start();

    let mut events = Events::connect(served.port, &format!("?since={}", before["seq"]));
    let whole = events.next().unwrap();
    assert_eq!(whole["type"], "models");
    assert!(whole["epoch"].as_i64().unwrap() > before["epoch"].as_i64().unwrap(), "another watcher");
    let models = |message: &Value| message["data"].as_array().unwrap().clone();
    agrees_with_the_database(&served.world, &models(&whole));

    let is_recorded = |number: usize| match recorded(&served.world).get(&model(number)).copied().unwrap_or_default() {
        0 => false,
        1 => true,
        more => panic!("{} was recorded {more} times", model(number)),
    };
    let done: Vec<bool> = (0..WRITES).map(is_recorded).collect();
    assert_eq!(recorded(&served.world), after_kill, "nothing is recorded after the kill");
    for (number, answer) in answers.iter().enumerate() {
        match answer {
            Some((202, _)) => assert!(done[number], "{} was answered and is not recorded", model(number)),
            Some((status, body)) => panic!("{}: {status} {body}", model(number)),
            None => {}
        }
    }
    let count = |is: bool| done.iter().filter(|done| **done == is).count();
    let answered = answers.iter().flatten().count();
    assert!(answered >= ANSWERED);
    println!("{} recorded, {answered} of them answered; {} not", count(true), count(false));

    // Each has its effect, or none.
    eventually("all is as asked", PATIENCE, || {
        let now = get(served.port, "/api/models").json()["models"].as_array().unwrap().clone();
        (0..WRITES).all(|number| has_effect(&now, number, done[number], &pids))
    });
}

/// Whether a model is as its command wants it; or as before, if that is not recorded.
fn has_effect(models: &[Value], number: usize, is_done: bool, pids: &[(i32, String)]) -> bool {
    let model = models.iter().find(|is| is["name"] == model(number).as_str()).unwrap();
    let pid = model["instance"]["pid"].as_i64();
    let before = pids.iter().find(|(_, name)| *name == self::model(number)).map(|(pid, _)| i64::from(*pid));
    let is_running = model["status"] == "running" && pid.is_some();
    let is_suspended = model["byHand"].as_array().unwrap().iter().any(|by_hand| by_hand["what"] == "suspended");
    match verb(number).0 {
        "start" => is_running == is_done,
        "stop" => is_running != is_done,
        "restart" => is_running && (pid != before) == is_done,
        "suspend" => is_suspended == is_done,
        _ => is_suspended != is_done,
    }
}

/// The same models, in the same order, with the same suspensions.
fn agrees_with_the_database(world: &World, models: &[Value]) {
    let database = Connection::open_with_flags(database(world), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut rows = database.prepare("SELECT id, name FROM models ORDER BY created_at DESC, id DESC").unwrap();
    let rows = rows.query_map([], |row| Ok((row.get::<_, i64>(0)?.to_string(), row.get::<_, String>(1)?))).unwrap();
    let rows: Vec<(String, String)> = rows.map(Result::unwrap).collect();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let shown: Vec<_> = models.iter().map(|model| (text(&model["id"]), text(&model["name"]))).collect();
    assert_eq!(shown, rows);
    let mut rows =
        database.prepare("SELECT name FROM herdsman_overrides WHERE kind = 'suspended' ORDER BY name").unwrap();
    let rows: Vec<String> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let is_suspended = |model: &&Value| model["byHand"].as_array().unwrap().iter().any(|by| by["what"] == "suspended");
    let mut shown: Vec<String> = models.iter().filter(is_suspended).map(|model| text(&model["name"])).collect();
    shown.sort();
    assert_eq!(shown, rows);
}
