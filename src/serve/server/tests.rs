#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use super::*;
use crate::owner::settings::serve::Serve;
use crate::serve::gateway::naming::Spool;
use crate::serve::gateway::routes::Routes;

/// Serves no model, for `most` clients at once.
fn serving(most: usize) -> (Serving, SocketAddr) {
    serving_at(most, Vec::new())
}

/// … and at these addresses besides.
fn serving_at(most: usize, more: Vec<Listener>) -> (Serving, SocketAddr) {
    let gateway = Gateway::new(Serve { max_body: Some(1_000), ..Serve::default() }, || {});
    gateway.publish(Routes::new(Instant::now(), Vec::new()));
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
    let most = [0, 256, 1024, 65_536, u64::MAX].map(most_connections);
    assert_eq!(most, [16, 42, 298, 21_802, Semaphore::MAX_PERMITS]);
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
