//! `herdsman logs`: the lines of a model's servers, also while they are rotated.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Background, World, eventually};
use herdsman::instance::{Rotation, rotate};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn shows_the_end_of_a_log_and_the_previous_server_alone() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    world.logs_that_it_listens("a");
    world.run(&["logs", "a", "--previous"]).exits(1).says(&["has no previous server"]);
    let first = fs::read_to_string(world.state_dir().join("logs/a.log")).unwrap();
    world.kill("a");
    world.run(&["reconcile", "--retry"]).exits(0);
    world.logs_that_it_listens("a");

    let whole = fs::read_to_string(world.state_dir().join("logs/a.log")).unwrap();
    assert_eq!(world.run(&["logs", "a", "-n", "all"]).exits(0).stdout, whole);
    let last: Vec<&str> = whole.lines().rev().take(3).collect();
    let shown = world.run(&["logs", "a", "-n", "3"]).exits(0).stdout;
    assert_eq!(shown.lines().rev().collect::<Vec<_>>(), last);
    assert_eq!(world.run(&["logs", "a", "-n", "0"]).exits(0).stdout, "");
    assert_eq!(world.run(&["logs", "a", "--previous"]).exits(0).stdout, first);
    let last = first.lines().next_back().unwrap();
    assert_eq!(world.run(&["logs", "a", "-p", "-n", "1"]).exits(0).stdout, format!("{last}\n"));
    world.run(&["logs", "a", "-n", "some"]).exits(64).says(&["a number of lines, or `all`"]);

    // A deleted model's log is there as long as the file is.
    world.remove_definition("a");
    world.converges();
    world.run(&["logs", "a", "-n", "1"]).exits(0);
}

#[test]
fn follow_prints_each_line_once_across_rotations_until_ctrl_c() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    world.logs_that_it_listens("a");
    let logs = world.state_dir().join("logs");
    let mut log = OpenOptions::new().append(true).open(logs.join("a.log")).unwrap();
    let mut command = world.command();
    command.args(["logs", "a", "-f", "-n", "1"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut follower = Background::from(command.spawn().unwrap());
    let mut lines = BufReader::new(follower.child().stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().contains("listening on"), "the last line there was");

    let mut number = 0;
    for _ in 0..5 {
        for _ in 0..2000 {
            writeln!(log, "{number:08} {}", "x".repeat(number % 200)).unwrap();
            number += 1;
        }
        // The least there is, and so few that older parts are dropped.
        let errors = rotate(&logs, &Rotation { max_bytes: 128 << 10, keep: 2 });
        assert!(errors.is_empty(), "{errors:?}");
        assert!(logs.join("a.log.1").exists());
        for wanted in number - 2000..number {
            let line = lines.next().unwrap();
            assert_eq!(line, format!("{wanted:08} {}", "x".repeat(wanted % 200)));
        }
    }
    kill_process(Pid::from_child(follower.child()), Signal::INT).unwrap();
    assert_eq!(lines.next(), None);
    assert_eq!(follower.child().wait().unwrap().code(), Some(0));

    let whole = world.run(&["logs", "a", "-n", "all"]).exits(0).stdout;
    assert!(!whole.contains("herdsman: older lines"), "what a rotation writes is no line of a server");
    let numbers: Vec<usize> = whole.lines().map(|line| line[..8].parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|two| two[0] + 1 == two[1]), "older parts come first");
    assert!(numbers.len() > 1500 && numbers.last() == Some(&(number - 1)), "{}", numbers.len());
}

#[test]
fn ends_quietly_when_the_reader_leaves() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    let mut command = world.command();
    command.args(["logs", "a", "-f"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut follower = Background::from(command.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(follower.child().stdout.take().unwrap()).read_line(&mut line).unwrap();
    let mut code = None;
    eventually("it ends, though nothing is written", PATIENCE, || {
        code = follower.child().try_wait().unwrap();
        code.is_some()
    });
    let said = std::io::read_to_string(follower.child().stderr.take().unwrap()).unwrap();
    assert_eq!((code.unwrap().code(), &*said), (Some(0), ""));
}
