//! Requests in flight keep a server, and nothing else does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::support::gguf::TinyGguf;
use crate::support::{World, eventually, get};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

/// The server notices within 1.1 s that its client has left; the rest is for a
/// busy machine. What it works on takes far longer.
const NOTICED: Duration = Duration::from_secs(6);

/// A definition of a model that takes a minute or so to fill its context.
fn slow(world: &World, more: &str) -> String {
    let path = world.path().join("weights/slow.gguf");
    TinyGguf::new("slow ").zero_layers(5).context(16_384).write(&path).unwrap();
    let toml = format!("{more}model = \"../weights/slow.gguf\"\n[parameters]\nctx_size = 8192\nthreads = 1\n");
    let toml = toml + "[update]\ndrain = \"5m\"\n";
    world.write_definition("slow", &toml);
    world.converges();
    toml
}

fn edit(world: &World, toml: &str) {
    world.write_definition("slow", &toml.replace("8192", "16384"));
}

fn request(tokens: u32, streams: bool) -> String {
    let body = json!({
        "prompt": "hi", "n_predict": tokens, "temperature": 0, "ignore_eos": true, "stream": streams
    });
    let body = body.to_string();
    let head =
        "POST /completion HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

/// A request that is being worked on.
fn begin(port: u16, tokens: u32, streams: bool) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request(tokens, streams).as_bytes()).unwrap();
    eventually("the request is in flight", PATIENCE, || {
        get(port, "/slots").is_ok_and(|(_, slots)| slots.to_string().contains("\"is_processing\":true"))
    });
    stream
}

/// How long the instance `pid` still lives.
fn ends(world: &World, pid: i32) -> Duration {
    let begun = Instant::now();
    eventually("the old server is gone", PATIENCE, || world.instances().iter().all(|(lives, _)| *lives != pid));
    begun.elapsed()
}

#[test]
fn a_drain_ends_when_the_client_of_a_plain_request_leaves() {
    let world = World::new();
    let toml = slow(&world, "");
    let pid = world.pid("slow");
    let client = begin(world.port("slow"), 100_000, false);
    edit(&world, &toml);
    let reconcile = world.start(&["reconcile"]);
    eventually("it drains", PATIENCE, || world.status("slow").to_string().contains("draining (1 request in flight)"));
    client.shutdown(Shutdown::Both).unwrap();
    let took = ends(&world, pid);
    assert!(took < NOTICED, "{took:?}");
    drop(reconcile);
}

#[test]
fn a_drain_ends_when_the_client_leaves_though_several_herdsmen_wait() {
    let world = World::new();
    let toml = slow(&world, "");
    let pid = world.pid("slow");
    let watcher = world.watch(&[]);
    watcher.eventually_says("watch");
    let client = begin(world.port("slow"), 100_000, false);
    edit(&world, &toml);
    let herdsmen = [world.start(&["reconcile"]), world.start(&["reconcile"])];
    eventually("it drains", PATIENCE, || world.status("slow").to_string().contains("draining (1 request in flight)"));
    client.shutdown(Shutdown::Both).unwrap();
    let looks_on = || world.status("slow").to_string().contains("draining");
    eventually("herdsman notices the client", NOTICED, || !looks_on());
    let took = ends(&world, pid);
    assert!(took < NOTICED, "{took:?}");
    drop(herdsmen);
    watcher.stop();
}

#[test]
fn a_drain_ends_when_the_client_leaves_during_down_and_on_a_unix_socket() {
    let world = World::new();
    let socket = world.path().join("slow.sock");
    slow(&world, &format!("host = \"{}\"\n", socket.display()));
    let pid = world.pid("slow");
    let mut client = UnixStream::connect(&socket).unwrap();
    client.write_all(request(100_000, false).as_bytes()).unwrap();
    let down = world.start(&["down"]);
    let said = || std::fs::read_to_string(world.path().join("stderr.log")).unwrap();
    eventually("it drains", PATIENCE, || said().contains("draining (1 request in flight)"));
    client.shutdown(Shutdown::Both).unwrap();
    let took = ends(&world, pid);
    assert!(took < NOTICED, "{took:?}");
    drop(down);
}

#[test]
fn the_end_of_a_stream_is_noticed_at_once() {
    let world = World::new();
    let mut toml = slow(&world, "");
    let watcher = world.watch(&["--debounce", "10ms"]);
    let (mut took, mut before) = (Vec::new(), "8192");
    // A busy machine may be late.
    for size in ["9216", "10240", "11264"] {
        let pid = world.pid("slow");
        let mut client = begin(world.port("slow"), 100, true);
        toml = toml.replace(before, size);
        before = size;
        world.write_definition("slow", &toml);
        watcher.eventually_says(&format!("-> {size}"));
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("[DONE]") || answer.contains("\"stop\":true"), "the stream was cut: {answer}");
        took.push(ends(&world, pid));
        if took.iter().any(|took| *took < Duration::from_millis(400)) {
            watcher.stop();
            return;
        }
        eventually("the new one is ready", PATIENCE, || world.status("slow")["status"] == "running");
    }
    panic!("{took:?}");
}

#[test]
fn an_idle_server_does_not_drain() {
    let world = World::new();
    let toml = slow(&world, "");
    // A connection that nobody uses is no request.
    let _idle = TcpStream::connect(("127.0.0.1", world.port("slow"))).unwrap();
    edit(&world, &toml);
    world.converges().does_not_say("draining");
}
