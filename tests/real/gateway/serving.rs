//! Listening, web sockets, and the end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use herdsman::serve::server::bind;

use super::bench::{Fake, Gate, PATIENCE, closed_within, eventually, post, read_until, text};

const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n";

#[test]
fn a_web_socket_below_upstream_passes_both_ways() {
    let fake = Fake::new();
    let gate = Gate::to(fake.port);
    let mut client = gate.connect();
    client.write_all(format!("GET /upstream/m/ws HTTP/1.1\r\nHost: h\r\n{HANDSHAKE}\r\n").as_bytes()).unwrap();
    let (mut server, head) = fake.request();
    assert!(head.contains("connection: upgrade\r\nupgrade: websocket\r\n"), "{head}");
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst";
    server.write_all(answer.as_bytes()).unwrap();
    let head = read_until(&mut client, "first");
    assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: websocket\r\n"), "{head}");
    for round in 0..3 {
        client.write_all(format!("to {round};").as_bytes()).unwrap();
        assert_eq!(read_until(&mut server, ";"), format!("to {round};"));
        server.write_all(format!("from {round};").as_bytes()).unwrap();
        assert_eq!(read_until(&mut client, ";"), format!("from {round};"));
    }
    drop(client);
    assert!(closed_within(&mut server) < Duration::from_millis(100));
    eventually("it is over", PATIENCE, || gate.finished.lock().unwrap().len() == 1);
}

#[test]
fn a_server_that_declines_a_web_socket_answers_as_usual() {
    let fake = Fake::new();
    let gate = Gate::to(fake.port);
    let mut client = gate.connect();
    client.write_all(format!("GET /upstream/m/ws HTTP/1.1\r\nHost: h\r\n{HANDSHAKE}\r\n").as_bytes()).unwrap();
    let (mut server, _) = fake.request();
    server.write_all(b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno").unwrap();
    assert!(read_until(&mut client, "no").starts_with("HTTP/1.1 404 Not Found\r\n"));
}

#[test]
fn the_api_refuses_web_sockets_at_once() {
    let gate = Gate::to(1);
    let mut client = gate.connect();
    client.write_all(format!("GET /v1/realtime HTTP/1.1\r\nHost: h\r\n{HANDSHAKE}\r\n").as_bytes()).unwrap();
    assert!(read_until(&mut client, "\r\n").starts_with("HTTP/1.1 426 "));
}

#[test]
fn a_page_needs_the_slash_behind_its_models_name() {
    let answer = Gate::to(1).exchange("GET /upstream/m?a=b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 308 ") && answer.contains("location: /upstream/m/?a=b\r\n"), "{answer}");
}

#[test]
fn what_is_in_flight_ends_before_the_gateway_does() {
    let fake = Fake::new();
    let mut gate = Gate::to(fake.port);
    let mut idle = gate.connect();
    let mut client = gate.connect();
    client.write_all(post("/completion", "", "{}").as_bytes()).unwrap();
    let (mut server, _) = fake.request();
    let serving = gate.serving.take().unwrap();
    serving.stop_accepting();
    assert!(closed_within(&mut idle) < Duration::from_millis(500));
    eventually("nothing listens", PATIENCE, || TcpStream::connect(("127.0.0.1", gate.port)).is_err());
    let ending = std::thread::spawn(move || serving.finish(PATIENCE));
    std::thread::sleep(Duration::from_millis(100));
    assert!(!ending.is_finished(), "a request is in flight");
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    assert!(text(&mut client).ends_with("\r\n\r\nok"));
    assert!(ending.join().unwrap());
}

#[test]
fn a_web_socket_goes_on_after_a_handover() {
    let fake = Fake::new();
    let mut gate = Gate::to(fake.port);
    let mut client = gate.connect();
    client.write_all(format!("GET /upstream/m/ws HTTP/1.1\r\nHost: h\r\n{HANDSHAKE}\r\n").as_bytes()).unwrap();
    let (mut server, _) = fake.request();
    let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst";
    server.write_all(answer.as_bytes()).unwrap();
    read_until(&mut client, "first");
    let serving = gate.serving.take().unwrap();
    let leaving = std::thread::spawn(move || serving.hand_over(|| false));
    eventually("nothing listens", PATIENCE, || TcpStream::connect(("127.0.0.1", gate.port)).is_err());
    std::thread::sleep(Duration::from_millis(200));
    client.write_all(b"still;").unwrap();
    assert_eq!(read_until(&mut server, ";"), "still;");
    assert!(!leaving.is_finished());
    drop(client);
    leaving.join().unwrap();
}

#[test]
fn the_gateway_does_not_wait_longer_than_its_limit() {
    let fake = Fake::new();
    let mut gate = Gate::to(fake.port);
    let mut client = gate.connect();
    client.write_all(post("/completion", "", "{}").as_bytes()).unwrap();
    let (mut server, _) = fake.request();
    assert!(!gate.serving.take().unwrap().finish(Duration::from_millis(100)));
    assert!(closed_within(&mut client) < Duration::from_secs(1));
    assert!(closed_within(&mut server) < Duration::from_secs(1));
}

#[test]
fn an_address_that_cannot_be_bound_is_named_with_what_to_do() {
    let bind = |address: &str| bind(&address.parse().unwrap());
    let taken = bind("127.0.0.1:0").unwrap();
    let address = taken.address().unwrap();
    let error = bind(&address).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "cannot listen on {address}: the address is in use; stop the program that listens there, or choose another one"
        )
    );
}

#[test]
fn a_unix_socket_that_was_left_behind_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", directory.path().join("s").display());
    let bind = |address: &str| bind(&address.parse().unwrap());
    let live = bind(&address).unwrap();
    assert!(bind(&address).unwrap_err().to_string().contains("in use"));
    drop(live);
    assert_eq!(bind(&address).unwrap().address().unwrap(), address);
    std::fs::write(directory.path().join("file"), "mine").unwrap();
    let file = format!("unix:{}", directory.path().join("file").display());
    assert!(bind(&file).is_err());
    assert_eq!(std::fs::read(directory.path().join("file")).unwrap(), b"mine");
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let gate = Gate::to(1);
    let mut client = gate.connect();
    // The gateway may close before it has read everything.
    let _ = client.write_all(format!("GET /a HTTP/1.1\r\nX-A: {}\r\n\r\n", "x".repeat(200 << 10)).as_bytes());
    let mut start = [0; 12];
    client.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 431");
}
