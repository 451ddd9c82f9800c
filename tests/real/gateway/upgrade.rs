//! An upgrade of herdsman under load: no connection is refused, no request fails, no
//! stream is cut.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{World, eventually, free_port};

const PATIENCE: Duration = Duration::from_secs(30);

/// The request for some tokens of a model, as a page of ours sends it.
fn request(model: &str, tokens: u32, streams: bool, connection: &str) -> String {
    let body = json!({
        "model": model, "prompt": "hi", "n_predict": tokens, "temperature": 0, "ignore_eos": true, "stream": streams
    });
    let body = body.to_string();
    format!(
        "POST /completion HTTP/1.1\r\nHost: m.localhost\r\nOrigin: http://m.localhost\r\nConnection: {connection}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A client that keeps its connection for as long as the server lets it.
struct Kept {
    port: u16,
    connection: Option<BufReader<TcpStream>>,
}

impl Kept {
    fn ask(&mut self, model: &str) -> Result<(), String> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                none.insert(BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).map_err(|e| e.to_string())?))
            }
        };
        let sent = connection.get_mut().write_all(request(model, 2, false, "keep-alive").as_bytes());
        sent.map_err(|error| format!("sending: {error}"))?;
        let (mut length, mut closes, mut line) = (None, false, String::new());
        let mut status = String::new();
        loop {
            line.clear();
            let read = connection.read_line(&mut line).map_err(|error| format!("reading: {error}"))?;
            if read == 0 {
                return Err("closed before an answer".to_owned());
            }
            if status.is_empty() {
                status = line.trim().to_owned();
            }
            let lower = line.trim().to_lowercase();
            if lower.is_empty() {
                break;
            }
            closes |= lower == "connection: close";
            length = length.or_else(|| lower.strip_prefix("content-length: ")?.parse::<usize>().ok());
        }
        let mut body = vec![0; length.ok_or("no length")?];
        connection.read_exact(&mut body).map_err(|error| format!("reading the body: {error}"))?;
        if closes {
            self.connection = None;
        }
        if status.contains(" 200 ") { Ok(()) } else { Err(format!("{status}: {}", String::from_utf8_lossy(&body))) }
    }
}

/// Set once the clients may end: when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn ask_once(port: u16, model: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| format!("connecting: {error}"))?;
    stream.write_all(request(model, 2, false, "close").as_bytes()).map_err(|error| format!("sending: {error}"))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| format!("reading: {error}"))?;
    if answer.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(answer) }
}

#[test]
fn no_request_fails_and_no_stream_is_cut_while_herdsman_is_upgraded() {
    let world = World::new();
    world.tiny("m");
    // Its own model: a long answer would leave the others of a small one no context.
    world.weights("long", "long ");
    world.write_definition("long", &World::tiny_toml("long").replace("512", "32768"));
    world.write_definition("cold", &format!("state = \"on_demand\"\n{}", World::tiny_toml("cold")));
    world.weights("cold", "cold ");
    let port = free_port();
    let mut watcher = world.watch(&["--resync=1h", &format!("--listen=127.0.0.1:{port}")]);
    watcher.eventually_says("m is ready");
    watcher.eventually_says("long is ready");
    let (asked, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    // A stream that is longer than the handover.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request("long", 20_000, true, "close").as_bytes()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).unwrap();
    assert!(first.contains(" 200 "), "{first}");
    let problems = std::thread::scope(|scope| {
        // The clients end even if the test fails.
        let over = Over(&is_over);
        let ask = |mut one: Box<dyn FnMut() -> Result<(), String> + Send>| {
            let (asked, is_over) = (&asked, &is_over);
            move || {
                let mut problems = Vec::new();
                while !is_over.load(Relaxed) {
                    problems.extend(one().err());
                    asked.fetch_add(1, Relaxed);
                }
                problems
            }
        };
        let mut kept = Kept { port, connection: None };
        let clients = [
            scope.spawn(ask(Box::new(move || kept.ask("m")))),
            scope.spawn(ask(Box::new(move || ask_once(port, "m")))),
        ];
        for _ in 0..2 {
            let before = asked.load(Relaxed);
            eventually("clients ask", PATIENCE, || asked.load(Relaxed) > before + 20);
            let old = watcher_of(&world);
            rustix::process::kill_process(rustix::process::Pid::from_raw(old).unwrap(), Signal::USR2).unwrap();
            // One that waits while it is handed over.
            let waiting = scope.spawn(move || ask_once(port, "cold"));
            eventually("another took over", PATIENCE, || watcher_of(&world) != old);
            watcher.eventually_says(&format!("took over from pid {old}"));
            assert_eq!(waiting.join().unwrap(), Ok(()));
        }
        let before = asked.load(Relaxed);
        eventually("clients ask", PATIENCE, || asked.load(Relaxed) > before + 20);
        drop(over);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(problems, Vec::<String>::new(), "of {asked:?}");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the stream was cut: …{}", &rest[rest.len().saturating_sub(300)..]);
    // The first one has answered its last request.
    assert_eq!(watcher.ended(Instant::now()).code, Some(0));
}

/// The watcher of the state directory, by its own note.
fn watcher_of(world: &World) -> i32 {
    let note = std::fs::read(world.state_dir().join("watch.lock")).unwrap();
    let note: Option<serde_json::Value> = serde_json::from_slice(&note).ok();
    note.and_then(|note| note["pid"].as_i64()).and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0)
}
