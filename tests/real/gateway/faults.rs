//! Servers that die, before and after the first byte of their answer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use herdsman::serve::gateway::record::End;
use herdsman::serve::gateway::{Route, Standing};

use super::bench::{Fake, Gate, PATIENCE, Server, eventually, post, read_until, ready, route, text};
use crate::support::gguf::TinyGguf;

fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

/// Publishes `routes` in a moment, as a pass would.
fn later(gate: &Gate, routes: Vec<Route>) {
    let gateway = gate.gateway.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        gateway.publish(herdsman::serve::gateway::Routes::new(Instant::now(), routes));
    });
}

#[test]
fn a_request_is_answered_by_the_successor_of_a_server_that_dies_before_its_first_byte() {
    for is_reset in [false, true] {
        let (dying, next) = (Fake::new(), Fake::new());
        let gate = Gate::to(dying.port);
        let mut client = gate.connect();
        client.write_all(post("/completion", "", r#"{"model": "m"}"#).as_bytes()).unwrap();
        let (mut server, _) = dying.request();
        read_until(&mut server, "}");
        if is_reset {
            reset(&server);
        }
        drop(server);
        later(&gate, vec![ready("m", next.port)]);
        let (mut server, _) = next.request();
        assert_eq!(read_until(&mut server, "}"), r#"{"model": "m"}"#);
        assert!(dying.is_left_alone(), "a dead server is asked again");
        server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        read_until(&mut client, "ok");
        eventually("it is over", PATIENCE, || gate.finished.lock().unwrap().len() == 1);
        let finished = gate.finished.lock().unwrap();
        let one = &finished[0];
        assert_eq!((one.status, one.retries, one.end, one.bytes), (Some(200), 1, End::Complete, 2));
        assert!(one.waited > Duration::from_millis(50) && one.first_byte.unwrap() >= one.waited, "{one:?}");
    }
}

#[test]
fn a_request_is_answered_by_the_successor_of_a_server_that_is_not_there() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let next = Fake::new();
    let gate = Gate::to(free);
    let mut client = gate.connect();
    client.write_all(post("/completion", "", "{}").as_bytes()).unwrap();
    later(&gate, vec![ready("m", next.port)]);
    let (mut server, _) = next.request();
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    read_until(&mut client, "ok");
}

#[test]
fn a_request_is_sent_to_three_servers_at_most() {
    let servers: Vec<Fake> = (0..3).map(|_| Fake::new()).collect();
    let gate = Gate::to(servers[0].port);
    let mut client = gate.connect();
    client.write_all(post("/completion", "Connection: close\r\n", "{}").as_bytes()).unwrap();
    for (at, fake) in servers.iter().enumerate() {
        drop(fake.request());
        if let Some(next) = servers.get(at + 1) {
            later(&gate, vec![ready("m", next.port)]);
        }
    }
    let answer = text(&mut client);
    assert!(answer.starts_with("HTTP/1.1 502 ") && answer.contains(r#""code":"upstream_failed""#), "{answer}");
}

#[test]
fn an_answer_that_breaks_off_looks_broken() {
    let cases = [
        ("Content-Type: text/plain\r\nContent-Length: 9\r\n\r\nab", "ab"),
        ("Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "ab\r\n"),
        // In the middle of an event no other one can begin.
        ("Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: ab\r\n", "data: ab\r\n"),
    ];
    for (head, end) in cases {
        let fake = Fake::new();
        let gate = Gate::to(fake.port);
        let mut client = gate.connect();
        client.write_all(post("/completion", "", "{}").as_bytes()).unwrap();
        let (mut server, _) = fake.request();
        server.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).unwrap();
        let mut answer = read_until(&mut client, end);
        drop(server);
        answer += &text(&mut client);
        assert!(answer.ends_with(end), "{answer}");
        eventually("it is over", PATIENCE, || gate.finished.lock().unwrap().len() == 1);
        assert_eq!(gate.finished.lock().unwrap()[0].end, End::Broken);
    }
}

#[test]
fn an_event_stream_that_breaks_off_ends_with_an_error_event() {
    for (path, wanted) in
        [("/v1/completions", "data: {\"error\":"), ("/v1/messages", "event: error\ndata: {\"error\":{\"message\":")]
    {
        let fake = Fake::new();
        let gate = Gate::to(fake.port);
        let mut client = gate.connect();
        client.write_all(post(path, "", "{}").as_bytes()).unwrap();
        let (mut server, _) = fake.request();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        server.write_all(format!("{head}a\r\ndata: ab\n\n\r\n").as_bytes()).unwrap();
        read_until(&mut client, "data: ab\n\n\r\n");
        drop(server);
        let rest = text(&mut client);
        assert!(rest.contains(wanted) && rest.ends_with("}\n\n\r\n"), "{rest}");
        assert!(!rest.contains("[DONE]"), "{rest}");
    }
}

#[test]
fn a_real_server_that_is_killed_breaks_its_streams() {
    let mut server = Server::start(&TinyGguf::new("hello "), &["-c", "4096"]);
    let gate = Gate::to(server.port);
    let mut client = gate.connect();
    let body = r#"{"model": "m", "prompt": "x", "max_tokens": 100000, "ignore_eos": true, "stream": true}"#;
    client.write_all(post("/v1/completions", "", body).as_bytes()).unwrap();
    read_until(&mut client, "data: ");
    server.kill();
    let rest = text(&mut client);
    assert!(!rest.ends_with("\r\n0\r\n\r\n") && !rest.contains("[DONE]"), "{rest}");
}

#[test]
fn a_stuck_model_and_an_unknown_one_say_why() {
    let gate = Gate::new();
    gate.publish(vec![
        route("coder-14b", Standing::Unavailable("it crashed 5 times; see `herdsman logs`".into())),
        route("chat", Standing::Coming),
    ]);
    let answer = gate.post("/v1/completions", r#"{"model": "coder-14b"}"#);
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 10\r\n"), "{answer}");
    assert!(answer.contains("it crashed 5 times"), "{answer}");
    let answer = gate.post("/v1/completions", r#"{"model": "coder-14"}"#);
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("did you mean coder-14b?"), "{answer}");
    assert!(answer.contains(r#""code":"model_not_found""#), "{answer}");
    let answer = gate.post("/v1/messages", r#"{"model": "x"}"#);
    assert!(answer.contains(r#""type":"not_found_error"},"type":"error"}"#), "{answer}");
    let answer = gate.post("/v1/completions", "{}");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("default_model"), "{answer}");
}

#[test]
fn a_large_body_is_sent_again_whole() {
    let body = format!(r#"{{"prompt": "{}", "model": "m"}}"#, "0123456789abcdef".repeat(1 << 20));
    let (dying, next) = (Fake::new(), Fake::new());
    let gate = Gate::to(dying.port);
    let mut client = gate.connect();
    let request = post("/completion", "", &body);
    let sending = std::thread::spawn(move || {
        client.write_all(request.as_bytes()).unwrap();
        client
    });
    let (mut server, _) = dying.request();
    let mut part = vec![0; 1 << 20];
    server.read_exact(&mut part).unwrap();
    drop(server);
    later(&gate, vec![ready("m", next.port)]);
    let (mut server, head) = next.request();
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    let mut received = vec![0; body.len()];
    server.read_exact(&mut received).unwrap();
    assert!(received == body.as_bytes(), "other bytes");
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    read_until(&mut sending.join().unwrap(), "ok");
}

#[test]
fn a_server_may_answer_before_it_has_read_the_request() {
    let fake = Fake::new();
    let gate = Gate::to(fake.port);
    let mut client = gate.connect();
    client.write_all(b"POST /upstream/m/x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc").unwrap();
    let (mut server, _) = fake.request();
    server.write_all(b"HTTP/1.1 415 Unsupported Media Type\r\nContent-Length: 2\r\n\r\nno").unwrap();
    assert!(read_until(&mut client, "no").starts_with("HTTP/1.1 415 "));
    read_until(&mut server, "abc");
    assert_eq!(text(&mut server), "", "the connection is not used again");
}
