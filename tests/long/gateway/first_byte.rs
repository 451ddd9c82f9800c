//! A first byte that takes long: nothing on the way gives up.
//!
//! `HERDSMAN_GATEWAY_FIRST_BYTE=600 cargo test --test long gateway::first_byte -- --nocapture`
//! waits ten minutes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use herdsman::owner::settings::serve::Serve;
use herdsman::serve::server::Tls;

use super::bench::{Fake, Gate, PATIENCE, post, read_until, ready, text};
use super::certificate::{Certificate, NAME, url};

/// How long the server is silent, before its first byte and before its last.
fn silence() -> Duration {
    let seconds = std::env::var("HERDSMAN_GATEWAY_FIRST_BYTE").map_or(3, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

/// `0` is no limit, in settings that have nothing else.
fn without_limits() -> Serve {
    Serve { hold: None, hosts: vec![NAME.to_owned()], ..Serve::default() }
}

/// Answers one request after a long silence, in two parts with another one between.
fn answers_late(fake: Fake) {
    let (mut server, _) = fake.request();
    read_until(&mut server, "{}");
    thread::sleep(silence());
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok").unwrap();
    thread::sleep(silence());
    server.write_all(b"ok").unwrap();
}

#[test]
fn a_first_byte_and_a_last_one_pass_however_late() {
    let begun = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| over_http1(&Serve::default()));
        scope.spawn(|| over_http1(&without_limits()));
        scope.spawn(over_http2);
    });
    let took = begun.elapsed();
    assert!(took >= silence() * 2, "{took:?}");
    println!("answered after {:?} and {:?} of silence", silence(), silence());
}

fn over_http1(settings: &Serve) {
    let fake = Fake::new();
    let gate = Gate::with(settings.clone());
    gate.publish(vec![ready("m", fake.port)]);
    let mut client = TcpStream::connect(("127.0.0.1", gate.port)).unwrap();
    client.set_read_timeout(Some(silence() + PATIENCE)).unwrap();
    client.write_all(post("/completion", "Connection: close\r\n", "{}").as_bytes()).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || answers_late(fake));
        let mut first = [0; 15];
        client.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        assert!(text(&mut client).ends_with("\r\n\r\nokok"));
    });
}

fn over_http2() {
    let (fake, certificate) = (Fake::new(), Certificate::new());
    let gate = Gate::behind(without_limits(), Some(Tls::new(&certificate.tls()).unwrap()));
    gate.publish(vec![ready("m", fake.port)]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || answers_late(fake));
        runtime.block_on(async {
            let client = certificate.client(gate.port);
            let answer = client.post(url(gate.port, "/completion")).body("{}").send().await.unwrap();
            assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
            assert_eq!(answer.text().await.unwrap(), "okok");
        });
    });
}
