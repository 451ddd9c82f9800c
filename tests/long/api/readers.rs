//! Readers of the events beside streams of the gateway: they cost the streams little,
//! stalled ones are cut, and the others see every change.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::{Events, PATIENCE, post};
use crate::gateway::http::{self, Connection};
use crate::gateway::served::Served;
use crate::support::{World, eventually};

const STREAMS: usize = 32;
const READERS: usize = 50;

/// Models beside the one that streams, each with a chat template of so many bytes: so a
/// list is more than a system keeps for a reader that takes nothing.
const OTHERS: usize = 40;
const TEMPLATE: usize = 4 << 10;

/// How often a model changes.
const CHANGE: Duration = Duration::from_millis(250);

/// What the readers may add to a wait: these share two processors with everything else,
/// and herdsman is not optimised here.
const NOISE: (u32, Duration) = (6, Duration::from_millis(500));

/// How much memory the readers may take, bytes.
const MEMORY: u64 = 64 << 20;

#[test]
fn streams_go_on_beside_readers_and_stalled_ones_are_cut() {
    let world = World::new();
    world.weights("busy", "busy ");
    world.write_definition(
        "busy",
        &World::tiny_toml("busy").replace("512", "16384").replace("threads = 1", "threads = 1\nparallel = 32"),
    );
    let template = format!("chat_template = \"{}\"\n", "x".repeat(TEMPLATE));
    for number in 0..OTHERS {
        let toml = format!("state = \"stopped\"\n{}{template}", World::tiny_toml("busy"));
        world.write_definition(&format!("other-{number:02}"), &toml);
    }
    let mut served = Served::new(world);
    served.watcher().eventually_says("busy is ready");
    let pid = served.watcher().pid().as_raw_nonzero().get();
    let round = Duration::from_secs(super::seconds().div_ceil(6));
    // The first round warms everything up.
    let _ = streams(&served, round, &[]);
    let (mut alone, mut beside) = (Waits::default(), Waits::default());
    let (memory, mut most) = (resident(pid), 0);
    for _ in 0..2 {
        alone.add(streams(&served, round, &[]));
        let stalled =
            [Stalled::begin(served.port, true), Stalled::begin(served.port, true), Stalled::begin(served.port, false)];
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let readers: Vec<_> = (0..READERS)
                .map(|number| {
                    scope.spawn({
                        let (port, is_over) = (served.port, &is_over);
                        move || read(port, number % 10 == 0, is_over)
                    })
                })
                .collect();
            beside.add(streams(&served, round, &stalled));
            most = most.max(resident(pid));
            is_over.store(true, Relaxed);
            let last = change(served.port, "the last one");
            let seen: Vec<BTreeSet<String>> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
            assert!(seen.iter().all(|seen| seen.contains(&last)), "one has not seen the end");
            let (least, of) =
                (seen.iter().map(BTreeSet::len).min().unwrap(), seen.iter().flatten().collect::<BTreeSet<_>>().len());
            println!("each of {READERS} readers saw at least {least} of {of} changes");
            // What happens within 100 ms is one change.
            assert!(least * 10 >= of * 7, "a reader saw {least} of {of} changes");
        });
    }
    println!(
        "alone: {alone}; beside {READERS} readers and 3 stalled ones: {beside}; memory {} MB, then {} MB",
        memory >> 20,
        most >> 20
    );
    for (what, alone, beside) in
        [("first byte", alone.first(99), beside.first(99)), ("event", alone.between(99), beside.between(99))]
    {
        assert!(beside <= alone * NOISE.0 + NOISE.1, "{what}: {beside:?} for {alone:?}");
    }
    assert!(most <= memory + MEMORY, "{memory} bytes became {most}");
}

/// How long streams wait.
#[derive(Default)]
struct Waits {
    first: Vec<Duration>,
    between: Vec<Duration>,
}

impl Waits {
    fn add(&mut self, other: Self) {
        self.first.extend(other.first);
        self.between.extend(other.between);
    }

    fn first(&self, percent: usize) -> Duration {
        percentile(&self.first, percent)
    }

    fn between(&self, percent: usize) -> Duration {
        percentile(&self.between, percent)
    }
}

impl std::fmt::Display for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, between) = (|p| self.first(p), |p| self.between(p));
        write!(
            f,
            "{} streams, first byte p50 {:.1?}, p99 {:.1?}, event p50 {:.1?}, p99 {:.1?}",
            self.first.len(),
            first(50),
            first(99),
            between(50),
            between(99)
        )
    }
}

fn percentile(of: &[Duration], percent: usize) -> Duration {
    let mut sorted = of.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) * percent / 100]
}

/// Streams for so long while models change, and until those who are stalled are cut.
fn streams(served: &Served, time: Duration, stalled: &[Stalled]) -> Waits {
    let (port, is_over) = (served.port, AtomicBool::new(false));
    thread::scope(|scope| {
        let over = Over(&is_over);
        let clients: Vec<_> = (0..STREAMS).map(|_| scope.spawn(|| client(port, &is_over))).collect();
        let begun = Instant::now();
        for number in 0.. {
            if begun.elapsed() >= time && !stalled.iter().any(|stalled| stalled.is_held(port)) {
                break;
            }
            assert!(begun.elapsed() < time + PATIENCE, "a reader that takes nothing is still connected");
            let next = begun + CHANGE * number;
            thread::sleep(next.saturating_duration_since(Instant::now()));
            change(port, &format!("{number}"));
        }
        drop(over);
        let mut waits = Waits::default();
        clients.into_iter().for_each(|client| waits.add(client.join().unwrap()));
        waits
    })
}

/// Ends threads, also when the test panics: its scope waits for them.
struct Over<'f>(&'f AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Changes a model; returns what its reason is then.
fn change(port: u16, number: &str) -> String {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Relaxed);
    let reason = format!("change {count}: {number}");
    let path = format!("/api/models/other-{:02}/suspend", count % OTHERS);
    let answer = post(port, &path, &json!({"reason": reason}).to_string());
    assert_eq!(answer.status, 202, "{answer:?}");
    reason
}

fn client(port: u16, is_over: &AtomicBool) -> Waits {
    let mut waits = Waits::default();
    while !is_over.load(Relaxed) {
        let body = json!({"model": "busy", "prompt": "hi", "n_predict": 40, "ignore_eos": true, "stream": true});
        let mut connection = Connection::open(port).unwrap();
        let sent = Instant::now();
        connection.send(&http::post("/completion", &body.to_string(), true)).unwrap();
        let mut head = connection.head().unwrap();
        assert_eq!(head.status, 200);
        waits.first.push(head.at - sent);
        let (mut text, mut last) = (String::new(), head.at);
        while connection.next(&mut head, &mut text).unwrap() {
            let now = Instant::now();
            waits.between.push(now - last);
            last = now;
        }
        assert!(text.contains("\"stop\":true"), "a stream was cut off: {text}");
    }
    waits
}

/// Reads events as the page does, or all models each time, until the last change.
/// Returns the reasons that it saw.
fn read(port: u16, by_sse: bool, is_over: &AtomicBool) -> BTreeSet<String> {
    let mut events = if by_sse { Events::by_sse(port, "", None) } else { Events::connect(port, "?changes=true") };
    let mut seen = BTreeSet::new();
    let before = reasons(&events.next_text().unwrap());
    loop {
        let message = events.next_text().expect("a reader that reads is not cut");
        let new = reasons(&message).difference(&before).cloned().collect::<BTreeSet<_>>();
        let is_last = new.iter().any(|reason| reason.ends_with("the last one"));
        seen.extend(new);
        if is_last && is_over.load(Relaxed) {
            return seen;
        }
    }
}

/// The reasons in a message. It is not read as JSON: fifty readers that do so here take
/// the processors from the streams.
fn reasons(message: &str) -> BTreeSet<String> {
    let after = message.split("\"reason\":\"").skip(1);
    after.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

/// A reader that reads nothing, and whose system takes little for it.
struct Stalled(TcpStream);

impl Stalled {
    fn begin(port: u16, by_socket: bool) -> Self {
        use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
        let socket: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
        connect(&socket, &std::net::SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        let mut stream = TcpStream::from(socket);
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
        let more = if by_socket { upgrade } else { "" };
        std::io::Write::write_all(
            &mut stream,
            format!("GET /api/events HTTP/1.1\r\nHost: localhost\r\n{more}\r\n").as_bytes(),
        )
        .unwrap();
        let stalled = Self(stream);
        eventually("it is connected", PATIENCE, || stalled.is_held(port));
        stalled
    }

    /// Whether a process has the other end of the connection open: the kernel goes on
    /// with a closed one for as long as something is left to send.
    fn is_held(&self, port: u16) -> bool {
        let ends = [port, self.0.local_addr().unwrap().port()].map(|port| format!("0100007F:{port:04X}"));
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines.any(|line| line[1..3] == ends && line[9] != "0")
    }
}

/// The resident memory of a process, bytes.
fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
