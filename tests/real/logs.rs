//! `herdsman logs`: the lines of a model's servers, also while the oldest are removed.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use crate::support::{Background, Ran, World, eventually, llama_server};
use herdsman::instance::{LogLimits, limit_logs};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn shows_the_end_of_a_log_and_the_previous_server_alone() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    world.logs_that_it_listens("a");
    world.run(&["logs", "a", "--previous"]).exits(1).says(&["has no previous server"]);
    let first = fs::read_to_string(world.log("a")).unwrap();
    world.kill("a");
    world.run(&["reconcile", "--retry"]).exits(0);
    world.logs_that_it_listens("a");

    let whole = format!("{first}{}", fs::read_to_string(world.log("a")).unwrap());
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

/// `herdsman logs a -f -n 1`, and the lines it prints; none after a while without.
fn follow(world: &World) -> (Background, impl Iterator<Item = String>) {
    let mut command = world.command();
    command.args(["logs", "a", "-f", "-n", "1"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut follower = Background::from(command.spawn().unwrap());
    let printed = BufReader::new(follower.child().stdout.take().unwrap()).lines().map(Result::unwrap);
    let (send, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || printed.into_iter().try_for_each(|line| send.send(line)));
    let mut lines = std::iter::from_fn(move || lines.recv_timeout(PATIENCE).ok());
    assert!(lines.next().unwrap().contains("listening on"), "the last line there was");
    (follower, lines)
}

#[test]
fn follow_prints_each_line_once_across_rotations_until_ctrl_c() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    world.logs_that_it_listens("a");
    let mut log = OpenOptions::new().append(true).open(world.log("a")).unwrap();
    let (mut follower, mut lines) = follow(&world);

    let mut number = 0;
    for _ in 0..5 {
        for _ in 0..2000 {
            writeln!(log, "{number:08} {}", "x".repeat(number % 200)).unwrap();
            number += 1;
        }
        for wanted in number - 2000..number {
            let line = lines.next().unwrap();
            assert_eq!(line, format!("{wanted:08} {}", "x".repeat(wanted % 200)));
        }
        let limits = LogLimits { max_bytes: 128 << 10, keep: 1 };
        let problems = limit_logs(&world.state_dir().join("logs"), &limits);
        assert!(problems.is_empty(), "{problems:?}");
    }
    kill_process(Pid::from_child(follower.child()), Signal::INT).unwrap();
    assert_eq!(lines.next(), None);
    assert_eq!(follower.child().wait().unwrap().code(), Some(0));

    let whole = world.run(&["logs", "a", "-n", "all"]).exits(0).stdout;
    let numbers: Vec<usize> = whole.lines().map(|line| line[..8].parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|two| two[0] + 1 == two[1]), "none is missing, and none comes twice");
    assert!(numbers.len() > 1500 && numbers.last() == Some(&(number - 1)), "{}", numbers.len());
}

#[test]
fn a_model_with_more_logs_than_a_process_may_open_is_read_and_shortened() {
    const LOGS: usize = 300;
    let world = World::new();
    let logs = world.state_dir().join("logs");
    fs::create_dir_all(logs.join("m")).unwrap();
    for number in 0..LOGS {
        fs::write(logs.join(format!("m/2026-01-01T000000.000Z-{number:08x}.log")), format!("{number}\n")).unwrap();
    }
    let run = |arguments: &[&str]| {
        let mut command = world.command();
        let few = Rlimit { current: Some(64), maximum: Some(64) };
        // SAFETY: setrlimit(2) is one system call.
        unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Nofile, few)?)) };
        Ran::of(command.args(arguments)).exits(0).stdout
    };
    let numbers = |from: usize| (from..LOGS).map(|number| format!("{number}\n")).collect::<String>();
    assert_eq!(run(&["logs", "m", "-n", "3"]), numbers(LOGS - 3));
    assert_eq!(run(&["logs", "m", "-n", "all"]), numbers(0));
    run(&["reconcile"]);
    assert_eq!(run(&["logs", "m", "-n", "all"]), numbers(LOGS - 128), "with the usual limits");
}

#[test]
fn whoever_follows_goes_on_with_the_next_server_though_the_log_before_is_deleted() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    world.logs_that_it_listens("a");
    let first = world.log("a");
    let (_follower, mut lines) = follow(&world);
    OpenOptions::new().append(true).open(&first).unwrap().write_all(b"not ended").unwrap();
    world.kill("a");
    fs::remove_file(&first).unwrap();
    assert_eq!(lines.next().unwrap(), "not ended", "its server will not end it");
    world.run(&["reconcile", "--retry"]).exits(0);
    assert_ne!(world.log("a"), first);
    let text = fs::read_to_string(world.log("a")).unwrap();
    assert_eq!(lines.next().as_deref(), text.lines().next(), "the line that heads the next log");
    assert!(lines.any(|line| line.contains("listening on")));
}

#[test]
fn a_server_that_an_earlier_version_started_goes_on_in_the_log_of_its_model() {
    let world = World::new();
    world.weights("a", "a ");
    let wrapper = world.path().join("wrapper");
    let (real, logs) = (llama_server().display().to_string(), world.state_dir().join("logs"));
    // As that version did it: one log for all servers of the model.
    let as_earlier = format!(
        "#!/bin/sh\nif [ \"$HERDSMAN_INSTANCE\" ] && [ ! -e now ]; then exec >>{0}/a.log 2>&1\n\
         echo \"herdsman: instance $HERDSMAN_INSTANCE of spec $HERDSMAN_SPEC starts {real}\"; fi\nexec {real} \"$@\"\n",
        logs.display()
    );
    fs::write(&wrapper, as_earlier.replace("-e now", &format!("-e {}/now", world.path().display()))).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    world.write_definition("a", &format!("binary = \"../wrapper\"\n{}", World::tiny_toml("a")));
    world.converges();
    fs::remove_dir_all(logs.join("a")).unwrap();
    fs::write(logs.join("a.log.1"), "older\n").unwrap();
    world.is_settled();
    world.logs_that_it_listens("a");
    let shown = || world.run(&["logs", "a", "-n", "all"]).exits(0).stdout;
    assert!(shown().starts_with("older\nherdsman: instance ") && shown().contains("listening on"), "{}", shown());
    let limit = |max_bytes| {
        let problems = limit_logs(&logs, &LogLimits { max_bytes, keep: 0 });
        assert!(problems.is_empty(), "{problems:?}");
    };
    limit(1);
    assert!(!logs.join("a.log.1").exists() && shown().contains("listening on"), "{}", shown());

    let (_follower, mut lines) = follow(&world);
    let mut log = OpenOptions::new().append(true).open(logs.join("a.log")).unwrap();
    log.write_all(b"0.01 E srv   load: error: invalid argument: --its-last-word\n").unwrap();
    drop(log);
    fs::write(world.path().join("now"), "").unwrap();
    world.kill("a");
    world.run(&["reconcile", "--retry"]).exits(0);
    world.run(&["history", "a"]).exits(0).says(&["--its-last-word"]);
    assert!(world.log("a").starts_with(logs.join("a")));
    assert!(lines.next().unwrap().contains("--its-last-word"));
    assert!(lines.next().unwrap().contains("herdsman: instance ") && lines.any(|line| line.contains("listening on")));
    world.logs_that_it_listens("a");
    assert_eq!(shown().matches("listening on").count(), 2);
    world.run(&["logs", "a", "--previous"]).exits(0).says(&["--its-last-word"]);
    limit(1);
    assert!(!logs.join("a.log").exists() && shown().contains("listening on"));
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
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
