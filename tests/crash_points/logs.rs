//! A log that is too long: numbered lines, of which none may be lost or
//! doubled.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use crate::support::World;

/// How many lines are added: as many as make one rotation.
const LINES: usize = 2000;

fn log(world: &World, model: &str, suffix: &str) -> PathBuf {
    world.state_dir().join("logs").join(format!("{model}.log{suffix}"))
}

fn line(number: usize) -> String {
    format!("line {number:06} {}", "x".repeat(80))
}

/// Makes the log of `model` too long, beside an older part, and one too many.
pub fn grow(world: &World, model: &str) {
    let mut log_file = OpenOptions::new().append(true).open(log(world, model, "")).unwrap();
    let lines: String = (0..LINES).map(|number| line(number) + "\n").collect();
    log_file.write_all(lines.as_bytes()).unwrap();
    fs::write(log(world, model, ".1"), "older\n").unwrap();
    fs::write(log(world, model, ".4"), "one too many\n").unwrap();
}

/// Whether all lines are there, once and in their order, the older part is the
/// second now, and the one too many is gone.
pub fn are_rotated(world: &World, model: &str) -> Result<(), String> {
    let read = |suffix| fs::read(log(world, model, suffix)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let (Ok(first), Ok(live)) = (read(".1"), read("")) else { return Err("the log is not rotated".to_owned()) };
    let lines: Vec<&str> = first.lines().chain(live.trim_start_matches('\0').lines()).collect();
    let numbered: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with("line ")).collect();
    let wrong = numbered.iter().enumerate().find(|(number, found)| **found != line(*number));
    if numbered.len() != LINES || wrong.is_some() {
        return Err(format!("{} of {LINES} lines are there; the first that is wrong: {wrong:?}", numbered.len()));
    }
    match read(".2") {
        Ok(older) if older == "older\n" => {}
        other => return Err(format!("the older part is not the second: {other:?}")),
    }
    if log(world, model, ".4").exists() { Err("the one too many is still there".to_owned()) } else { Ok(()) }
}
