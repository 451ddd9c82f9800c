//! Every route and method, for every kind of caller: what they may see and do.
//!
//! The routes come from `/api/openapi.json`, which a unit test holds against the routes
//! of the program: a new one fails here until the table says who may.

use std::collections::BTreeSet;

use serde_json::Value;

use super::client::{Answer, Events, get, send};
use crate::gateway::served::Served;
use crate::support::{World, eventually};

/// Keys, their models, and whether they may change what runs.
const KEYS: [(&str, &str, bool); 4] =
    [("limited", "a*", false), ("reader", "*", false), ("chief", "a*", true), ("boss", "*", true)];

/// What no key without `secret` may read anywhere.
const HIDDEN: &str = "secret";

/// Operation; the statuses for `limited`, `reader`, `chief` and `boss` with a model that
/// the key is for; and for `limited` and `chief` with one that it is not for.
type Row = (&'static str, [u16; 4], Option<[u16; 2]>);

const TABLE: &[Row] = &[
    ("GET /api/models", [200, 200, 200, 200], None),
    ("GET /api/models/{key}", [200, 200, 200, 200], Some([404, 404])),
    ("GET /api/models/{key}/why", [200, 200, 200, 200], Some([404, 404])),
    ("GET /api/models/{key}/history", [200, 200, 200, 200], Some([404, 404])),
    ("GET /api/models/{key}/logs", [403, 403, 200, 200], Some([404, 404])),
    ("POST /api/models/{key}/start", [403, 403, 202, 202], Some([404, 404])),
    ("POST /api/models/{key}/restart", [403, 403, 202, 202], Some([404, 404])),
    ("POST /api/models/{key}/stop", [403, 403, 202, 202], Some([404, 404])),
    ("POST /api/models/{key}/suspend", [403, 403, 202, 202], Some([404, 404])),
    ("POST /api/models/{key}/resume", [403, 403, 202, 202], Some([404, 404])),
    ("GET /api/plan", [403, 200, 403, 200], None),
    ("GET /api/events", [200, 200, 200, 200], None),
    ("GET /api/machine", [403, 403, 200, 200], None),
    ("GET /api/activity", [200, 200, 200, 200], None),
    ("GET /api/definitions", [403, 403, 403, 200], None),
    ("GET /api/definitions/{file}", [403, 403, 403, 200], None),
    ("PUT /api/definitions/{file}", [403, 403, 403, 428], None),
    ("DELETE /api/definitions/{file}", [403, 403, 403, 428], None),
    ("POST /api/reconcile", [403, 403, 403, 200], None),
    ("GET /api/openapi.json", [200, 200, 200, 200], None),
];

fn served(keys: bool) -> Served {
    let world = World::new();
    for name in ["alpha", HIDDEN] {
        world.weights(name, "word ");
        world.write_definition(name, &format!("state = \"on_demand\"\n{}", World::tiny_toml(name)));
    }
    let mut settings = "[serve]\ncors_origins = [\"*\"]\nedit = true\n".to_owned();
    for (name, models, admin) in KEYS.iter().filter(|_| keys) {
        let file = world.path().join(name);
        std::fs::write(&file, format!("{name}-key\n")).unwrap();
        let file = file.display();
        settings += &format!(
            "[[serve.keys]]\nname = \"{name}\"\nkey = {{ file = \"{file}\" }}\nmodels = [\"{models}\"]\nadmin = {admin}\n"
        );
    }
    std::fs::write(world.settings(), settings).unwrap();
    Served::new(world)
}

/// `GET /api/models/{key}` and so on, as the description has them.
fn operations(port: u16) -> Vec<(String, String)> {
    let key = "x-api-key: boss-key";
    let description = send(port, "GET", "/api/openapi.json", &[key], "").json();
    let paths = description["paths"].as_object().unwrap();
    let of = |(path, methods): (&String, &Value)| -> Vec<(String, String)> {
        methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())).collect()
    };
    paths.iter().flat_map(of).collect()
}

/// Answers as [`send`] does; of events the head alone: they have no end.
fn ask(port: u16, method: &str, path: &str, headers: &[&str]) -> Answer {
    if path == "/api/events" && method == "GET" {
        return Answer { status: status_of_events(port, headers), head: String::new(), body: String::new() };
    }
    send(port, method, path, headers, "")
}

fn status_of_events(port: u16, headers: &[&str]) -> u16 {
    // Its answer to HEAD is that to GET without the events.
    send(port, "HEAD", "/api/events", headers, "").status
}

#[test]
fn each_route_answers_each_key_as_the_table_says() {
    let served = served(true);
    let operations = operations(served.port);
    let known: BTreeSet<String> = TABLE.iter().map(|(operation, ..)| (*operation).to_owned()).collect();
    let described: BTreeSet<String> = operations.iter().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(described, known, "the table says who may for each route");

    // Of the hidden one there is all that there may be: a server, requests, a history.
    let boss = "x-api-key: boss-key";
    let body = format!("{{\"model\": \"{HIDDEN}\", \"prompt\": \"hi\", \"n_predict\": 1}}");
    let asked = send(served.port, "POST", "/completion", &[boss, "Content-Type: application/json"], &body);
    assert_eq!(asked.status, 200, "{asked:?}");
    for path in ["/api/machine", "/api/activity", "/api/models", "/api/definitions"] {
        let seen = send(served.port, "GET", path, &[boss], "").body;
        assert!(seen.contains(HIDDEN), "{path}: {seen}");
    }

    let mut wrong = Vec::new();
    let mut check = |who: &str, method: &str, path: &str, expected: u16| {
        let answer = ask(served.port, method, path, &[&format!("x-api-key: {who}-key")]);
        let is_problem = answer.head.contains("content-type: application/problem+json");
        if answer.status != expected || (answer.status >= 400) != is_problem && !answer.head.is_empty() {
            wrong.push(format!("{who} {method} {path}: {} for {expected}: {}", answer.status, answer.body));
        }
        // What the caller wrote itself, it knows.
        let text = answer.body.replace(path, "").replace(&format!("\\\"{HIDDEN}\\\""), "");
        if ["limited", "chief"].contains(&who) && text.contains(HIDDEN) {
            wrong.push(format!("{who} {method} {path} reads of {HIDDEN}: {text}"));
        }
    };
    for (operation, for_own, for_hidden) in TABLE {
        let (method, path) = operation.split_once(' ').unwrap();
        let path = path.replace("{file}", "alpha.toml");
        for ((who, ..), expected) in KEYS.iter().zip(for_own) {
            check(who, method, &path.replace("{key}", "alpha"), *expected);
            if method == "GET" {
                check(who, "HEAD", &path.replace("{key}", "alpha"), *expected);
            }
        }
        for (who, expected) in ["limited", "chief"].iter().zip(for_hidden.iter().flatten()) {
            check(who, method, &path.replace("{key}", HIDDEN), *expected);
        }
        check("nobody's", method, &path, 401);
    }
    // Methods that no route has.
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];
    for (_, path) in &operations {
        let of_path = operations.iter().filter(|(_, other)| other == path).map(|(method, _)| method.as_str());
        let has: BTreeSet<&str> =
            of_path.flat_map(|method| if method == "GET" { vec!["GET", "HEAD"] } else { vec![method] }).collect();
        for method in methods.iter().filter(|method| !has.contains(*method)) {
            check("boss", method, &path.replace("{key}", "alpha").replace("{file}", "alpha.toml"), 405);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_key_hears_of_its_models_alone_in_both_kinds_of_events() {
    let served = served(true);
    let by = |key: &str, path: &str| {
        let answer = send(served.port, "POST", path, &[&format!("x-api-key: {key}")], "");
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    let key = Some("limited-key");
    let mut readers = [
        Events::connect_with(served.port, "?changes=true", key),
        Events::connect_with(served.port, "", key),
        Events::by_sse(served.port, "?changes=true", key),
        Events::by_sse(served.port, "", key),
    ];
    let mut boss = Events::connect_with(served.port, "?changes=true", Some("boss-key"));
    let mut seen: Vec<Vec<Value>> = readers.iter_mut().map(|reader| vec![reader.next().unwrap()]).collect();

    // One starts and one goes that the key is not for; then one that it is for starts.
    by("boss-key", &format!("/api/models/{HIDDEN}/start?wait=60s"));
    served.world.write_definition("sesame", "model = 7\n");
    boss.until(|message| message["data"]["name"] == "sesame");
    for gone in [HIDDEN, "sesame"] {
        served.world.remove_definition(gone);
    }
    let mut left = 2;
    boss.until(|message| {
        left -= usize::from(message["type"] == "removed");
        left == 0
    });
    by("boss-key", "/api/models/alpha/start?wait=60s");
    let is_running = |message: &Value| {
        let models = message["data"].as_array().map_or_else(|| vec![&message["data"]], |all| all.iter().collect());
        models.iter().any(|model| model["name"] == "alpha" && model["status"] == "running")
    };
    for (reader, seen) in readers.iter_mut().zip(&mut seen) {
        seen.extend(reader.until(is_running));
    }
    for seen in seen {
        for message in &seen {
            let text = message.to_string();
            assert!(!text.contains(HIDDEN) && !text.contains("sesame"), "{text}");
            assert_ne!(message["type"], "removed", "{text}");
        }
    }
}

#[test]
fn a_reader_whose_key_changes_gets_what_it_may_see_now() {
    let served = served(true);
    let mut events = Events::connect_with(served.port, "?changes=true", Some("limited-key"));
    assert_eq!(events.next().unwrap()["data"].as_array().unwrap().len(), 1);
    let settings = std::fs::read_to_string(served.world.settings()).unwrap();
    std::fs::write(served.world.settings(), settings.replace("models = [\"a*\"]", "models = [\"*\"]")).unwrap();
    // Any pass looks at the settings; what it changes is heard.
    let started = send(served.port, "POST", "/api/models/alpha/start", &["x-api-key: boss-key"], "");
    assert_eq!(started.status, 202, "{started:?}");
    let seen = events.until(|message| message["type"] == "models");
    assert_eq!(seen.last().unwrap()["data"].as_array().unwrap().len(), 2, "{seen:?}");
    // And who has none any more hears nothing.
    std::fs::write(served.world.settings(), settings.replace("\"limited\"", "\"other\"")).unwrap();
    let stopped = send(served.port, "POST", "/api/models/alpha/stop", &["x-api-key: boss-key"], "");
    assert_eq!(stopped.status, 202, "{stopped:?}");
    while events.next().is_some() {}
}

const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
];

#[test]
fn a_page_of_another_site_writes_nothing_anywhere_and_reads_nothing() {
    let served = served(false);
    let mut before = Value::Null;
    eventually("all is done", super::client::PATIENCE, || {
        before = get(served.port, "/api/models").json()["models"].clone();
        before.as_array().is_some_and(|models| models.iter().filter(|model| model["inSync"] == true).count() == 2)
    });
    let origins =
        ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1", "http://localhost.evil.example"];
    let mut wrong = Vec::new();
    for (method, path) in operations(served.port) {
        let path = path.replace("{key}", "alpha").replace("{file}", "alpha.toml");
        let mut asks = |method: &str, headers: &[&str], expected: Option<u16>| {
            let answer = ask(served.port, method, &path, headers);
            let is_right = expected.is_none_or(|expected| answer.status == expected);
            if !is_right || answer.head.contains("access-control-") {
                wrong.push(format!("{method} {path} {headers:?}: {answer:?}"));
            }
        };
        for origin in origins.map(|origin| format!("Origin: {origin}")) {
            // It may be asked for, as an image is; no page of theirs reads the answer.
            asks(&method, &[&origin], (method != "GET").then_some(403));
            asks("OPTIONS", &[&origin, "Access-Control-Request-Method: POST"], Some(403));
            if method == "GET" {
                asks("HEAD", &[&[origin.as_str()], &UPGRADE[..]].concat(), Some(403));
            }
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80"] {
            let host = format!("Host: {host}");
            asks(&method, &[&host], Some(403));
            asks(&method, &[&host, &host.replace("Host: ", "Origin: http://")], Some(403));
        }
    }
    for origin in origins.map(|origin| format!("Origin: {origin}")) {
        let socket = send(served.port, "GET", "/api/events", &[&[origin.as_str()], &UPGRADE[..]].concat(), "");
        assert_eq!(socket.status, 403, "{origin}: {socket:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let after = get(served.port, "/api/models").json()["models"].clone();
    assert_eq!(after, before, "nothing changed");

    // Loaded as a script or an image, an answer is nothing either.
    for path in ["/api/models", "/api/models/alpha/logs", "/api/none"] {
        let answer = get(served.port, path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
    }
}
