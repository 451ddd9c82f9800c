//! Cost of a watcher with nothing to do: 100 definitions, 20 running
//! servers, the default resync: `cargo bench --bench watch_idle [-- 60]`.
//!
//! CPU time of the process over that many seconds, and its memory at their
//! end. Prints a Markdown table, with the numbers of other programs that keep 20
//! servers running (measured before, elsewhere).
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod measure;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use measure::clock::{cpu_time, ms};
use measure::watcher::Watcher;
use measure::{asked_for, usual_definition};
use support::{World, eventually, get};

const RUNNING: usize = 20;
const STOPPED: usize = 80;

/// Longer than the time after which an unchanged file is not read again.
const SETTLES: Duration = Duration::from_secs(5);

/// CPU time over 60 s and resident memory of other programs with the same task.
const OTHERS: [(&str, &str, &str); 4] = [
    ("supervisord", "33 ms", "25 MB"),
    ("circus", "33 ms", "33 MB"),
    ("pm2", "19 ms", "56 MB"),
    ("llama-server's router mode (looks at nothing)", "0.1 ms", "34 MB"),
];

fn main() {
    let seconds = asked_for(60);
    let world = World::new();
    world.weights("tiny", "tiny ");
    for number in 0..RUNNING {
        world.tiny(&format!("running-{number:02}"));
    }
    for number in 0..STOPPED {
        world.write_definition(&format!("stopped-{number:02}"), &usual_definition(number));
    }
    let mut watcher = Watcher::start(&world, &["--parallel", "20"]);
    eventually("all servers are ready", Duration::from_secs(120), || ready(&world) == RUNNING);
    std::thread::sleep(SETTLES);
    watcher.rests();

    let before = cpu_time(watcher.pid());
    std::thread::sleep(Duration::from_secs(seconds.try_into().unwrap()));
    let used = ms(cpu_time(watcher.pid()) - before);
    let (resident, own) = (memory(watcher.pid(), "VmRSS"), memory(watcher.pid(), "RssAnon"));
    assert_eq!(ready(&world), RUNNING, "all of them, all the time");

    println!("| 100 definitions, 20 servers | CPU in {seconds} s | resident memory |");
    println!("|---|---:|---:|");
    println!(
        "| herdsman watch (aim: 15 ms in 60 s, 15 MB) | {used:.1} ms | {resident:.1} MB ({own:.1} MB of its own) |"
    );
    for (program, cpu, memory) in OTHERS {
        println!("| {program}, measured elsewhere in 60 s | {cpu} | {memory} |");
    }
}

/// How many servers are ready.
fn ready(world: &World) -> usize {
    let ports = world.ports().range();
    ports.filter(|port| get(*port, "/health").is_ok_and(|(status, _)| status == 200)).count()
}

/// A line of `/proc/PID/status`, in MB.
fn memory(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB"));
    line.unwrap().trim().parse::<f64>().unwrap() * 1024.0 / 1e6
}
