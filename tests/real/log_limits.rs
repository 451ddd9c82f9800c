//! Servers' logs are shortened under load: by a process that is killed again and
//! again, while another process writes lines as fast as a server would.

use std::collections::hash_map::RandomState;
use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{World, ask, eventually};
use herdsman::instance::{LogLimits, LogPart, LogReader, limit_logs};
use herdsman::model::ModelName;
use tempfile::TempDir;

/// 8 MiB: more than is written while a reader that follows does not look.
const LIMITS: LogLimits = LogLimits { max_bytes: 128 << 10, keep: 63 };
const KEPT: u64 = 8 << 20;

/// Writes numbered lines to stderr, each with one write(2) (llama-server takes
/// three), some MB a second, until its stdin ends. Then it says in a file how many
/// and how long the slowest took, in microseconds.
const WRITER: &str = r#"
import os, select, sys, time
count = longest = 0
while not select.select([0], [], [], 0.001)[0]:
    # A limiter that is seldom scheduled would let it fill the disk.
    for _ in range(0 if os.fstat(2).st_blocks * 512 > 14 << 20 else 100):
        line = b"%08d %s\n" % (count, b"x" * (count * 7919 % 300))
        start = time.monotonic_ns()
        assert os.write(2, line) == len(line)
        longest = max(longest, time.monotonic_ns() - start)
        count += 1
open(sys.argv[1], "w").write(f"{count} {longest // 1000}")
"#;

/// A process that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only for a process that has been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One `herdsman reconcile`, which shortens the logs of `state`; it dies at `point`.
fn limiter(directory: &Path, point: Option<&str>) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herdsman"));
    command.args(["reconcile", "--log-max-size", "128KiB", "--log-keep", "63"]).current_dir(directory);
    command.env("HERDSMAN_MODELS_DIR", "models.d").env("HERDSMAN_STATE_DIR", "state");
    command.envs(point.map(|point| ("HERDSMAN_FAILPOINT", point)));
    Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// Up to `longest`, at random.
fn some_time(longest: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    longest.mul_f64(f64::from(u32::try_from(random >> 32).unwrap()) / f64::from(u32::MAX))
}

/// Shortens a log under load in `place`, by a process that does not live long.
fn survives_load_and_kills(place: &Path) {
    const KILLS: usize = 60;
    const POINTS: [Option<&str>; 3] = [Some("LogFree:1"), Some("LogFreed:1"), None];
    const WRITTEN: u64 = 40 << 20;
    let directory = TempDir::with_prefix_in("herdsman-test-", place).unwrap();
    let stalls = directory.path().join("stalls");
    let logs = directory.path().join("state/logs");
    fs::create_dir(directory.path().join("models.d")).unwrap();
    fs::create_dir_all(logs.join("m")).unwrap();
    let log = logs.join("m/2026-01-01T000000.000Z-00000000.log");
    let appending = OpenOptions::new().append(true).create(true).open(&log).unwrap();
    let mut writer = Command::new("python3");
    writer.args(["-c", WRITER]).arg(&stalls).stdin(Stdio::piped()).stderr(appending);
    let mut writer = Running(writer.spawn().unwrap());

    let over = Arc::new(AtomicBool::new(false));
    let follower = std::thread::spawn({
        let (logs, over) = (logs.clone(), Arc::clone(&over));
        move || followed(&logs, &over)
    });
    let beginner = std::thread::spawn({
        let (logs, over) = (logs.clone(), Arc::clone(&over));
        move || read_again_and_again(&logs, &over)
    });
    let (start, mut kills, mut deaths) = (Instant::now(), 0, 0);
    let length = || fs::metadata(&log).unwrap().len();
    while kills < KILLS || length() < WRITTEN {
        assert!(start.elapsed() < Duration::from_secs(120), "{} bytes were written in two minutes", length());
        let mut limiter = limiter(directory.path(), POINTS[kills % POINTS.len()]);
        match POINTS[kills % POINTS.len()] {
            // It dies there, or ends because nothing was too long.
            Some(_) => deaths += usize::from(limiter.0.wait().unwrap().signal().is_some()),
            None => std::thread::sleep(some_time(Duration::from_millis(150))),
        }
        drop(limiter);
        kills += 1;
    }
    assert!(deaths > KILLS / 3, "only {deaths} of {kills} died while they shortened it");
    drop(writer.0.stdin.take());
    assert!(writer.0.wait().unwrap().success());
    let problems = limit_logs(&logs, &LIMITS);
    assert!(problems.is_empty(), "{problems:?}");
    over.store(true, Ordering::Relaxed);
    let followed = follower.join().unwrap();
    let begun = beginner.join().unwrap();

    let stalls = fs::read_to_string(stalls).unwrap();
    let (written, longest) = stalls.split_once(' ').unwrap();
    println!(
        "{}: {} bytes in {:?}, {kills} kills, {begun} readings; {written} lines, longest write {longest} us",
        place.display(),
        length(),
        start.elapsed()
    );
    let written: usize = written.parse().unwrap();
    for (number, line) in followed.lines().enumerate() {
        assert!(line == written_line(number), "followed line {number} is {line:?}");
    }
    assert_eq!(followed.lines().count(), written, "lines that were followed");

    // What is kept is the end, as much of it as the limits say.
    let kept = String::from_utf8(whole(&logs)).unwrap();
    let first = written - kept.lines().count();
    for (line, number) in kept.lines().zip(first..) {
        assert!(line == written_line(number), "line {number} is {line:?}");
    }
    let (held, on_disk) = (kept.len() as u64, fs::metadata(&log).unwrap().blocks() * 512);
    assert!((KEPT - 400..KEPT + 4096).contains(&held) && on_disk <= KEPT + 8192, "{held} bytes, {on_disk} on the disk");
    let longest: u64 = longest.parse().unwrap();
    // Room for a slow disk, and for a writer that is not scheduled.
    assert!(longest < 10_000_000, "a write took {longest} us");
}

fn reader(logs: &Path) -> LogReader {
    LogReader::open(logs, &ModelName::parse("m").unwrap(), LogPart::Whole, None).unwrap().unwrap()
}

fn whole(logs: &Path) -> Vec<u8> {
    let (mut reader, mut text) = (reader(logs), Vec::new());
    loop {
        match reader.read().unwrap() {
            lines if lines.is_empty() => return text,
            lines => text.extend(lines),
        }
    }
}

/// Reads the log from its beginning until it is `over`, and returns how often. The
/// beginning is being removed meanwhile, and may overtake the reader: it goes on
/// behind the gap, and cuts no line.
fn read_again_and_again(logs: &Path, over: &AtomicBool) -> usize {
    let mut times = 0;
    while !over.load(Ordering::Relaxed) {
        let (text, mut next) = (String::from_utf8(whole(logs)).unwrap(), 0);
        for line in text.lines() {
            let number = line.get(..8).and_then(|number| number.parse().ok()).unwrap_or_default();
            assert!(number >= next && line == written_line(number), "line {next} or a later one is {line:?}");
            next = number + 1;
        }
        times += 1;
    }
    times
}

/// Follows the log until it is `over`, and returns what it read.
fn followed(logs: &Path, over: &AtomicBool) -> String {
    let (mut reader, mut text) = (reader(logs), Vec::new());
    loop {
        let was_over = over.load(Ordering::Relaxed);
        let more = reader.read_on().unwrap();
        if more.is_empty() && was_over {
            return String::from_utf8(text).unwrap();
        }
        text.extend(more);
        std::thread::sleep(some_time(Duration::from_millis(20)));
    }
}

/// A line of 9 to some 300 bytes.
fn written_line(number: usize) -> String {
    format!("{number:08} {}", "x".repeat(number * 7919 % 300))
}

#[test]
fn removes_only_the_oldest_lines_though_it_is_killed_again_and_again() {
    survives_load_and_kills(&std::env::temp_dir());
}

#[test]
fn does_the_same_in_shared_memory() {
    survives_load_and_kills(Path::new("/dev/shm"));
}

#[test]
fn a_real_server_answers_and_logs_on_while_its_log_is_shortened() {
    const SHORT: [&str; 5] = ["reconcile", "--log-max-size", "128KiB", "--log-keep", "0"];
    let world = World::new();
    world.weights("a", "a ");
    world.write_definition("a", &format!("{}log_verbosity = 5\n", World::tiny_toml("a")));
    world.converges();
    let (port, pid, log) = (world.port("a"), world.pid("a"), world.log("a"));
    let look = || fs::metadata(&log).unwrap();
    let (start, mut asked) = (Instant::now(), 0);
    while look().len() < 1 << 20 {
        assert!(start.elapsed() < Duration::from_secs(120), "{} bytes after {asked} requests", look().len());
        assert_eq!(ask(port), "a a a ", "request {asked}");
        asked += 1;
        if asked % 50 == 0 {
            world.run(&SHORT).exits(0);
        }
    }
    world.run(&SHORT).exits(0);
    assert!(look().blocks() * 512 <= (128 << 10) + 8192, "{} blocks", look().blocks());
    assert_eq!((world.pid("a"), world.log("a")), (pid, log.clone()));

    // Each answer leaves one such line, and the last of them are kept.
    let answered =
        || world.run(&["logs", "a", "-n", "all"]).exits(0).stdout.matches("stopped by limit, n_gen = 3").count();
    let before = answered();
    assert!((1..asked).contains(&before), "{before} of {asked}");
    assert_eq!(ask(port), "a a a ");
    eventually("the last line is written", Duration::from_secs(30), || answered() == before + 1);
    world.is_settled();
}
