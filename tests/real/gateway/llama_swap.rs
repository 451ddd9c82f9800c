//! What scripts and widgets ask of llama-swap answers as it does (0bdb372).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::front::Front;
use crate::support::{ask, eventually, get, post};

const PATIENCE: Duration = Duration::from_secs(30);

/// Sends a request without a body; returns the status and the text of the answer.
fn text(port: u16, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn running(port: u16) -> Vec<String> {
    let (_, answer) = get(port, "/running").unwrap();
    let all = answer["running"].as_array().unwrap().iter();
    all.map(|entry| format!("{} {}", entry["model"].as_str().unwrap(), entry["state"].as_str().unwrap())).collect()
}

#[test]
fn running_models_are_listed_with_the_fields_that_widgets_read() {
    let front = Front::new(&["alpha", "beta"]);
    assert_eq!(get(front.port, "/running").unwrap(), (200, json!({"running": []})));
    front.start("beta");
    let (_, answer) = get(front.port, "/running").unwrap();
    let entry = answer["running"][0].as_object().unwrap();
    let fields: Vec<_> = entry.keys().map(String::as_str).collect();
    assert_eq!(fields, ["cmd", "description", "model", "name", "proxy", "state", "ttl"]);
    assert_eq!((&entry["model"], &entry["state"]), (&Value::from("beta"), &Value::from("ready")));
    let url = entry["proxy"].as_str().unwrap();
    assert_eq!(url, format!("http://127.0.0.1:{}", front.server_port("beta")));
}

#[test]
fn unloading_stops_what_runs_on_demand_and_nothing_else() {
    let front = Front::new(&["alpha", "beta", "gamma"]);
    front.runs_for_good("gamma");
    let all = ["alpha ready", "beta ready", "gamma ready"];
    let ways: [(&str, u16, &str, &[&str]); 4] = [
        ("POST /unload", 200, "OK", &all[2..]),
        ("POST /api/models/unload", 200, r#"{"msg":"ok"}"#, &all[2..]),
        ("POST /api/models/unload/alpha", 200, "OK", &all[1..]),
        ("POST /api/models/unload/alpha-alias", 200, "OK", &all[1..]),
    ];
    for (request, status, answer, left) in ways {
        for model in ["alpha", "beta"] {
            if running(front.port).iter().all(|entry| !entry.starts_with(model)) {
                front.start(model);
            }
        }
        assert_eq!(running(front.port), all);
        assert_eq!(text(front.port, request), (status, answer.to_owned()), "{request}");
        eventually(request, PATIENCE, || running(front.port) == left);
    }
    assert_eq!(ask(front.server_port("gamma")), "gamma gamma gamma ");
    // No GET changes anything, and this one says what does.
    let (status, help) = text(front.port, "GET /unload");
    assert_eq!(status, 405);
    assert!(help.contains("POST /unload"), "{help}");
    assert_eq!(text(front.port, "POST /api/models/unload/nope"), (404, "model not found".to_owned()));
}

#[test]
fn logs_are_streamed_as_they_are_written() {
    let front = Front::new(&["alpha", "beta"]);
    front.start("alpha");
    eventually("its log is there", PATIENCE, || {
        let (status, log) = text(front.port, "GET /logs");
        assert_eq!(status, 200);
        assert!(log.lines().all(|line| line.starts_with("[alpha] ")), "{log}");
        log.lines().count() > 5
    });

    let follow = |path: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", front.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        (stream, String::new())
    };
    let says = |following: &mut (TcpStream, String), text: &str| {
        let (stream, seen) = following;
        let (begun, mut bytes) = (Instant::now(), [0; 4096]);
        while !seen.contains(text) {
            assert!(begun.elapsed() < PATIENCE, "{text:?} is not in {seen}");
            if let Ok(read) = stream.read(&mut bytes) {
                seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        }
    };
    let mut one = follow("/logs/stream/alpha");
    let mut new = follow("/logs/stream/alpha-alias?no-history");
    let mut all = follow("/logs/stream");
    says(&mut one, "\r\n\r\n");
    says(&mut one, "listening");
    says(&mut all, "[alpha] ");
    says(&mut new, "\r\n\r\n");
    assert!(!new.1.contains("listening"), "{}", new.1);
    post(front.server_port("alpha"), "/completion", &json!({"prompt": "hi", "n_predict": 1})).unwrap();
    says(&mut new, "slot");
    // Also of a model whose server starts later.
    front.start("beta");
    says(&mut all, "[beta] ");
}
