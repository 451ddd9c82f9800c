//! What can be done.

use serde_json::json;

use super::client::{get, post, send};
use crate::gateway::served::Served;
use crate::support::World;

fn served() -> Served {
    let world = World::new();
    world.weights("cold", "cold ");
    world.write_definition("cold", &format!("state = \"on_demand\"\n{}", World::tiny_toml("cold")));
    let served = Served::new(world);
    assert_eq!(get(served.port, "/api/models/cold").status, 200);
    served
}

#[test]
fn a_model_starts_stops_and_is_left_alone_and_the_history_says_for_whom() {
    let served = served();
    let done = |path: &str, body: &str| {
        let answer = post(served.port, path, body);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()
    };
    // Nothing is to be replaced.
    assert_eq!(done("/api/models/cold/restart?wait=60s", "")["model"]["instance"], json!(null));
    let started = done("/api/models/cold/start?wait=60s", r#"{"reason": "a demo"}"#);
    assert_eq!((&started["outcome"], &started["model"]["status"]), (&json!("done"), &json!("running")));
    let pid = started["model"]["instance"]["pid"].clone();
    assert_eq!(started["model"]["byHand"][0]["reason"], "a demo");

    // Twice starts once: no body, an empty one and {} are the same.
    for body in ["", "{}"] {
        assert_eq!(done("/api/models/cold/start?wait=60s", body)["model"]["instance"]["pid"], pid);
    }
    let restarted = done("/api/models/cold/restart?wait=60s", "");
    assert_ne!(restarted["model"]["instance"]["pid"], pid);
    assert_eq!(done("/api/models/cold/stop?wait=60s", "")["model"]["instance"], json!(null));

    let suspended = done("/api/models/cold/suspend?wait=1s", r#"{"for": "2h"}"#);
    assert_eq!(suspended["model"]["byHand"][0]["what"], "suspended");
    assert!(suspended["model"]["byHand"][0]["until"].is_string());
    let refused = post(served.port, "/api/models/cold/start", "");
    assert_eq!(refused.status, 409, "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().contains("suspended"));
    assert_eq!(done("/api/models/cold/resume?wait=1s", "")["outcome"], "done");

    let events = get(served.port, "/api/models/cold/history").json()["events"].clone();
    let asked = events.as_array().unwrap().iter().find(|event| event["event"] == "start_asked").unwrap();
    assert!(asked.to_string().contains("a demo"), "{asked}");
}

#[test]
fn a_start_that_fails_says_why_and_one_without_wait_returns_at_once() {
    let world = World::new();
    world.weights_that_die("broken");
    world.write_definition("broken", &format!("state = \"stopped\"\n{}", World::tiny_toml("broken")));
    let served = Served::new(world);
    assert_eq!(get(served.port, "/api/models/broken").status, 200);
    let accepted = post(served.port, "/api/models/broken/start", "");
    assert_eq!((accepted.status, &accepted.json()["outcome"]), (202, &json!("accepted")));
    assert_eq!(accepted.json()["plan"]["waiting"][0]["model"], "broken", "{accepted:?}");
    let failed = post(served.port, "/api/models/broken/start?wait=60s", "").json();
    assert_eq!(failed["outcome"], "failed", "{failed}");
    assert!(!failed["model"]["lastFailure"].as_str().unwrap().is_empty(), "{failed}");
}

#[test]
fn what_is_not_understood_is_refused_with_what_would_be() {
    let served = served();
    let cases = [
        ("POST", "/api/models/cold/start", "[]", 400),
        ("POST", "/api/models/cold/start", " ", 400),
        ("POST", "/api/models/cold/start", r#"{"reson": "typo"}"#, 400),
        ("POST", "/api/models/cold/start", r#"{"for": "2h"}"#, 400),
        ("POST", "/api/models/cold/suspend", r#"{"for": "tomorrow"}"#, 400),
        ("POST", "/api/models/cold/start?wait=soon", "", 400),
        ("GET", "/api/models/cold/start", "", 405),
        ("DELETE", "/api/models/cold", "", 405),
        ("POST", "/api/models/none/start", "", 404),
        ("POST", "/api/models/cold/dance", "", 404),
        ("GET", "/api/none", "", 404),
        ("GET", "/api/events?since=x", "", 400),
        ("GET", "/api/activity?limit=-1", "", 400),
    ];
    for (method, path, body, status) in cases {
        let answer = send(served.port, method, path, &[], body);
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {path}");
        assert_eq!(answer.json()["status"], status, "{method} {path}");
        assert!(!answer.json()["detail"].as_str().unwrap().is_empty());
    }
    let large = format!("{{\"reason\": \"{}\"}}", "x".repeat(70_000));
    assert_eq!(post(served.port, "/api/models/cold/start", &large).status, 413);
    assert_eq!(served.running(), Vec::<String>::new());
}
