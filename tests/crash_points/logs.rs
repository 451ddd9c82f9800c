//! Logs that are too long: numbered lines, of which only the oldest may go.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use crate::support::World;

/// How many lines are added: more than the limit allows.
const LINES: usize = 2000;

/// How many of them are within it, whatever the block of the file system.
const KEPT: usize = 1300;

fn line(number: usize) -> String {
    format!("line {number:06} {}", "x".repeat(80))
}

/// Logs of servers that are gone, and of one that an earlier version started.
fn older(world: &World, model: &str) -> [PathBuf; 3] {
    let logs = world.state_dir().join("logs");
    let of_instance = logs.join(model).join("2026-01-01T000000.000Z-00000000.log");
    [logs.join(format!("{model}.log.1")), logs.join(format!("{model}.log")), of_instance]
}

/// Makes the log of the server of `model` too long, beside older ones.
pub fn grow(world: &World, model: &str) {
    let lines: String = (0..LINES).map(|number| line(number) + "\n").collect();
    OpenOptions::new().append(true).open(world.log(model)).unwrap().write_all(lines.as_bytes()).unwrap();
    for path in older(world, model) {
        fs::write(path, "older\n").unwrap();
    }
}

/// Whether the older logs are gone, and of the lines no more than the oldest.
pub fn are_shortened(world: &World, model: &str) -> Result<(), String> {
    if let Some(left) = older(world, model).into_iter().find(|path| path.exists()) {
        return Err(format!("{} is still there", left.display()));
    }
    let text = world.run(&["logs", model, "-n", "all"]).exits(0).stdout;
    let numbered: Vec<&str> = text.lines().filter(|line| line.starts_with("line ")).collect();
    let first = LINES.saturating_sub(numbered.len());
    if first == 0 || numbered.len() < KEPT {
        return Err(format!("{} of {LINES} lines are there", numbered.len()));
    }
    match numbered.iter().zip(first..).find(|(found, number)| **found != line(*number)) {
        Some((found, number)) => Err(format!("line {number} is {found:?}")),
        None => Ok(()),
    }
}
