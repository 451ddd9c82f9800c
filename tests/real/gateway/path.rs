//! From the client to the server and back.

use std::io::Write;

use super::bench::{Fake, Gate, Server, post, read_until, text};

#[test]
fn forwards_a_completion_and_a_stream() {
    let server = Server::tiny();
    let gate = Gate::to(server.port);
    let answer = gate.post("/v1/completions", r#"{"prompt": "x", "max_tokens": 3, "model": "m"}"#);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("hello"), "{answer}");
    let answer = gate.post("/v1/completions", r#"{"prompt": "x", "max_tokens": 3, "stream": true, "model": "m"}"#);
    assert!(answer.contains("text/event-stream") && answer.contains("data: [DONE]\n\n"), "{answer}");
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
}

#[test]
fn one_connection_carries_many_requests() {
    let fake = Fake::new();
    let gate = Gate::to(fake.port);
    let mut client = gate.connect();
    client.write_all(post("/v1/embeddings", "", "{}").as_bytes()).unwrap();
    let (mut server, head) = fake.request();
    read_until(&mut server, "{}");
    assert!(head.starts_with("POST /v1/embeddings HTTP/1.1\r\n"), "{head}");
    for _ in 0..3 {
        server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        assert!(read_until(&mut client, "\r\n\r\nok").starts_with("HTTP/1.1 200 OK\r\n"));
        client.write_all(post("/v1/embeddings", "", "{}").as_bytes()).unwrap();
        read_until(&mut server, "{}");
    }
    drop(server);
    let (mut server, _) = fake.request();
    server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    read_until(&mut client, "\r\n\r\nok");
    drop(client);
    drop(text(&mut server));
}
