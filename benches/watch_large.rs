//! Cost of one edit among 10,000 definitions:
//! `cargo bench --bench watch_large [-- 10000]`.
//!
//! An edit of a description, until it is in the database; and an edit of a
//! running server's options, until the dry run of the new command line begins:
//! by then the plan is made. Both less the debounce, with the watcher at rest
//! before, beside a program that lists the directory and asks for the status
//! of every file, twice, to see that two readings agree. Prints a Markdown
//! table.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod measure;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use measure::clock::{monotonic, ms};
use measure::stamps::{self, Stamps};
use measure::watcher::{DEBOUNCE, Watcher};
use measure::{asked_for, median, p99, usual_definition};
use rusqlite::{Connection, OpenFlags};
use support::World;

const RUNNING: usize = 3;
const ROUNDS: usize = 20;

fn main() {
    stamps::serve_if_asked();
    let definitions = asked_for(10_000);
    let world = World::new();
    let stamps = Stamps::new(&world);
    fill(&world, definitions);
    let mut watcher = Watcher::start(&world, &["--llama-server", &stamps.llama_server()]);
    for _ in 0..RUNNING {
        while stamps.next().dry_run {}
    }
    watcher.rests();
    let database = world.state_dir().join("herdsman.db");
    let database = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();

    let (mut recorded, mut planned, mut started, mut looked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        // Files that were just changed are read again; these have rested.
        std::thread::sleep(Duration::from_secs(4));
        watcher.rests();
        looked.push(ms(look_twice(&world.models_dir())));
        recorded.push(ms(describe(&world, &database, definitions / 2, round) - DEBOUNCE));
        watcher.rests();
        let fork_and_exec = stamps.loading();
        let (plan, start) = restart(&world, &stamps, round);
        planned.push(ms(plan - DEBOUNCE - fork_and_exec));
        started.push(ms(start - DEBOUNCE));
    }
    let least = median(looked);
    println!("| {definitions} definitions, {ROUNDS} edits, less the debounce | median | p99 | looking twice | ratio |");
    println!("|---|---:|---:|---:|---:|");
    for (what, times) in [
        ("a description, until it is recorded", recorded),
        ("an option, until it is planned (aim: 100 ms)", planned),
        ("an option, until the new server starts", started),
    ] {
        let middle = median(times.clone());
        println!("| {what} | {middle:.1} ms | {:.1} ms | {least:.1} ms | {:.1} |", p99(times), middle / least);
    }
}

/// `definitions` of them, three of which run.
fn fill(world: &World, definitions: usize) {
    world.weights("tiny", "tiny ");
    for number in RUNNING..definitions {
        world.write_definition(&format!("model-{number:05}"), &usual_definition(number));
    }
    for number in 0..RUNNING {
        world.write_definition(&format!("running-{number}"), &World::tiny_toml("tiny"));
    }
}

/// The floor: lists the directory and stats every file, twice.
fn look_twice(dir: &Path) -> Duration {
    let look = || fs::read_dir(dir).unwrap().map(|entry| fs::metadata(entry.unwrap().path()).unwrap().len()).sum();
    let before = monotonic();
    let sizes: [u64; 2] = [look(), look()];
    assert_eq!(sizes[0], sizes[1]);
    monotonic() - before
}

/// Measures the time from the edit of a description to its record.
fn describe(world: &World, database: &Connection, number: usize, round: usize) -> Duration {
    let (name, new) = (format!("model-{number:05}"), format!("edited {round}"));
    let text = usual_definition(number).replace(&format!("number {number}"), &new);
    let version = || database.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0)).unwrap();
    let recorded = || {
        let sql = "SELECT json_extract(config, '$.description') FROM herdsman_models WHERE name = ?1";
        database.query_row(sql, [&name], |row| row.get::<_, String>(0)).unwrap()
    };
    let mut seen = version();
    let before = rename(world, &name, &text);
    loop {
        std::thread::sleep(Duration::from_micros(200));
        let (now, at) = (version(), monotonic());
        if now != seen && recorded() == new {
            return at - before;
        }
        assert!(at - before < Duration::from_secs(60), "{name} was not recorded");
        seen = now;
    }
}

/// Measures the time from the edit of a running server's options to the dry run,
/// and to the start.
fn restart(world: &World, stamps: &Stamps, round: usize) -> (Duration, Duration) {
    stamps.clear();
    let before = rename(world, "running-1", &format!("{}seed = {round}\n", World::tiny_toml("tiny")));
    let (dry_run, start) = (stamps.next(), stamps.next());
    assert!(dry_run.dry_run && !start.dry_run, "expected a dry run and a start: {dry_run:?} {start:?}");
    (dry_run.at - before, start.at - before)
}

/// Renames the definition into place and returns the time.
fn rename(world: &World, name: &str, text: &str) -> Duration {
    let new = world.path().join("new.toml");
    fs::write(&new, text).unwrap();
    let before = monotonic();
    fs::rename(new, world.models_dir().join(format!("{name}.toml"))).unwrap();
    before
}
