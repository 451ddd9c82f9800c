//! What passes of a request and of an answer, byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::bench::{Fake, Gate, PATIENCE, backend, post, read_until, ready, text, to_backend, with_key};
use herdsman::model::Address;

/// Sends `request`, and returns the head that the server gets.
fn received(request: &str) -> String {
    let fake = Fake::new();
    let gate = Gate::to(fake.port);
    let mut client = gate.connect();
    client.write_all(request.as_bytes()).unwrap();
    fake.request().1.replace(&fake.port.to_string(), "PORT")
}

/// Answers any request with these bytes and the end of the connection, and returns
/// what the client gets.
fn passed(request: &str, answer: &str) -> String {
    let fake = Fake::new();
    let gate = Gate::to(fake.port);
    let mut client = gate.connect();
    client.write_all(request.as_bytes()).unwrap();
    let (mut server, _) = fake.request();
    server.write_all(answer.as_bytes()).unwrap();
    drop(server);
    text(&mut client)
}

#[test]
fn all_headers_pass_but_those_of_a_connection_and_the_clients_key() {
    let head = received(
        "GET /lora-adapters HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nAccept-Encoding: gzip, br\r\nX-A: 2\r\n\
         Connection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=1\r\nTE: trailers\r\n\
         Proxy-Authorization: a\r\nAuthorization: Bearer k\r\nX-Api-Key: k\r\nX-Forwarded-For: 1.2.3.4\r\n\
         User-Agent: \u{fc}\r\n\r\n",
    );
    assert_eq!(
        head,
        "GET /lora-adapters HTTP/1.1\r\nhost: 127.0.0.1:PORT\r\nx-a: 1\r\nx-a: 2\r\naccept-encoding: gzip, br\r\n\
         x-forwarded-for: 1.2.3.4\r\nuser-agent: \u{fc}\r\n\r\n"
    );
}

#[test]
fn paths_and_queries_pass_as_sent() {
    let line = |target: &str| {
        let head = received(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        head.lines().next().unwrap().to_owned()
    };
    for target in ["/a%2Fb", "//a//b/", "/a?b=%2f&c=d+e&&f", "/a/../b", "/%C3%BC?\u{fc}", "/a;b=c", "/a?"] {
        assert_eq!(line(target), format!("GET {target} HTTP/1.1"));
    }
    assert_eq!(line("/upstream/m//a%2Fb?c"), "GET //a%2Fb?c HTTP/1.1");
    assert_eq!(line("/upstream/m/"), "GET / HTTP/1.1");
    assert_eq!(line("http://h/a?b"), "GET /a?b HTTP/1.1");
}

#[test]
fn an_instances_own_key_and_prefix_are_added() {
    let fake = Fake::new();
    let address = Address { host: "127.0.0.1".into(), port: Some(fake.port), prefix: "/pre".into(), tls: false };
    let gate = Gate::new();
    gate.publish(vec![to_backend("m", with_key(backend("i", address), "own"))]);
    let mut client = gate.connect();
    client.write_all(b"GET /lora-adapters HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer client\r\n\r\n").unwrap();
    let head = fake.request().1;
    assert!(head.starts_with("GET /pre/lora-adapters HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer own\r\n") && !head.contains("client"), "{head}");
}

#[test]
fn a_body_has_a_length_or_chunks_and_never_both() {
    let head = received(&post("/completion", "", "{}"));
    assert!(head.contains("content-length: 2\r\n") && !head.contains("transfer-encoding"), "{head}");
    let chunked = "POST /upstream/m/x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    let head = received(chunked);
    assert!(head.contains("transfer-encoding: chunked\r\n") && !head.contains("content-length"), "{head}");
    let head = received("DELETE /v1/x HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
}

#[test]
fn a_client_that_expects_to_be_asked_for_its_body_is_asked() {
    let fake = Fake::new();
    let gate = Gate::to(fake.port);
    let mut client = gate.connect();
    let head = "POST /completion HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
    client.write_all(head.as_bytes()).unwrap();
    assert_eq!(read_until(&mut client, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    client.write_all(b"{}").unwrap();
    let (mut server, head) = fake.request();
    assert!(!head.contains("expect"), "{head}");
    server.write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    assert!(read_until(&mut client, "\r\n\r\n").starts_with("HTTP/1.1 200 OK\r\n"));
}

#[test]
fn headers_of_an_answer_pass_but_those_of_the_connection() {
    let answer = passed(
        "GET /lora-adapters HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 Fine\r\nServer: llama.cpp\r\nSet-Cookie: a\r\nKeep-Alive: timeout=5, max=100\r\n\
         Connection: X-Hop\r\nX-Hop: 1\r\nSet-Cookie: b\r\nDate: then\r\nContent-Length: 2\r\n\r\nok",
    );
    let mut lines: Vec<&str> = answer.lines().collect();
    lines.sort_unstable();
    let wanted = [
        "",
        "HTTP/1.1 200 OK",
        "connection: close",
        "content-length: 2",
        "date: then",
        "ok",
        "server: llama.cpp",
        "set-cookie: a",
        "set-cookie: b",
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn an_answer_without_a_body_has_none() {
    let head = passed(
        "HEAD /lora-adapters HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n",
    );
    assert!(head.contains("content-length: 77\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    for status in ["204 No Content", "304 Not Modified"] {
        let answer = format!("HTTP/1.1 {status}\r\nETag: \"a\"\r\n\r\n");
        let answer = passed("GET /lora-adapters HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", &answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(!answer.contains("content-length") && !answer.contains("transfer-encoding"), "{answer}");
    }
}

#[test]
fn trailers_pass_to_a_client_that_takes_them() {
    let answer = passed(
        "GET /lora-adapters HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
    );
    assert!(answer.ends_with("2\r\nok\r\n0\r\nx-sum: 7\r\n\r\n"), "{answer}");
}

#[test]
fn a_client_of_http_1_0_gets_no_chunks() {
    let answer = passed(
        "GET /lora-adapters HTTP/1.0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
    assert!(answer.ends_with("\r\n\r\nok") && !answer.contains("transfer-encoding"), "{answer}");
}

#[test]
fn an_answer_that_is_not_http_is_a_502() {
    for answer in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"] {
        let answer = passed("GET /lora-adapters HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", answer);
        assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
        assert!(answer.contains(r#""code":"upstream_failed""#) && answer.contains("is not HTTP"), "{answer}");
    }
}

/// What may become of a request that two programs could read differently.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    /// The client gets a 400 (or another 4xx), and the server nothing.
    Refused,
    /// The server gets one request, and nothing after it.
    One,
    /// The server gets the beginning of one request, and then the connection ends.
    CutOff,
}

#[test]
fn smuggled_requests_are_refused_or_harmless() {
    use Fate::{CutOff, One, Refused};
    const SECOND: &str = "GET /stolen HTTP/1.1\r\nHost: h\r\n\r\n";
    let cases: &[(&str, &str, &str, Fate)] = &[
        ("both lengths", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n", One),
        ("both, other order", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "2\r\nab\r\n0\r\n\r\n", One),
        ("two lengths", "Content-Length: 2\r\nContent-Length: 4\r\n", "abcd", Refused),
        ("lengths in a list", "Content-Length: 2, 4\r\n", "abcd", Refused),
        ("a signed length", "Content-Length: +2\r\n", "ab", Refused),
        ("a negative length", "Content-Length: -1\r\n", "ab", Refused),
        ("a length in hexadecimal", "Content-Length: 0x2\r\n", "ab", Refused),
        ("a length that overflows", "Content-Length: 18446744073709551618\r\n", "ab", Refused),
        ("an unknown coding", "Transfer-Encoding: xchunked\r\n", "2\r\nab\r\n0\r\n\r\n", Refused),
        ("chunked is not last", "Transfer-Encoding: chunked, gzip\r\n", "2\r\nab\r\n0\r\n\r\n", Refused),
        (
            "two codings, the last unknown",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
            "0\r\n\r\n",
            Refused,
        ),
        ("a space before the colon", "Transfer-Encoding : chunked\r\n", "0\r\n\r\n", Refused),
        ("a tab before the colon", "Content-Length\t: 2\r\n", "ab", Refused),
        ("a folded line", "X-A: b\r\n Content-Length: 2\r\n", "ab", Refused),
        ("a folded coding", "Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n", Refused),
        ("a NUL in a value", "X-A: b\0c\r\nContent-Length: 2\r\n", "ab", Refused),
        ("a NUL in a name", "X-A\0: b\r\nContent-Length: 2\r\n", "ab", Refused),
        ("a bare CR", "X-A: b\rContent-Length: 2\r\n", "ab", Refused),
        ("a bare LF", "X-A: b\nContent-Length: 2\r\n", "ab", One),
        ("no colon", "X-A\r\nContent-Length: 2\r\n", "ab", Refused),
        ("no name", ": b\r\nContent-Length: 2\r\n", "ab", Refused),
        ("a size that is none", "Transfer-Encoding: chunked\r\n", "0x2\r\nab\r\n0\r\n\r\n", Refused),
        ("a size that overflows", "Transfer-Encoding: chunked\r\n", "10000000000000002\r\nab\r\n0\r\n\r\n", Refused),
        ("a chunk longer than its size", "Transfer-Encoding: chunked\r\n", "2\r\nabc\r\n0\r\n\r\n", CutOff),
        ("a bare LF in a chunk", "Transfer-Encoding: chunked\r\n", "2\nab\n0\n\n", Refused),
        ("an extension", "Transfer-Encoding: chunked\r\n", "2;a=b\r\nab\r\n0\r\n\r\n", One),
        ("Connection names the length", "Connection: content-length\r\nContent-Length: 2\r\n", "ab", One),
        (
            "Connection names the coding",
            "Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n",
            "2\r\nab\r\n0\r\n\r\n",
            One,
        ),
    ];
    for (what, headers, body, fate) in cases {
        let request = format!("POST /v1/completions HTTP/1.1\r\nHost: h\r\n{headers}\r\n{body}{SECOND}");
        assert_eq!(fate_of(&request), *fate, "{what}: {request:?}");
    }
}

/// Returns the connection to the server, or `None` once the client is answered instead.
fn accepted_or_answered(fake: &Fake, client: &TcpStream) -> Option<TcpStream> {
    let began = Instant::now();
    client.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    while began.elapsed() < PATIENCE {
        let server = fake.accept_within(Duration::from_millis(10));
        // One that is reset is an answer, too.
        let is_silent = || client.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        if server.is_some() || !is_silent() {
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            // A connection that came since the last look came before the answer.
            return server.or_else(|| fake.accept_within(Duration::from_millis(10)));
        }
    }
    panic!("neither a connection to the server nor an answer");
}

/// Returns what becomes of a request. The second one, behind it, is never part of it.
fn fate_of(request: &str) -> Fate {
    let fake = Fake::new();
    let gate = Gate::new();
    gate.publish(vec![ready("m", fake.port)]);
    let mut client = gate.connect();
    client.write_all(request.as_bytes()).unwrap();
    let Some(mut server) = accepted_or_answered(&fake, &client) else {
        let answer = text(&mut client);
        assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{answer}");
        return Fate::Refused;
    };
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = read_until(&mut server, "\r\n\r\n");
    assert!(head.starts_with("POST /v1/completions HTTP/1.1\r\n"), "{head}");
    let lengths = head.matches("content-length: 2\r\n").count();
    let chunks = head.matches("transfer-encoding: chunked\r\n").count();
    assert_eq!((lengths + chunks, head.matches("content-length").count()), (1, lengths), "{head}");
    let whole = if lengths == 1 { "ab" } else { "2\r\nab\r\n0\r\n\r\n" };
    let (mut body, mut bytes) = (String::new(), [0; 100]);
    loop {
        let rest = if body == whole { Duration::from_millis(100) } else { PATIENCE };
        server.set_read_timeout(Some(rest)).unwrap();
        match server.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => body.push_str(std::str::from_utf8(&bytes[..read]).unwrap()),
            // Nothing follows.
            Err(_) if body == whole => return Fate::One,
            Err(error) => panic!("{error} after {body:?}"),
        }
    }
    assert!(whole.starts_with(&body) && body != whole, "{body}");
    Fate::CutOff
}

#[test]
fn a_request_needs_one_host() {
    let gate = Gate::to(1);
    let cases = [
        ("HTTP/1.1", "", "400"),
        ("HTTP/1.1", "Host: h\r\nHost: h\r\n", "400"),
        ("HTTP/1.0", "Host: h\r\nHost: h\r\n", "400"),
        ("HTTP/1.1", "Host: h\r\n", "200"),
        ("HTTP/1.0", "", "200"),
    ];
    for (version, hosts, status) in cases {
        let answer = gate.exchange(format!("GET /health {version}\r\n{hosts}Connection: close\r\n\r\n"));
        assert_eq!(answer.split(' ').nth(1), Some(status), "{version} {hosts:?}: {answer}");
    }
}
