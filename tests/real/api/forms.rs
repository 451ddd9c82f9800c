//! Forms of what is read: ids, times, order, filters, tags, HEAD, parameters.

use rusqlite::Connection;
use serde_json::Value;

use super::client::{PATIENCE, database, get, send};
use crate::gateway::served::Served;
use crate::support::{World, eventually};

/// Name, type, status, and the time of creation: two rows have the same.
const ROWS: [(&str, &str, &str, i64); 5] = [
    ("100%_Sure", "gpt", "stopped", 3_000),
    ("1000 Sure", "mistrall", "running", 2_000),
    ("same-a", "llama", "error", 1_000),
    ("same-b", "custom", "loading", 1_000),
    ("ÄRGER", "odd", "odd", 500),
];

fn served() -> Served {
    let world = World::new();
    world.weights("cold", "word ");
    world.write_definition("cold", &format!("state = \"on_demand\"\n{}", World::tiny_toml("cold")));
    let served = Served::new(world);
    eventually("it is there", PATIENCE, || get(served.port, "/api/models/cold").json()["inSync"] == true);
    let database = Connection::open(database(&served.world)).unwrap();
    // Other programs write words that the contract does not know.
    database.execute_batch("PRAGMA ignore_check_constraints = ON").unwrap();
    for (name, kind, status, at) in ROWS {
        let sql = "INSERT INTO models (name, type, status, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?4 + 1)";
        database.execute(sql, (name, kind, status, at)).unwrap();
    }
    eventually("the rows are there", PATIENCE, || list(&served, "").len() == ROWS.len() + 1);
    served
}

fn list(served: &Served, query: &str) -> Vec<Value> {
    let answer = get(served.port, &format!("/api/models{query}"));
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.json()["models"].as_array().unwrap().clone()
}

fn names(served: &Served, query: &str) -> Vec<String> {
    list(served, query).iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn rows_have_the_store_form_the_newest_first() {
    let served = served();
    let all = list(&served, "");
    let order = ["cold", "100%_Sure", "1000 Sure", "same-b", "same-a", "ÄRGER"];
    assert_eq!(names(&served, ""), order, "ties by id, the newest first");
    let found = |name: &str| all.iter().find(|model| model["name"] == name).unwrap().clone();
    let words = |name: &str| {
        [found(name)["type"].clone(), found(name)["status"].clone()].map(|word| word.as_str().unwrap().to_owned())
    };
    let cases = [
        ("100%_Sure", ["other", "idle"]),
        ("1000 Sure", ["mistral", "running"]),
        ("same-a", ["llama", "error"]),
        ("same-b", ["other", "loading"]),
        ("ÄRGER", ["other", "idle"]),
    ];
    for (name, expected) in cases {
        assert_eq!(words(name), expected, "{name}");
    }
    let first = found("100%_Sure");
    assert_eq!(
        (first["createdAt"].as_str(), first["updatedAt"].as_str()),
        (Some("1970-01-01T00:00:03.000Z"), Some("1970-01-01T00:00:03.001Z"))
    );
    let id = first["id"].as_str().expect("a string, in decimal");
    assert_eq!(get(served.port, &format!("/api/models/{id}")).json()["name"], "100%_Sure");
    for wrong in [
        format!("{id}x"),
        format!("0{id}"),
        format!("+{id}"),
        format!("{id}.0"),
        "-1".to_owned(),
        "9007199254740993".to_owned(),
    ] {
        assert_eq!(get(served.port, &format!("/api/models/{wrong}")).status, 404, "{wrong}: ids are read strictly");
    }
}

#[test]
fn filters_are_those_of_the_database() {
    let served = served();
    for (query, expected) in [
        ("?name=sure", vec!["100%_Sure", "1000 Sure"]),
        ("?name=0%25_", vec!["100%_Sure"]),
        ("?name=%25", vec!["100%_Sure"]),
        ("?name=_", vec!["100%_Sure"]),
        ("?name=%C3%A4rg", vec!["ÄRGER"]),
        ("?name=1000+Sure", vec!["1000 Sure"]),
        ("?status=running", vec!["1000 Sure"]),
        ("?type=mistral&status=running&name=S", vec!["1000 Sure"]),
        ("?type=mistral&status=idle", vec![]),
        // What nobody knows is no filter; an empty one is none.
        ("?color=red&name=sure", vec!["100%_Sure", "1000 Sure"]),
        ("?status=&type=&name=same", vec!["same-b", "same-a"]),
    ] {
        assert_eq!(names(&served, query), expected, "{query}");
    }
    for query in ["?status=stopped", "?type=mistrall", "?status=Running"] {
        let answer = get(served.port, &format!("/api/models{query}"));
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
        assert!(answer.json()["detail"].as_str().unwrap().contains("expected one of"), "{answer:?}");
    }
    for (path, status) in [
        ("/api/activity?limit=0", 200),
        ("/api/activity?limit=18446744073709551615", 200),
        ("/api/activity?limit=18446744073709551616", 400),
        ("/api/activity?limit=ten", 400),
        ("/api/models/cold/logs?lines=-1", 400),
        ("/api/models/cold/logs?follow=maybe", 400),
        ("/api/events?changes=maybe", 400),
    ] {
        assert_eq!(get(served.port, path).status, status, "{path}");
    }
    assert_eq!(get(served.port, "/api/activity?limit=0").json()["requests"].as_array().unwrap().len(), 0);
}

#[test]
fn a_tag_is_that_of_what_is_shown_and_head_is_get_without_a_body() {
    let served = served();
    for path in ["/api/models", "/api/models/cold", "/api/models?status=idle"] {
        let (got, head) = (get(served.port, path), send(served.port, "HEAD", path, &[], ""));
        assert_eq!((got.status, head.status, head.body.as_str()), (200, 200, ""), "{path}");
        for name in ["etag", "content-type", "content-length", "vary"] {
            assert_eq!(got.header(name), head.header(name), "{path} {name}");
            assert!(got.header(name).is_some(), "{path} {name}");
        }
        let tag = got.header("etag").unwrap();
        for (known, status) in [
            (tag.to_owned(), 304),
            (format!("W/{tag}"), 304),
            (format!("\"other\", {tag}"), 304),
            ("*".to_owned(), 304),
            ("\"other\"".to_owned(), 200),
            (tag.replace('"', ""), 200),
        ] {
            let again = send(served.port, "GET", path, &[&format!("If-None-Match: {known}")], "");
            assert_eq!(again.status, status, "{path} {known}");
            assert_eq!(again.body.is_empty(), status == 304, "{path} {known}");
            assert_eq!(again.header("etag"), Some(tag), "{path} {known}");
        }
    }
    let tag = get(served.port, "/api/models").header("etag").unwrap().to_owned();
    let row = Connection::open(database(&served.world)).unwrap();
    row.execute("UPDATE models SET chat_template = 'new' WHERE name = 'same-a'", []).unwrap();
    eventually("the tag is another one", PATIENCE, || {
        let again = send(served.port, "GET", "/api/models", &[&format!("If-None-Match: {tag}")], "");
        again.status == 200 && again.body.contains("\"template\":\"new\"")
    });
    for path in ["/api/plan", "/api/machine", "/api/activity", "/api/definitions", "/api/openapi.json", "/api/none"] {
        let (got, head) = (get(served.port, path), send(served.port, "HEAD", path, &[], ""));
        assert_eq!((got.status, head.body.as_str()), (head.status, ""), "{path}");
    }
}
