//! Time from nothing to twenty running models, beside a program that only starts
//! the same twenty servers: `cargo bench --bench converge`.
//!
//! Measures whole processes, one and the other in turn, median of 10. The floor gets
//! herdsman's own command lines and environments, checks each by a dry run
//! (`--version`), starts all at once and polls `/health` until each says 200.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod measure;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use measure::bare::{Server, until_ready};
use measure::{floor, floor_argument, median, time};
use support::World;

const MODELS: usize = 20;
const ROUNDS: usize = 10;

fn main() {
    if let Some(servers) = floor_argument() {
        start_all(&servers);
        return;
    }
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (reconcile, bare) = round();
        ours.push(reconcile);
        least.push(bare);
    }
    let (ours, least) = (median(ours), median(least));
    println!("| models | reconcile --parallel {MODELS} | starting them | ratio |");
    println!("|---:|---:|---:|---:|");
    println!("| {MODELS} | {ours:.0} ms | {least:.0} ms | {:.2} |", ours / least);
}

/// Measures one of each, in milliseconds, and stops every server.
fn round() -> (f64, f64) {
    let world = World::new();
    for number in 0..MODELS {
        world.tiny(&format!("model-{number:02}"));
    }
    let parallel = MODELS.to_string();
    let ours = time(world.command().args(["reconcile", "--parallel", &parallel]));
    let servers: Vec<Server> = world.servers().iter().map(Server::of).collect();
    assert_eq!(servers.len(), MODELS, "reconcile ended with that many servers");
    assert!(world.stop_all());

    let list = world.path().join("servers.json");
    std::fs::write(&list, serde_json::to_vec(&servers).unwrap()).unwrap();
    let least = time(&mut floor(&list));
    (ours, least)
}

/// The floor: one thread per server.
fn start_all(list: &Path) {
    let servers: Vec<Server> = serde_json::from_slice(&std::fs::read(list).unwrap()).unwrap();
    std::thread::scope(|scope| {
        for server in &servers {
            let log = PathBuf::from(format!("{}.{}.log", list.display(), server.port));
            scope.spawn(move || start(server, &log));
        }
    });
}

fn start(server: &Server, log: &Path) {
    let dry_run = server.command().arg("--version").stderr(Stdio::null()).status().unwrap();
    assert!(dry_run.success(), "dry run: {dry_run}");
    // Left to run, as herdsman leaves its own: the benchmark stops it.
    #[expect(clippy::zombie_processes, reason = "it outlives this process")]
    let _server = server.command().stderr(std::fs::File::create(log).unwrap()).spawn().unwrap();
    until_ready(server.port, Duration::from_millis(2));
}
