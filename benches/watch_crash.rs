//! Time from `kill -9` of a server that had run for a while until its successor is
//! ready, beside the bare start of the same command line in the same environment:
//! `cargo bench --bench watch_crash [-- 30]`.
//!
//! Measures one and the other in turn, each round in its own world, because the next
//! crash would wait for longer. "Ready" is the first 200 of `/health`, asked
//! every millisecond from outside. Prints a Markdown table.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod measure;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use measure::bare::{Server, until_ready};
use measure::clock::{Ending, monotonic, ms};
use measure::watcher::Watcher;
use measure::{asked_for, median, p99};
use rustix::process::Signal;
use support::{Process, World, eventually};

const MILLISECOND: Duration = Duration::from_millis(1);

/// After a start a second ago, herdsman restarts the first crash at once.
const A_WHILE: Duration = Duration::from_secs(2);

fn main() {
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for _ in 0..asked_for(30) {
        let (successor, bare) = round();
        ours.push(successor);
        least.push(bare);
    }
    println!("| of {} | median | p99 |", ours.len());
    println!("|---|---:|---:|");
    let differences: Vec<f64> = ours.iter().zip(&least).map(|(ours, least)| ours - least).collect();
    let rows = [
        ("from kill -9 to the successor ready", ours),
        ("bare start to ready", least),
        ("difference (aim: 20 ms)", differences),
    ];
    for (what, times) in rows {
        println!("| {what} | {:.1} ms | {:.1} ms |", median(times.clone()), p99(times));
    }
}

/// Measures one of each, in milliseconds, and stops every server.
fn round() -> (f64, f64) {
    let world = World::new();
    world.tiny("crashes");
    let mut watcher = Watcher::start(&world, &[]);
    eventually("a server", Duration::from_secs(60), || world.servers().len() == 1);
    let since = Instant::now();
    let server = Server::of(&running(&world));
    until_ready(server.port, MILLISECOND);
    std::thread::sleep(A_WHILE.saturating_sub(since.elapsed()));
    watcher.rests();

    let old = Ending::of(world.pid("crashes"));
    let before = monotonic();
    let killed = world.signal("crashes", Signal::KILL);
    old.wait();
    until_ready(server.port, MILLISECOND);
    let successor = ms(monotonic() - before);
    assert_ne!(running(&world).pid, killed, "a successor");

    // Nobody may start it again, or take the bare one for its own.
    drop(watcher);
    assert!(world.stop_all());
    (successor, bare(&world, &server))
}

fn running(world: &World) -> Process {
    let mut servers = world.servers();
    assert_eq!(servers.len(), 1, "{servers:?}");
    servers.remove(0)
}

fn bare(world: &World, server: &Server) -> f64 {
    let log = std::fs::File::create(world.path().join("bare.log")).unwrap();
    let before = monotonic();
    let mut child = server.command().stderr(log).spawn().unwrap();
    until_ready(server.port, MILLISECOND);
    let ready = ms(monotonic() - before);
    child.kill().unwrap();
    child.wait().unwrap();
    ready
}
