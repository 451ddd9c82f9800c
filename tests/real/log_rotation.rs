//! Servers' logs are rotated under load: by a process that is killed again and
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

use crate::support::{World, ask};
use herdsman::instance::{LogPart, LogReader, Rotation, rotate};
use tempfile::TempDir;

/// What this test program is to be when it runs itself: the name of one of the
/// ignored tests at the end.
const ROLE: &str = "HERDSMAN_TEST_ROLE";

/// The least there is, so that much is rotated, and nothing dropped.
const ROTATION: Rotation = Rotation { max_bytes: 128 << 10, keep: 100_000 };

/// This test program in a role, with `argument`; killed when dropped.
struct Role(Child);

impl Role {
    fn start(name: &str, argument: &Path, log: Stdio) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([&format!("log_rotation::{name}"), "--exact", "--ignored", "--nocapture"]).env(ROLE, argument);
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

/// All lines of a log, oldest first, without herdsman's own and without the
/// hole at its beginning.
fn lines(log: &Path) -> Vec<String> {
    try_lines(log).unwrap()
}

/// The same of a log that is written to: half a line is an error.
fn try_lines(log: &Path) -> Result<Vec<String>, String> {
    let numbered = |number: usize| log.with_extension(format!("log.{number}"));
    let oldest = (1..).find(|number| !numbered(*number).exists()).unwrap();
    assert!(!numbered(0).exists(), "a rotation is not over");
    let files = (1..oldest).rev().map(numbered).chain([log.to_owned()]);
    let texts = files.map(|file| String::from_utf8(fs::read(file).unwrap()).unwrap());
    let mut lines = Vec::new();
    for text in texts {
        let text = text.trim_start_matches('\0');
        if !text.ends_with('\n') {
            return Err(format!("half a line: {:?}", text.lines().last()));
        }
        lines.extend(text.lines().map(str::to_owned));
    }
    lines.retain(|line| !line.trim().is_empty() && !line.starts_with("herdsman: "));
    Ok(lines)
}

/// Rotates under load in `place`, with a rotator that does not live long.
fn survives_load_and_kills(place: &Path) {
    const INTERRUPTED: usize = 25;
    const WRITTEN: usize = 30 << 20;
    let directory = TempDir::with_prefix_in("herdsman-test-", place).unwrap();
    let log = directory.path().join("m.log");
    let stalls = directory.path().join("stalls");
    let appending = OpenOptions::new().append(true).create(true).open(&log).unwrap();
    let mut writer = Role::start("writes_until_its_stdin_ends", &stalls, appending.into());

    let over = Arc::new(AtomicBool::new(false));
    let follower = std::thread::spawn({
        let (log, over) = (log.clone(), Arc::clone(&over));
        move || followed(&log, &over)
    });

    let (start, mut kills, mut interrupted) = (Instant::now(), 0, 0);
    let length = || fs::metadata(&log).unwrap().len();
    let parts = || (1..).find(|number| !directory.path().join(format!("m.log.{number}")).exists()).unwrap() - 1;
    while interrupted < INTERRUPTED || parts() * (100 << 10) < WRITTEN {
        assert!(start.elapsed() < Duration::from_secs(120), "{interrupted} of {kills} kills came amid a rotation");
        let rotator = Role::start("rotates_until_killed", directory.path(), Stdio::inherit());
        std::thread::sleep(some_time(Duration::from_millis(150)));
        drop(rotator);
        kills += 1;
        interrupted += usize::from(["m.log.0", "m.log.0.new"].iter().any(|name| directory.path().join(name).exists()));
    }
    drop(writer.0.stdin.take());
    assert!(writer.0.wait().unwrap().success());
    let errors = rotate(directory.path(), &ROTATION);
    assert!(errors.is_empty(), "{errors:?}");
    over.store(true, Ordering::Relaxed);
    let followed = follower.join().unwrap();

    let stalls = fs::read_to_string(stalls).unwrap();
    let lines = lines(&log);
    let megabytes = lines.iter().map(String::len).sum::<usize>() / 1_000_000;
    let (count, seconds) = (lines.len(), start.elapsed().as_secs());
    println!("{}: {count} lines, {megabytes} MB in {seconds} s, {} bytes long at the end", place.display(), length());
    println!("{kills} kills, {interrupted} of them amid a rotation, {} parts; {stalls}", parts());
    for (number, line) in lines.iter().enumerate() {
        assert!(*line == written_line(number), "line {number} is {line:?}");
    }
    for (number, line) in followed.lines().enumerate() {
        assert!(line == written_line(number), "the follower read {line:?} as line {number}");
    }
    assert_eq!(followed.lines().count(), lines.len(), "lines that the follower has read");
    let (written, longest) = stalls.split_once(" lines; longest write ").unwrap();
    assert_eq!(written.parse(), Ok(lines.len()));
    let longest: u64 = longest.strip_suffix(" us").unwrap().parse().unwrap();
    // Measured on two cores that compile meanwhile: 33 ms. The rest is room for
    // a slower disk, and for a writer that is not scheduled.
    assert!(longest < 10_000_000, "a write took {longest} us");
}

/// What somebody reads who follows the log until it is `over`.
fn followed(log: &Path, over: &AtomicBool) -> String {
    let mut reader = LogReader::open(log, LogPart::Whole, None).unwrap().unwrap();
    let mut text = Vec::new();
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
fn no_line_is_lost_doubled_or_moved_while_the_rotator_is_killed_at_random() {
    survives_load_and_kills(&std::env::temp_dir());
}

#[test]
fn no_line_is_lost_doubled_or_moved_where_holes_are_punched() {
    // Shared memory is a tmpfs, which cannot collapse; that both ways are
    // tested, wherever they work, is up to the unit tests.
    survives_load_and_kills(Path::new("/dev/shm"));
}

#[test]
fn a_real_server_answers_and_logs_on_while_its_log_is_rotated() {
    let world = World::new();
    world.weights("a", "a ");
    world.write_definition("a", &format!("{}log_verbosity = 5\n", World::tiny_toml("a")));
    world.converges();
    let (port, pid) = (world.port("a"), world.pid("a"));
    let logs = world.state_dir().join("logs");
    let inode = || fs::metadata(logs.join("a.log")).unwrap().ino();
    let before = inode();

    let rotator = Role::start("rotates_until_killed", &logs, Stdio::inherit());
    let start = Instant::now();
    let mut asked = 0;
    while !logs.join("a.log.5").exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "not rotated five times after {asked} requests");
        assert_eq!(ask(port), "a a a ", "request {asked}");
        asked += 1;
    }
    drop(rotator);
    assert!(rotate(&logs, &ROTATION).is_empty());
    assert_eq!((world.pid("a"), inode()), (pid, before));

    // Each answer leaves one such line.
    let answered = || {
        let lines = try_lines(&logs.join("a.log")).ok()?;
        Some(lines.iter().filter(|line| line.contains("stopped by limit, n_gen = 3")).count())
    };
    let mut found = None;
    crate::support::eventually("the last line is written", Duration::from_secs(30), || {
        found = answered();
        found >= Some(asked)
    });
    assert_eq!(found, Some(asked));
    world.is_settled();
}

#[test]
#[ignore = "a role of this program, not a test"]
fn rotates_until_killed() {
    let Some(logs) = Role::argument() else { return };
    loop {
        let errors = rotate(&logs, &ROTATION);
        assert!(errors.is_empty(), "{errors:?}");
        std::thread::sleep(Duration::from_millis(1));
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
        // A rotator that is seldom scheduled would let it fill the disk.
        let on_disk = log.metadata().unwrap().blocks() * 512;
        for _ in 0..if on_disk > 40 << 20 { 0 } else { 100 } {
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
