//! Streams that outlive their client: they go on, and the page that comes back finds
//! them, whichever model has them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::front::Front;
use crate::support::{get, post};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server that is asked for its slots more often does not notice that a client has
/// left.
const SLOTS: Duration = Duration::from_millis(1200);

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads until the text has arrived.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    read_to(stream, |seen| seen.contains(end))
}

/// Reads until what has arrived is enough.
fn read_to(stream: &mut TcpStream, is_enough: impl Fn(&str) -> bool) -> String {
    let (mut seen, mut bytes) = (String::new(), [0; 1024]);
    while !is_enough(&seen) {
        let read = stream.read(&mut bytes).unwrap();
        assert!(read > 0, "it ended after {seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    seen
}

/// Asks for a long stream, reads its beginning, and leaves.
fn ask_and_leave(port: u16, model: &str, headers: &str) -> String {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": true}).to_string();
    let mut client = connect(port);
    let length = body.len();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    write!(client, "{head}{headers}Content-Length: {length}\r\n\r\n{body}").unwrap();
    read_until(&mut client, &format!("\"content\":\"{model} \""))
}

/// How many slots are busy, asked no more often than a server bears.
fn busy(front: &Front, model: &str) -> usize {
    sleep(SLOTS);
    let (_, slots) = get(front.server_port(model), "/slots").unwrap();
    slots.as_array().unwrap().iter().filter(|slot| slot["is_processing"] == true).count()
}

fn is_idle_within(front: &Front, model: &str, limit: Duration) -> bool {
    let begun = Instant::now();
    while busy(front, model) > 0 {
        if begun.elapsed() > limit {
            return false;
        }
    }
    true
}

fn lookup(port: u16, ids: &[&str]) -> Vec<String> {
    let (status, found) = post(port, "/v1/streams/lookup", &json!({"conversation_ids": ids})).unwrap();
    assert_eq!(status, 200);
    let id = |entry: &Value| entry["conversation_id"].as_str().unwrap().to_owned();
    found.as_array().unwrap().iter().map(id).collect()
}

/// GETs or DELETEs what is kept of a conversation: the beginning of the answer.
fn stream(port: u16, method: &str, id: &str) -> String {
    let mut client = connect(port);
    write!(client, "{method} /v1/stream?conv_id={id}&from=0 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    read_until(&mut client, "\r\n\r\n")
}

#[test]
fn a_conversation_goes_on_without_its_client_and_is_found_again() {
    let front = Front::slow(&["alpha", "beta"]);
    front.start("alpha");
    front.start("beta");
    // A client without a conversation is gone when it leaves.
    ask_and_leave(front.port, "alpha", "");
    assert!(is_idle_within(&front, "alpha", Duration::from_secs(3)), "the request goes on without its client");

    let begun = ask_and_leave(front.port, "beta", "X-Conversation-Id: c%2F1::beta\r\n");
    assert_eq!(busy(&front, "beta"), 1);
    assert_eq!(front.gateway.in_flight(&front.instance("beta")), 0, "only /slots says that it is busy");
    assert_eq!(lookup(front.port, &["other", "c%2F1::beta"]), ["c%2F1::beta"]);
    // It resumes at its byte.
    let mut page = connect(front.port);
    page.write_all(b"GET /v1/stream?conv_id=c%252F1::beta&from=0 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let again = read_until(&mut page, "\"content\":\"beta \"");
    let first = |answer: &str| answer[answer.find("data: ").unwrap()..].split("\n\n").next().unwrap().to_owned();
    assert_eq!(first(&again), first(&begun));
    drop(page);
    assert_eq!(busy(&front, "beta"), 1);

    // The server drains: it takes no request, but still has its conversation.
    front.withdraw("beta");
    assert_eq!(lookup(front.port, &["c%2F1::beta"]), ["c%2F1::beta"]);
    assert!(stream(front.port, "GET", "c%252F1::beta").starts_with("HTTP/1.1 200 "));
    assert!(stream(front.port, "DELETE", "c%252F1::beta").starts_with("HTTP/1.1 204 "));
    assert!(is_idle_within(&front, "beta", Duration::from_secs(3)), "the conversation was not deleted");
}

#[test]
fn a_page_that_comes_back_gets_the_bytes_from_where_it_left() {
    let front = Front::slow(&["alpha", "beta"]);
    front.start("alpha");
    front.start("beta");
    let length =
        |bytes: usize| move |seen: &str| seen.split_once("\r\n\r\n").is_some_and(|(_, body)| body.len() >= bytes);
    let body = |answer: String| answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    // HTTP/1.0 has no chunks between the bytes.
    let mut page = connect(front.port);
    let asked = json!({"model": "beta", "messages": [{"role": "user", "content": "hi"}], "stream": true}).to_string();
    let head = "POST /v1/chat/completions HTTP/1.0\r\nX-Conversation-Id: c\r\nContent-Type: application/json\r\n";
    write!(page, "{head}Content-Length: {}\r\n\r\n{asked}", asked.len()).unwrap();
    let seen = body(read_to(&mut page, length(1000)));
    drop(page);
    // In the middle of an event, and of a stream that goes on.
    for from in [1, 500, seen.len() - 7, seen.len()] {
        let resumed = |from: usize, bytes: usize| {
            let mut page = connect(front.port);
            write!(page, "GET /v1/stream?conv_id=c&from={from} HTTP/1.0\r\n\r\n").unwrap();
            body(read_to(&mut page, length(bytes)))
        };
        let rest = resumed(from, seen.len() - from + 1000);
        let whole = resumed(0, from + rest.len());
        assert!(whole.starts_with(&seen), "{whole}");
        assert_eq!(whole[from..from + rest.len()], rest, "from {from}");
    }
    assert!(stream(front.port, "DELETE", "c").starts_with("HTTP/1.1 204 "));
}

#[test]
fn a_conversation_that_is_unknown_is_asked_for_everywhere_and_starts_nothing() {
    let front = Front::slow(&["alpha", "beta", "cold"]);
    front.start("alpha");
    front.start("beta");
    // Begun before this gateway was there.
    for model in ["alpha", "beta"] {
        ask_and_leave(front.server_port(model), model, &format!("X-Conversation-Id: of-{model}\r\n"));
    }
    assert_eq!(lookup(front.port, &["of-beta", "of-nobody", "of-alpha"]), ["of-beta", "of-alpha"]);
    ask_and_leave(front.server_port("alpha"), "alpha", "X-Conversation-Id: late\r\n");
    assert!(stream(front.port, "GET", "late").starts_with("HTTP/1.1 200 "));
    assert!(stream(front.port, "GET", "of-nobody").starts_with("HTTP/1.1 404 "));
    assert!(stream(front.port, "DELETE", "of-nobody").starts_with("HTTP/1.1 204 "));
    assert_eq!(["alpha", "beta", "cold"].map(|model| front.started(model)), [1, 1, 0]);

    // One whose server is gone is gone, and its model is not started for it.
    front.stop("beta");
    assert!(lookup(front.port, &["of-beta"]).is_empty());
    assert!(stream(front.port, "GET", "of-beta").starts_with("HTTP/1.1 404 "));
    assert!(stream(front.port, "DELETE", "of-beta").starts_with("HTTP/1.1 204 "));
    assert_eq!(front.started("beta"), 1);
}

#[test]
fn polls_start_nothing_and_a_request_does() {
    let front = Front::new(&["alpha"]);
    let refused = [
        ("/props?model=alpha", 503),
        ("/props?model=alpha&autoload=false", 400),
        ("/slots?model=alpha", 503),
        ("/metrics?model=alpha", 503),
        ("/upstream/alpha/props", 503),
        ("/upstream/alpha/sw.js", 503),
    ];
    for (path, status) in refused {
        assert_eq!(get(front.port, path).unwrap().0, status, "{path}");
    }
    for path in ["/health", "/metrics", "/v1/models", "/props", "/running", "/chat/props", "/chat/v1/models"] {
        assert_eq!(get(front.port, path).unwrap().0, 200, "{path}");
    }
    assert_eq!(front.started("alpha"), 0);
    let body = json!({"model": "alpha-alias", "prompt": "hi", "max_tokens": 2});
    let (status, answer) = post(front.port, "/v1/completions", &body).unwrap();
    assert_eq!((status, answer["choices"][0]["text"].as_str()), (200, Some("alpha alpha ")));
    assert_eq!(front.started("alpha"), 1);
    // Now polls are answered by its server.
    assert_eq!(get(front.port, "/props?model=alpha").unwrap().1["total_slots"], 2);
    assert_eq!(get(front.port, "/props").unwrap().1["role"], "router");
}

#[test]
fn a_visit_to_a_models_own_page_starts_it() {
    let front = Front::new(&["alpha"]);
    let mut browser = connect(front.port);
    let request =
        "GET /upstream/alpha/ HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\nAccept-Encoding: gzip\r\n\r\n";
    browser.write_all(request.as_bytes()).unwrap();
    assert!(read_until(&mut browser, "\r\n\r\n").starts_with("HTTP/1.1 200 "));
    assert_eq!(front.started("alpha"), 1);
}
