#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use super::*;
use crate::owner::settings::serve::Serve;
use crate::serve::gateway::naming::Spool;
use crate::serve::gateway::routes::{About, Route, Routes, Standing};

/// Serves no model, for `most` clients at once.
fn serving(most: usize) -> (Serving, SocketAddr) {
    serving_at(most, Vec::new())
}

/// … and at these addresses besides.
fn serving_at(most: usize, more: Vec<Listener>) -> (Serving, SocketAddr) {
    let gateway = Gateway::new(Serve { max_body: Some(1_000), ..Serve::default() }, || {});
    gateway.publish(Routes::new(Instant::now(), Vec::new()));
    serving_by(gateway, most, more)
}

fn serving_by(gateway: Gateway, most: usize, more: Vec<Listener>) -> (Serving, SocketAddr) {
    let listener = bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.address().unwrap().parse().unwrap();
    let app = App { gateway, api: None, observer: None, spool: Spool::default() };
    (serve_at_most(most, app, more.into_iter().chain([listener]).collect(), None).unwrap(), address)
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Everything until the server closes the connection.
fn read(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_client_that_writes_everything_before_it_reads_gets_its_413() {
    let (_serving, address) = serving(10);
    let body = vec![b'x'; 32 << 20];
    let head = format!("POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut client = connect(address);
    client.write_all(head.as_bytes()).unwrap();
    client.write_all(&body).unwrap();
    let answer = read(&mut client);
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("request_too_large"), "{answer}");
    // One that waits for leave has nothing more to send.
    let mut client = connect(address);
    client.write_all(head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    assert!(read(&mut client).starts_with("HTTP/1.1 413 "));
}

/// Asks, on a connection that stays open.
fn ask(client: &mut impl Write) {
    client.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
}

fn answered(client: &mut impl Read) -> bool {
    client.read(&mut [0; 1024]).is_ok_and(|length| length > 0)
}

#[test]
fn clients_beyond_the_most_wait_until_one_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name| dir.path().join(name);
    let unix = Listener::Unix(UnixListener::bind(path("unix")).unwrap());
    let hall = Listener::Hall(UnixListener::bind(path("hall")).unwrap());
    let (_serving, address) = serving_at(2, vec![unix, hall]);
    let mut clients = [connect(address), connect(address), connect(address)];
    clients.iter_mut().for_each(ask);
    let [first, second, third] = &mut clients;
    assert!(answered(first) && answered(second));
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(!answered(third), "two others are connected");
    for free in ["unix", "hall", "hall"] {
        let mut client = UnixStream::connect(path(free)).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        ask(&mut client);
        assert!(answered(&mut client), "{free}: a place of its own, or none needed");
    }
    first.shutdown(std::net::Shutdown::Both).unwrap();
    third.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(answered(third));
}

#[test]
fn a_third_of_the_descriptors_is_for_clients() {
    let most = [0, 256, 1024, 20_000, u64::MAX].map(most_connections);
    assert_eq!(most, [16, 42, 298, 6_624, 10_000]);
}

#[test]
fn a_body_that_is_not_json_is_called_that() {
    let (_serving, address) = serving(2);
    let mut client = connect(address);
    let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 8\r\n\r\n";
    client.write_all(format!("{head}{{\"a\": 1,").as_bytes()).unwrap();
    let answer = read(&mut client);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(answer.contains("the request body is not valid JSON: EOF while parsing"), "{answer}");
}

/// Asks for the events of models, on a connection that stays open.
fn ask_for_events(client: &mut TcpStream) {
    client.write_all(b"GET /models/sse HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    read_until(client, ": events follow\n\n");
}

fn read_until(client: &mut TcpStream, end: &str) {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(end) {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        seen.extend(byte);
    }
}

#[test]
fn a_request_after_a_stream_of_events_gets_its_late_answer_from_a_server_that_hands_over() {
    let hold = STALLED + Duration::from_secs(1);
    let gateway = Gateway::new(Serve { hold: Some(hold), ..Serve::default() }, || {});
    let (standing, about) = (Standing::Coming, About::default());
    let model = "m".parse().unwrap();
    let route = Route { model, aliases: Vec::new(), listed: true, on_demand: false, standing, about };
    gateway.publish(Routes::new(Instant::now(), vec![route]));
    let (serving, address) = serving_by(gateway, 2, Vec::new());
    let mut client = connect(address);
    ask_for_events(&mut client);
    let over = std::thread::spawn(|| serving.hand_over(|| false));
    read_until(&mut client, "\r\n0\r\n\r\n");
    let body = r#"{"model": "m"}"#;
    let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: ";
    client.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let answer = read(&mut client);
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    over.join().unwrap();
}

#[test]
fn a_stream_of_events_that_the_successor_answers_keeps_no_server_alive() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hall");
    let (_successor, _) = serving_at(2, vec![Listener::Hall(UnixListener::bind(&path).unwrap())]);
    let (serving, address) = serving(2);
    let mut client = connect(address);
    ask(&mut client);
    assert!(answered(&mut client));
    serving.gateway.hand_over(path.to_str().unwrap());
    let (has_ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        serving.hand_over(|| false);
        has_ended.send(()).unwrap();
    });
    ask_for_events(&mut client);
    assert_eq!(end.recv_timeout(Duration::from_secs(20)), Ok(()));
}
