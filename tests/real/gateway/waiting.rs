//! Requests that wait: for their model, and for its first byte.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use herdsman::owner::settings::serve::Serve;
use herdsman::serve::gateway::Standing;

use super::bench::{Fake, Gate, post, read_until, ready, route, text};

#[test]
fn a_request_waits_for_its_model_and_no_longer_than_hold() {
    let gate = Gate::with(Serve { hold: Some(Duration::from_millis(300)), ..Serve::default() });
    gate.publish(vec![route("m", Standing::OnDemand)]);
    let since = Instant::now();
    let answer = gate.post("/completion", r#"{"model": "m"}"#);
    assert!(answer.starts_with("HTTP/1.1 504 ") && answer.contains("retry-after"), "{answer}");
    assert!(since.elapsed() >= Duration::from_millis(300));
    let fake = Fake::new();
    let mut client = gate.connect();
    client.write_all(post("/completion", "", r#"{"model": "m"}"#).as_bytes()).unwrap();
    gate.publish(vec![ready("m", fake.port)]);
    fake.request();
}

#[test]
fn more_requests_than_may_wait_are_refused() {
    let gate = Gate::with(Serve { max_waiting: 1, ..Serve::default() });
    gate.publish(vec![route("m", Standing::Coming)]);
    let mut first = gate.connect();
    first.write_all(post("/completion", "", r#"{"model": "m"}"#).as_bytes()).unwrap();
    let waiting =
        || gate.gateway.demand(herdsman::model::Timestamp(0)).models.values().any(|traffic| traffic.waiting == 1);
    super::bench::eventually("one waits", super::bench::PATIENCE, waiting);
    let answer = gate.post("/completion", r#"{"model": "m"}"#);
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 1\r\n"), "{answer}");
}

#[test]
fn a_first_byte_may_take_longer_than_hold() {
    let fake = Fake::new();
    let gate = Gate::with(Serve { hold: Some(Duration::from_millis(100)), ..Serve::default() });
    gate.publish(vec![ready("m", fake.port)]);
    let mut client = gate.connect();
    client.write_all(post("/completion", "", "{}").as_bytes()).unwrap();
    let (mut server, _) = fake.request();
    std::thread::sleep(Duration::from_secs(3));
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok").unwrap();
    read_until(&mut client, "ok");
    std::thread::sleep(Duration::from_secs(3));
    server.write_all(b"ok").unwrap();
    read_until(&mut client, "ok");
}

fn commented() -> Gate {
    Gate::with(Serve { keep_alive_comments: Some(Duration::from_millis(50)), ..Serve::default() })
}

#[test]
fn an_event_stream_that_waits_gets_comments_and_then_its_answer() {
    let (gate, fake) = (commented(), Fake::new());
    gate.publish(vec![route("m", Standing::Coming)]);
    let mut client = gate.connect();
    client
        .write_all(post("/completion", "Connection: close\r\n", r#"{"model": "m", "stream": true}"#).as_bytes())
        .unwrap();
    let head = read_until(&mut client, ": waiting\n\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("content-type: text/event-stream\r\n"), "{head}");
    read_until(&mut client, ": waiting\n\n\r\n");
    gate.publish(vec![ready("m", fake.port)]);
    let (mut server, _) = fake.request();
    // The server is asked, and computes: the client still gets comments.
    read_until(&mut client, ": waiting\n\n\r\n");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    server.write_all(format!("{head}9\r\ndata: a\n\n\r\n0\r\n\r\n").as_bytes()).unwrap();
    let rest = text(&mut client);
    assert!(rest.ends_with("9\r\ndata: a\n\n\r\n0\r\n\r\n"), "{rest}");
}

#[test]
fn errors_come_in_a_stream_that_has_begun() {
    let gate = commented();
    gate.publish(vec![route("m", Standing::Coming)]);
    let mut client = gate.connect();
    client
        .write_all(post("/completion", "Connection: close\r\n", r#"{"model": "m", "stream": true}"#).as_bytes())
        .unwrap();
    read_until(&mut client, ": waiting\n\n\r\n");
    gate.publish(vec![route("m", Standing::Unavailable("no memory".into()))]);
    let rest = text(&mut client);
    assert!(rest.contains("data: {\"error\":{") && rest.contains("no memory") && !rest.contains("[DONE]"), "{rest}");
}

#[test]
fn who_expects_no_event_stream_gets_no_comments() {
    let gate = commented();
    gate.publish(vec![route("m", Standing::Coming)]);
    let mut client = gate.connect();
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    client.write_all(post("/completion", "", r#"{"model": "m"}"#).as_bytes()).unwrap();
    assert!(client.read(&mut [0; 1]).is_err());
}
