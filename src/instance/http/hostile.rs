//! Answers of hostile servers, over a real socket.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::*;
use crate::hostile::{Target as Bounds, peak_of, survives};

/// What a hostile server does with a connection, once it has the request.
type Manner = Arc<dyn Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync>;

/// Serves every connection in that manner, each in a thread of its own, until
/// the client is gone.
fn serve(manner: Manner) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming() {
            let (manner, mut connection) = (Arc::clone(&manner), connection.unwrap());
            thread::spawn(move || {
                if read_request(&mut connection).is_ok() {
                    // An error: the client has heard enough.
                    let _ = manner(&mut connection);
                }
            });
        }
    });
    target(address)
}

fn target(address: SocketAddr) -> Target {
    Target { socket: Socket::Tcp(address), prefix: String::new(), tls: false, key: Some("k".to_owned()) }
}

fn read_request(connection: &mut TcpStream) -> std::io::Result<()> {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    Ok(())
}

/// Waits until the client closes.
fn hold(connection: &mut TcpStream) -> std::io::Result<()> {
    match connection.read(&mut [0]) {
        Ok(0) => Ok(()),
        Ok(_) => Err(ErrorKind::InvalidData.into()),
        Err(error) => Err(error),
    }
}

fn says(text: impl Into<Vec<u8>>) -> Manner {
    let text = text.into();
    Arc::new(move |connection| {
        connection.write_all(&text)?;
        hold(connection)
    })
}

/// `head`, then `piece` without end, with a pause before each.
fn endless(head: &'static str, piece: &'static str, pause: Duration) -> Manner {
    Arc::new(move |connection| {
        connection.write_all(head.as_bytes())?;
        loop {
            thread::sleep(pause);
            connection.write_all(piece.as_bytes())?;
        }
    })
}

fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[test]
fn no_answer_does_harm() {
    let answer = Arc::new(Mutex::new(Vec::new()));
    let given = Arc::clone(&answer);
    let server = serve(Arc::new(move |connection| {
        let answer = given.lock().unwrap().clone();
        connection.write_all(&answer)
    }));
    let words: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"ffffffffffffffff\r\n",
        b"0\r\n\r\n",
        b"Location: /\r\n",
        b"\"is_processing\":true",
        b"\"is_sleeping\":1",
        b"\"role\":\"router\"",
        b"\"model_path\":\"\"",
        b"1e999",
        b"[[",
        b"\\ud800",
    ];
    // hyper takes up to 400 KiB of a head, and copies it once.
    let bounds = Bounds { name: "http", words, cases: 200, memory: 2 << 20, memory_per_byte: 64, ..Bounds::default() };
    let http = Http::new().unwrap();
    survives(bounds, move |bytes| {
        bytes.clone_into(&mut answer.lock().unwrap());
        let begun = Instant::now();
        http.busy(vec![server.clone()]);
        http.served(vec![server.clone()]);
        if let Health::Unanswered(why) = http.health(vec![server.clone()]).remove(0) {
            assert!(why.chars().count() < 500 && !why.chars().any(char::is_control), "{why:?}");
        }
        assert!(begun.elapsed() < 10 * TIMEOUT, "{:?}", begun.elapsed());
    });
}

#[test]
fn whatever_a_server_does_it_is_asked_for_no_longer_than_the_timeout_and_never_counted_as_idle() {
    const SLOWLY: Duration = Duration::from_millis(50);
    let elsewhere = serve(says(ok("[]")));
    let Socket::Tcp(other) = &elsewhere.socket else { panic!("a TCP socket") };
    let deep = |open: &str, close: &str| ok(&[open.repeat(1_000_000), close.repeat(1_000_000)].concat());
    let manners: Vec<(&str, Manner)> = vec![
        ("silence", says("")),
        (
            "a head that does not end",
            endless("HTTP/1.1 200 OK\r\n", "X-Header: 0123456789012345678901234567890123456789\r\n", Duration::ZERO),
        ),
        ("one header that does not end", endless("HTTP/1.1 200 OK\r\nX: ", "0123456789", Duration::ZERO)),
        ("a drip of a head", endless("H", "T", SLOWLY)),
        ("a body that does not end", endless("HTTP/1.1 200 OK\r\n\r\n[", "{\"is_processing\":false},", Duration::ZERO)),
        (
            "chunks that do not end",
            endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n[\r\n", "1\r\n \r\n", Duration::ZERO),
        ),
        ("a drip of a body", endless("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n[", " ", SLOWLY)),
        ("interim answers that do not end", endless("", "HTTP/1.1 100 Continue\r\n\r\n", Duration::ZERO)),
        ("a length too large", says("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n[]")),
        ("a length too small", says("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n[{\"is_processing\":false}]")),
        ("two lengths", says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[] ")),
        (
            "a redirect",
            says(format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{other}/\r\nContent-Length: 0\r\n\r\n")),
        ),
        ("deep arrays", says(deep("[", "]"))),
        ("deep objects", says(deep("{\"a\":", "}"))),
        ("no JSON", says(ok("<html>"))),
        ("another shape", says(ok("{\"is_processing\":false}"))),
        ("slots that say nothing", says(ok("[{}]"))),
        ("slots of another kind", says(ok("[{\"is_processing\":\"no\"}]"))),
        ("bytes of no protocol", says([0, 1, 2, 0xff].repeat(1000))),
    ];
    let http = Http::new().unwrap();
    let targets: Vec<Target> = manners.iter().map(|(_, manner)| serve(Arc::clone(manner))).collect();
    let begun = Instant::now();
    let (busy, peak) = peak_of(|| http.busy(targets.clone()));
    let health = http.health(targets);
    let took = begun.elapsed();
    println!("{took:?}, {} MiB, {busy:?}, {health:?}", peak >> 20);
    for ((what, _), busy) in manners.iter().zip(&busy) {
        assert_eq!(*busy, Busy::Unknown, "{what}");
    }
    // Three questions, however many servers; the rest is for a busy machine.
    assert!(took < 3 * TIMEOUT + Duration::from_secs(60), "{took:?}");
    assert!(peak < manners.len() * (MAX_BODY + (2 << 20)), "{} MiB", peak >> 20);
}

#[test]
fn only_a_server_that_says_so_serves_no_model_or_another() {
    let http = Http::new().unwrap();
    let status = |line: &str| says(format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\n{{}}"));
    let file = |path: &str| Served::File(path.to_owned());
    let cases = [
        (says(ok("{\"role\":\"router\",\"model_path\":\"none\"}")), Served::Nothing),
        (says(ok("{\"model_path\":\"w/a.gguf\",\"is_sleeping\":false}")), file("w/a.gguf")),
        (says(ok("{\"role\":\"model\",\"model_path\":\"a\"}")), file("a")),
        (says(ok("{\"model_path\":\"\"}")), Served::Untold),
        (says(ok("{}")), Served::Untold),
        (says(ok("[]")), Served::Untold),
        (says(ok("{\"role\":[\"router\"]}")), Served::Untold),
        (says(ok("<html>")), Served::Untold),
        (says(ok(&format!("{{\"model_path\":\"{}\"}}", "a".repeat(LONGEST_PATH + 1)))), Served::Untold),
        (status("401 Unauthorized"), Served::Untold),
        (status("404 Not Found"), Served::Untold),
        (status("501 Not Implemented"), Served::Untold),
        (status("503 Service Unavailable"), Served::Unanswered),
        (says(""), Served::Unanswered),
    ];
    let (targets, expected): (Vec<Target>, Vec<Served>) =
        cases.into_iter().map(|(manner, expected)| (serve(manner), expected)).unzip();
    assert_eq!(http.served(targets), expected);
}

#[test]
fn an_answer_made_to_be_large_in_memory_takes_little_of_it() {
    let http = Http::new().unwrap();
    for item in ["[]", "{}", "{\"\":0}", "{\"is_processing\":false}", "{\"is_processing\":false,\"a\":[{\"b\":1}]}"] {
        let body = format!("[{}{item}]", format!("{item},").repeat((MAX_BODY - 100) / (item.len() + 1)));
        let server = serve(says(ok(&body)));
        let (busy, peak) = peak_of(|| http.busy(vec![server]));
        println!("{item}: {busy:?}, {} MiB", peak >> 20);
        assert!(peak < 3 * MAX_BODY, "{item}: {} MiB", peak >> 20);
    }
}
