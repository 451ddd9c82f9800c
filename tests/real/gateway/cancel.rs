//! A client that leaves is gone: from the server's connection within 100 ms.

use std::io::Write;
use std::time::{Duration, Instant};

use herdsman::model::Timestamp;
use herdsman::serve::gateway::Standing;
use herdsman::serve::gateway::record::End;

use super::bench::{Fake, Gate, PATIENCE, Server, closed_within, eventually, get, post, read_until, ready, route};
use crate::support::gguf::TinyGguf;

const SOON: Duration = Duration::from_millis(100);

const PLAIN: &str = r#"{"model": "m", "prompt": "x", "n_predict": -1}"#;
const STREAM: &str = r#"{"model": "m", "prompt": "x", "n_predict": -1, "stream": true}"#;

#[test]
fn a_client_that_leaves_before_the_first_byte_closes_the_servers_connection() {
    let fake = Fake::new();
    let gate = Gate::to(fake.port);
    for body in [PLAIN, STREAM] {
        let mut client = gate.connect();
        client.write_all(post("/completion", "", body).as_bytes()).unwrap();
        let (mut server, _) = fake.request();
        read_until(&mut server, body);
        drop(client);
        let took = closed_within(&mut server);
        assert!(took < SOON, "{took:?}: {body}");
    }
    eventually("both have ended", PATIENCE, || gate.finished.lock().unwrap().len() == 2);
    for one in gate.finished.lock().unwrap().iter() {
        assert_eq!((one.status, one.end, one.model.as_ref().unwrap().as_str()), (None, End::ClientLeft, "m"));
    }
}

#[test]
fn a_client_that_leaves_in_the_middle_closes_the_servers_connection() {
    let fake = Fake::new();
    let gate = Gate::to(fake.port);
    for head in ["Content-Length: 100\r\n\r\nab", "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"] {
        let mut client = gate.connect();
        client.write_all(post("/completion", "", "{}").as_bytes()).unwrap();
        let (mut server, _) = fake.request();
        read_until(&mut server, "{}");
        server.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).unwrap();
        read_until(&mut client, "ab");
        drop(client);
        let took = closed_within(&mut server);
        assert!(took < SOON, "{took:?}: {head}");
    }
}

#[test]
fn a_client_that_leaves_during_its_upload_closes_the_servers_connection() {
    let fake = Fake::new();
    let gate = Gate::to(fake.port);
    let mut client = gate.connect();
    client.write_all(b"POST /upstream/m/x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc").unwrap();
    let (mut server, _) = fake.request();
    read_until(&mut server, "abc");
    drop(client);
    let took = closed_within(&mut server);
    assert!(took < SOON, "{took:?}");
}

#[test]
fn a_client_that_leaves_while_it_waits_is_not_counted_any_more() {
    let gate = Gate::new();
    gate.publish(vec![route("m", Standing::OnDemand)]);
    let mut client = gate.connect();
    client.write_all(post("/completion", "", PLAIN).as_bytes()).unwrap();
    let waiting = || gate.gateway.demand(Timestamp(0)).models.values().map(|traffic| traffic.waiting).sum::<u32>();
    eventually("it waits", PATIENCE, || waiting() == 1);
    drop(client);
    let since = Instant::now();
    eventually("it has left", PATIENCE, || waiting() == 0);
    assert!(since.elapsed() < SOON, "{:?}", since.elapsed());
}

#[test]
fn a_hundred_clients_that_leave_free_their_slots_and_harm_nothing() {
    let server = Server::start(&TinyGguf::new("hello ").zero_layers(1), &["--parallel", "2"]);
    let pid = server.pid();
    let gate = Gate::to(server.port);
    for round in 0..100 {
        let mut client = gate.connect();
        client.write_all(post("/completion", "", if round % 2 == 0 { PLAIN } else { STREAM }).as_bytes()).unwrap();
        if round % 4 == 1 {
            read_until(&mut client, "data: ");
        }
    }
    let since = Instant::now();
    // The server looks for clients of plain requests once a second.
    std::thread::sleep(Duration::from_millis(1300));
    let is_idle = || {
        let (_, slots) = get(server.port, "/slots").unwrap();
        slots.as_array().unwrap().iter().all(|slot| slot["is_processing"] == false)
    };
    while !is_idle() {
        assert!(since.elapsed() < Duration::from_secs(10), "a slot is busy");
        std::thread::sleep(Duration::from_millis(1300));
    }
    let answer = gate.post("/completion", r#"{"model": "m", "prompt": "x", "n_predict": 2}"#);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("hello"), "{answer}");
    assert_eq!(server.pid(), pid);
    assert_eq!(gate.gateway.in_flight(&herdsman::model::InstanceId(format!("m-{}", server.port))), 0);
    gate.publish(vec![ready("m", server.port)]);
}
