//! Servers' logs are shortened under load: by a process that is killed again and
//! again, while another process writes lines as fast as a server would.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{World, ask, eventually};
use herdsman::instance::{LogLimits, LogPart, LogReader, limit_logs};
use herdsman::model::ModelName;
use tempfile::TempDir;

/// What this test program is to be when it runs itself: the name of one of the
/// ignored tests at the end.
const ROLE: &str = "HERDSMAN_TEST_ROLE";

/// 8 MiB: more than is written while a reader that follows does not look.
const LIMITS: LogLimits = LogLimits { max_bytes: 128 << 10, keep: 63 };
const KEPT: u64 = 8 << 20;

/// This test program in a role, with `argument`; killed when dropped.
struct Role(Child);

impl Role {
    fn start(name: &str, argument: &Path, log: Stdio) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([&format!("log_limits::{name}"), "--exact", "--ignored", "--nocapture"]).env(ROLE, argument);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }

    fn argument() -> Option<PathBuf> {
        std::env::var_os(ROLE).map(PathBuf::from)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // Fails only for a process that has been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Up to `longest`, at random.
fn some_time(longest: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    longest.mul_f64(f64::from(u32::try_from(random >> 32).unwrap()) / f64::from(u32::MAX))
}

/// Shortens a log under load in `place`, by a process that does not live long.
fn survives_load_and_kills(place: &Path) {
    const KILLS: usize = 60;
    const WRITTEN: u64 = 40 << 20;
    let directory = TempDir::with_prefix_in("herdsman-test-", place).unwrap();
    let stalls = directory.path().join("stalls");
    let logs = directory.path().join("logs");
    fs::create_dir_all(logs.join("m")).unwrap();
    let log = logs.join("m/2026-01-01T000000.000Z-00000000.log");
    let appending = OpenOptions::new().append(true).create(true).open(&log).unwrap();
    let mut writer = Role::start("writes_until_its_stdin_ends", &stalls, appending.into());

    let over = Arc::new(AtomicBool::new(false));
    let follower = std::thread::spawn({
        let (logs, over) = (logs.clone(), Arc::clone(&over));
        move || followed(&logs, &over)
    });
    let beginner = std::thread::spawn({
        let (logs, over) = (logs.clone(), Arc::clone(&over));
        move || read_again_and_again(&logs, &over)
    });
    let (start, mut kills) = (Instant::now(), 0);
    let length = || fs::metadata(&log).unwrap().len();
    while kills < KILLS || length() < WRITTEN {
        assert!(start.elapsed() < Duration::from_secs(120), "{} bytes were written in two minutes", length());
        let limiter = Role::start("limits_until_killed", &logs, Stdio::inherit());
        std::thread::sleep(some_time(Duration::from_millis(150)));
        drop(limiter);
        kills += 1;
    }
    drop(writer.0.stdin.take());
    assert!(writer.0.wait().unwrap().success());
    let problems = limit_logs(&logs, &LIMITS);
    assert!(problems.is_empty(), "{problems:?}");
    over.store(true, Ordering::Relaxed);
    let followed = follower.join().unwrap();
    let begun = beginner.join().unwrap();

    let stalls = fs::read_to_string(stalls).unwrap();
    let (written, longest) = stalls.split_once(" lines; longest write ").unwrap();
    println!(
        "{}: {} bytes in {:?}, {kills} kills, {begun} readings; {stalls}",
        place.display(),
        length(),
        start.elapsed()
    );
    let written: usize = written.parse().unwrap();
    for (number, line) in followed.lines().enumerate() {
        assert!(line == written_line(number), "of whoever follows, line {number} is {line:?}");
    }
    assert_eq!(followed.lines().count(), written, "lines that whoever follows has read");

    // What is kept is the end, as much of it as the limits say.
    let kept = String::from_utf8(whole(&logs)).unwrap();
    let first = written - kept.lines().count();
    for (line, number) in kept.lines().zip(first..) {
        assert!(line == written_line(number), "line {number} is {line:?}");
    }
    let (held, on_disk) = (kept.len() as u64, fs::metadata(&log).unwrap().blocks() * 512);
    assert!((KEPT - 400..KEPT + 4096).contains(&held) && on_disk <= KEPT + 8192, "{held} bytes, {on_disk} on the disk");
    let longest: u64 = longest.strip_suffix(" us").unwrap().parse().unwrap();
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

/// Reads the log from its beginning, which is being removed, until it is `over`:
/// no line is cut or missing. Returns how often.
fn read_again_and_again(logs: &Path, over: &AtomicBool) -> usize {
    let mut times = 0;
    while !over.load(Ordering::Relaxed) {
        let text = String::from_utf8(whole(logs)).unwrap();
        let first = text.get(..8).map_or(0, |number| number.parse().unwrap());
        for (line, number) in text.lines().zip(first..) {
            assert!(line == written_line(number), "of whoever reads, line {number} is {line:?}");
        }
        times += 1;
    }
    times
}

/// What somebody reads who follows the log until it is `over`.
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
fn only_the_oldest_lines_go_while_whoever_removes_them_is_killed_at_random() {
    survives_load_and_kills(&std::env::temp_dir());
}

#[test]
fn so_in_shared_memory() {
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

#[test]
#[ignore = "a role of this program, not a test"]
fn limits_until_killed() {
    let Some(logs) = Role::argument() else { return };
    loop {
        let problems = limit_logs(&logs, &LIMITS);
        assert!(problems.is_empty(), "{problems:?}");
    }
}

/// Writes numbered lines to stderr, each with one write(2) (llama-server takes
/// three), some MB a second; then says how many and how long the slowest took.
#[test]
#[ignore = "a role of this program, not a test"]
fn writes_until_its_stdin_ends() {
    let Some(result) = Role::argument() else { return };
    let end = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let mut log = File::from(rustix::io::dup(std::io::stderr()).unwrap());
    let (mut count, mut longest) = (0, Duration::ZERO);
    while !end.is_finished() {
        // A limiter that is seldom scheduled would let it fill the disk.
        let on_disk = log.metadata().unwrap().blocks() * 512;
        for _ in 0..if on_disk > 14 << 20 { 0 } else { 100 } {
            let line = format!("{}\n", written_line(count));
            let start = Instant::now();
            assert_eq!(log.write(line.as_bytes()).unwrap(), line.len());
            longest = longest.max(start.elapsed());
            count += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    fs::write(result, format!("{count} lines; longest write {} us", longest.as_micros())).unwrap();
}
