//! Bodies that are JSON, or were meant to be, as a real server sees them.

use super::bench::{Fake, Gate, Server, post, read_until};
use std::io::Write;

/// A body of so many bytes, and a little more.
fn large(bytes: usize, end: &str) -> String {
    format!(r#"{{"model": "m", "n_predict": 1, "x": "{}", "prompt": "hi"{end}"#, "y".repeat(bytes))
}

#[test]
fn a_body_that_is_not_json_is_the_clients_error_and_says_where() {
    let server = Server::tiny();
    let gate = Gate::to(server.port);
    let cases = [
        (
            r#"{"model": "m", "prompt": "hi", "n_predict": 1"#.to_owned(),
            "EOF while parsing an object at line 1 column 45",
        ),
        ("{\"model\": \"m\",\n \"prompt\": }".to_owned(), "expected value at line 2 column 12"),
        (r#"{"model": "m", "prompt": "hi"} {"#.to_owned(), "trailing characters at line 1 column 32"),
        (large(2 << 20, ""), "EOF while parsing an object at line 1 column 2097206"),
    ];
    for (body, flaw) in cases {
        let answer = gate.post("/completion", &body);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{flaw}: {answer}");
        assert!(answer.contains(&format!("the request body is not valid JSON: {flaw}")), "{flaw}: {answer}");
    }
    let statuses: Vec<_> = gate.finished.lock().unwrap().iter().map(|one| one.status).collect();
    assert_eq!(statuses, [Some(400); 4]);
    // The connections are as good as before.
    let answer = gate.post("/completion", &large(2 << 20, "}"));
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("hello"), "{answer}");
}

#[test]
fn a_servers_own_failure_passes_as_it_is() {
    let fake = Fake::new();
    let gate = Gate::to(fake.port);
    for body in [r#"{"model": "m", "prompt": "hi"}"#, "[1]"] {
        let mut client = gate.connect();
        client.write_all(post("/completion", "", body).as_bytes()).unwrap();
        let (mut server, _) = fake.request();
        read_until(&mut server, body);
        server.write_all(b"HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: 4\r\n\r\nboom").unwrap();
        assert!(read_until(&mut client, "boom").starts_with("HTTP/1.1 500 "), "{body}");
    }
}

#[test]
fn json_that_curl_calls_a_form_may_be_as_large_as_any() {
    let server = Server::tiny();
    let gate = Gate::to(server.port);
    let body = large(2 << 20, "}");
    let ask = |content_type: &str| {
        let length = body.len();
        let head = format!("Host: h\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {length}");
        gate.exchange(format!("POST /completion HTTP/1.1\r\n{head}\r\n\r\n{body}"))
    };
    for content_type in ["application/x-www-form-urlencoded", "Application/X-WWW-Form-urlencoded; charset=utf-8"] {
        let answer = ask(content_type);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("hello"), "{content_type}: {answer}");
    }
}

#[test]
fn a_form_stays_a_form() {
    let fake = Fake::new();
    let gate = Gate::to(fake.port);
    for (path, body, sent) in [
        ("/x?model=m", "a=b&c=d", "application/x-www-form-urlencoded"),
        ("/x?model=m", r#"{"a": 1}"#, "application/json"),
        ("/upstream/m/x", r#"{"a": 1}"#, "application/x-www-form-urlencoded"),
    ] {
        let head = post(path, "", body).replace("application/json", "application/x-www-form-urlencoded");
        let mut client = gate.connect();
        client.write_all(head.as_bytes()).unwrap();
        let (mut server, head) = fake.request();
        assert_eq!(head.matches("content-type: ").count(), 1, "{head}");
        assert!(head.contains(&format!("content-type: {sent}\r\n")), "{head}");
        read_until(&mut server, body);
        server.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").unwrap();
        read_until(&mut client, "ok");
    }
}
