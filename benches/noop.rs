//! Cost of a pass with nothing to do, beside a program that only reads the same
//! files: `cargo bench --bench noop [-- 10 100 1000]`.
//!
//! Measures whole processes with a warm cache, one and the other in turn, median of
//! 11. Every definition says `stopped`, so that the numbers are those of herdsman
//! and not of servers. Prints a Markdown table.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod measure;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;

use measure::{floor, floor_argument, median, peak_memory, time, usual_definition};
use support::World;

const ROUNDS: usize = 11;

fn main() {
    if let Some(dir) = floor_argument() {
        std::hint::black_box(read_all(&dir));
        return;
    }
    // cargo passes `--bench`; numbers are ours.
    let asked: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![10, 100, 1_000, 10_000] } else { asked };
    println!("| definitions | no-op reconcile | reading the files | ratio | peak memory |");
    println!("|---:|---:|---:|---:|---:|");
    for size in sizes {
        println!("{}", row(size));
    }
}

fn row(size: usize) -> String {
    let world = World::new();
    world.weights("tiny", "tiny ");
    for number in 0..size {
        world.write_definition(&format!("model-{number:05}"), &usual_definition(number));
    }
    let reconcile = || {
        let mut command = world.command();
        command.arg("reconcile");
        command
    };
    time(&mut reconcile());
    let second = reconcile().output().unwrap();
    let said = String::from_utf8_lossy(&second.stdout);
    assert!(second.status.success() && said.contains("No changes"), "a second pass had something to do:\n{said}");

    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        least.push(time(&mut floor(&world.models_dir())));
        ours.push(time(&mut reconcile()));
    }
    let (ours, least) = (median(ours), median(least));
    let memory = peak_memory(&mut reconcile()) / 1024;
    format!("| {size} | {ours:.1} ms | {least:.1} ms | {:.1} | {memory} MiB |", ours / least)
}

/// The floor: lists the directory and reads every file. Returns the bytes read.
fn read_all(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap().len()).sum()
}
