//! Time from the `rename(2)` of an edited definition to the `execve` of the new
//! llama-server, with an idle old one: `cargo bench --bench watch_edit [-- 100]`.
//!
//! A watcher over twenty definitions, as many edits of the one that runs, each
//! with another `seed` so that the new command line needs a dry run. The parts
//! are seen from outside ([`measure::stamps`], pidfds); the floors of the dry
//! run, of an idle server's exit and of fork and exec are measured between the
//! edits. Prints a Markdown table.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod measure;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use measure::bare::{Server, until_ready};
use measure::clock::{Ending, monotonic, ms};
use measure::stamps::{self, Stamps};
use measure::watcher::{DEBOUNCE, Watcher};
use measure::{asked_for, median, p99, usual_definition};
use rustix::process::{Pid, Signal, kill_process};
use support::{World, eventually, free_port};

/// The definitions beside the edited one.
const OTHERS: usize = 19;

/// The times of the steps after the rename of an edit.
struct Edit {
    dry_run: Duration,
    dry_run_ended: Duration,
    old_ended: Duration,
    started: Duration,
}

/// The floor of each step.
struct Floor {
    fork_and_exec: Duration,
    dry_run: Duration,
    exit: Duration,
}

fn main() {
    stamps::serve_if_asked();
    let world = World::new();
    let stamps = Stamps::new(&world);
    world.weights("tiny", "tiny ");
    for number in 0..OTHERS {
        world.write_definition(&format!("other-{number:02}"), &usual_definition(number));
    }
    world.weights("edited", "edited ");
    world.write_definition("edited", &definition(0));
    let mut watcher = Watcher::start(&world, &["--llama-server", &stamps.llama_server()]);
    while stamps.next().dry_run {}

    let (mut edits, mut floors) = (Vec::new(), Vec::new());
    let port = free_port();
    for seed in 1..=asked_for(100) {
        until_ready(serving(&world).port, Duration::from_millis(5));
        floors.push(floor(&world, &stamps, port));
        watcher.rests();
        edits.push(edit(&world, &stamps, seed));
    }
    print(&edits, &floors);
}

fn definition(seed: usize) -> String {
    format!("{}seed = {seed}\n", World::tiny_toml("edited"))
}

/// The one server there is.
fn serving(world: &World) -> Server {
    // While it executes another program, a process has no environment.
    let mut servers = Vec::new();
    eventually("there is one server", Duration::from_secs(10), || {
        servers = world.servers();
        servers.len() == 1
    });
    Server::of(&servers[0])
}

fn edit(world: &World, stamps: &Stamps, seed: usize) -> Edit {
    let old = Ending::of(world.pid("edited"));
    let (new, definition_file) = (world.path().join("new.toml"), world.models_dir().join("edited.toml"));
    fs::write(&new, definition(seed)).unwrap();
    stamps.clear();

    let before = monotonic();
    fs::rename(new, definition_file).unwrap();
    let dry_run = stamps.next();
    let dry_run_ended = Ending::of(dry_run.pid).wait();
    let old_ended = old.wait();
    let started = stamps.next();
    assert!(dry_run.dry_run && !started.dry_run, "expected a dry run and a start: {dry_run:?} {started:?}");
    Edit {
        dry_run: dry_run.at - before,
        dry_run_ended: dry_run_ended - before,
        old_ended: old_ended - before,
        started: started.at - before,
    }
}

fn floor(world: &World, stamps: &Stamps, port: u16) -> Floor {
    let server = serving(world).stranger(port);
    let spawn = |dry_run: bool| {
        let mut command = server.command();
        command.stderr(Stdio::null()).args(dry_run.then_some("--version")).spawn().unwrap()
    };
    let before = monotonic();
    let mut child = spawn(true);
    let dry_run = ended(&mut child) - before;

    let mut child = spawn(false);
    until_ready(port, Duration::from_millis(5));
    // It installs its signal handlers a moment after the first 200.
    std::thread::sleep(Duration::from_millis(50));
    let before = monotonic();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let exit = ended(&mut child) - before;
    Floor { fork_and_exec: stamps.loading(), dry_run, exit }
}

fn ended(child: &mut Child) -> Duration {
    let at = Ending::of(i32::try_from(child.id()).unwrap()).wait();
    child.wait().unwrap();
    at
}

fn print(edits: &[Edit], floors: &[Floor]) {
    let floor = |part: fn(&Floor) -> Duration| median(floors.iter().map(|floor| ms(part(floor))).collect());
    let (fork, dry_run, exit) = (floor(|f| f.fork_and_exec), floor(|f| f.dry_run), floor(|f| f.exit));
    let debounce = ms(DEBOUNCE);
    let row = |part: &str, least: Option<f64>, time: &dyn Fn(&Edit) -> f64| {
        let times: Vec<f64> = edits.iter().map(time).collect();
        let least = least.map_or_else(String::new, |least| format!("{least:.1} ms"));
        println!("| {part} | {:.1} ms | {:.1} ms | {least} |", median(times.clone()), p99(times));
    };
    let checked = |edit: &Edit| ms(edit.dry_run_ended - edit.dry_run) + fork;
    println!("| of {} edits | median | p99 | floor (median) |", edits.len());
    println!("|---|---:|---:|---:|");
    row("debounce", None, &|_| debounce);
    row("reading and planning", None, &|edit| ms(edit.dry_run) - debounce - fork);
    row("dry run", Some(dry_run + fork), &checked);
    row("the old server's exit", Some(exit), &|edit| ms(edit.old_ended - edit.dry_run_ended));
    row("start", Some(fork), &|edit| ms(edit.started - edit.old_ended));
    row("from rename to execve", None, &|edit| ms(edit.started));
    row("all but the debounce (aim: 40 ms)", None, &|edit| ms(edit.started) - debounce);
    row("what is ours (aim: 10 ms)", None, &|edit| ms(edit.started) - debounce - checked(edit) - exit - fork);
    println!();
    println!(
        "What is ours: all but the debounce, less the dry run, and less the floors of the exit and of fork and exec. \
         The stand-in that tells the time of an execve makes every fork and exec longer; its share is in that floor."
    );
}
