//! Requests by mutation to the whole of herdsman, each over a connection of its own:
//! `HERDSMAN_FUZZ_CASES=100000 HERDSMAN_FUZZ_SEED=1 cargo test --test long gateway::hostile
//! -- --nocapture`.

#[path = "../../../src/hostile/mutate.rs"]
mod mutate;
mod requests;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::served::{self, Served};
use crate::support::World;

/// How many ask at once.
const CLIENTS: usize = 32;

/// The longest request, bytes: larger than a head may be.
const LONGEST: usize = 256 << 10;

/// How long a client listens to a silent gateway before it ends its side.
const QUIET: Duration = Duration::from_millis(50);

/// How long after that the connection may stay open.
const LIMIT: Duration = Duration::from_secs(10);

/// How long a client listens to an answer without an end.
const ENDLESS: Duration = Duration::from_secs(1);

/// How long a client may take for a head, and a bit more.
const HEAD: Duration = Duration::from_secs(85);

/// The most memory that herdsman may have had, kB.
const MEMORY: u64 = 96 << 10;

/// A herdsman with a model that runs, one that starts when it is asked for, and one that
/// hostile requests do not know: they may fill the context that a server's clients share.
fn serve() -> Served {
    let world = World::new();
    std::fs::write(world.settings(), "[serve]\nmax_body = \"1MiB\"\n").unwrap();
    world.tiny("m");
    world.tiny("other");
    world.weights("n", "n ");
    world.write_definition("n", &format!("state = \"on_demand\"\n{}", World::tiny_toml("n")));
    let served = Served::new(world);
    for model in ["m", "other"] {
        served.watcher.as_ref().unwrap().eventually_says(&format!("{model} is ready"));
    }
    served
}

#[test]
fn mutated_requests_get_an_answer_or_a_close_and_harm_nothing() {
    let mut served = serve();
    let (port, begun) = (served.port, Instant::now());
    let seeds: Vec<u64> = mutate::seeds(2_000).collect();
    let is_over = AtomicBool::new(false);
    let (fates, asked) = thread::scope(|scope| {
        let parts = seeds.chunks(seeds.len().div_ceil(CLIENTS));
        let clients: Vec<_> = parts.map(|seeds| scope.spawn(move || fates(port, seeds))).collect();
        // Somebody who means well is served all the time.
        let other = scope.spawn(|| {
            let mut asked = 0;
            while !is_over.load(Relaxed) {
                assert_eq!(served::ask(port, "other"), Ok("other other other ".to_owned()));
                asked += 1;
            }
            asked
        });
        let ended: Vec<_> = clients.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Relaxed);
        let fates: Vec<String> = ended.into_iter().flat_map(|fates| fates.unwrap()).collect();
        (fates, other.join().unwrap())
    });
    let mut counts = BTreeMap::new();
    fates.iter().for_each(|fate| *counts.entry(fate.as_str()).or_insert(0_usize) += 1);
    let peak = peak(served.watcher().pid().as_raw_pid());
    println!(
        "{} requests in {:.0} s, beside {asked} others: {counts:?}; herdsman had at most {} MB",
        fates.len(),
        begun.elapsed().as_secs_f64(),
        peak >> 10
    );
    let log = served.watcher().log();
    assert!(!log.contains("panicked"), "{log}");
    assert!(peak < MEMORY, "{peak} kB");
    // The corpus is no nonsense: some are answered, some refused, some closed.
    for fate in ["200", "400", "404", "closed"].iter().filter(|_| fates.len() >= 1_000) {
        assert!(counts.contains_key(*fate), "none is {fate}: {counts:?}");
    }
    assert_eq!(served.ask("n"), Ok("n n n ".to_owned()));
}

#[test]
fn clients_that_stay_silent_are_closed() {
    let served = serve();
    let begin = |bytes: &str| {
        let mut client = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
        client.write_all(bytes.as_bytes()).unwrap();
        client.set_read_timeout(Some(HEAD)).unwrap();
        client
    };
    let silent = ["", "G", "POST /v1/completions HTTP/1.1\r\nHost: h\r\nX-A: "].map(begin);
    let begun = Instant::now();
    for mut client in silent {
        let (mut bytes, limit) = (Vec::new(), HEAD.saturating_sub(begun.elapsed()).max(QUIET));
        client.set_read_timeout(Some(limit)).unwrap();
        client.read_to_end(&mut bytes).unwrap();
    }
}

/// What becomes of the requests of these seeds.
fn fates(port: u16, seeds: &[u64]) -> Vec<String> {
    let corpus = requests::corpus();
    let of = |&seed: &u64| {
        let mut rng = Rng::with_seed(seed);
        let (base, other) = (rng.choice(&corpus).unwrap(), rng.choice(&corpus).unwrap());
        // A few are as they should be.
        let request = match rng.u8(..16) {
            0 => base.clone(),
            _ => mutate::mutate(&mut rng, base, other, requests::WORDS, LONGEST),
        };
        fate(port, &request).unwrap_or_else(|wrong| {
            let shown = request[..request.len().min(2_000)].escape_ascii();
            panic!("HERDSMAN_FUZZ_SEED={seed} HERDSMAN_FUZZ_CASES=1: {wrong}\n{shown}")
        })
    };
    seeds.iter().map(of).collect()
}

/// The status of the first answer, or `closed`.
fn fate(port: u16, request: &[u8]) -> Result<String, String> {
    let mut client = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
    client.set_read_timeout(Some(QUIET)).unwrap();
    client.set_write_timeout(Some(LIMIT)).unwrap();
    match client.write_all(request) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Err("it is not read".to_owned()),
        // The gateway may close before it has read everything.
        _ => {}
    }
    let (mut answer, mut buffer, mut ended) = (Vec::new(), [0; 4096], None::<Instant>);
    loop {
        match client.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) if error.kind() == ErrorKind::WouldBlock && ended.is_none() => {
                let _closed = client.shutdown(Shutdown::Write);
                ended = Some(Instant::now());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.to_string()),
        }
        let Some(since) = ended.map(|ended| ended.elapsed()) else { continue };
        // The answers to requests that more bytes follow go on until their client leaves.
        if since > ENDLESS && is_stream(&answer) {
            break;
        }
        if since > LIMIT {
            let shown = answer[..answer.len().min(500)].escape_ascii();
            return Err(format!("still open after {LIMIT:?}; it answered {shown}"));
        }
    }
    match answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5)) {
        Some(status) => Ok(String::from_utf8_lossy(status).into_owned()),
        None if answer.is_empty() => Ok("closed".to_owned()),
        None => Err(format!("no HTTP: {}", answer.escape_ascii())),
    }
}

/// Whether an answer is one that may have no end.
fn is_stream(answer: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(answer);
    ["text/event-stream", "text/plain"].iter().any(|kind| answer.contains(&format!("content-type: {kind}")))
}

/// The most memory that a process has had, kB.
fn peak(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
