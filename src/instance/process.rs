//! One process, read from `/proc/PID`.
//!
//! Every reader here answers for the moment it ran; a process may vanish
//! between two of them, which [`is_gone`] distinguishes from a real error. Formats:
//! proc(5).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::model::{Progress, Timestamp};

/// Ticks per second of `/proc/PID/stat`: `USER_HZ`, which is 100 on every
/// architecture llama.cpp runs on.
const TICKS_PER_SECOND: u64 = 100;

/// The fields of `/proc/PID/stat` that identity needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Field 3: `R`, `S`, `D`, `Z`, …
    state: u8,
    /// Field 4: the parent's pid.
    pub parent: i32,
    /// Field 6: the pid of the session's leader.
    pub session: i32,
    /// Field 9: the kernel's `PF_*` flags.
    flags: u64,
    /// Field 20: how many threads are left.
    threads: u32,
    /// Field 22: when it started, ticks after boot.
    pub start_ticks: u64,
}

impl Stat {
    /// Reads the line. The command (field 2) is whatever the process calls
    /// itself, parentheses, spaces and broken UTF-8 included, so fields are
    /// counted from the last `)`.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let end_of_command = line.iter().rposition(|&b| b == b')')?;
        let rest = std::str::from_utf8(line.get(end_of_command + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        let flags = fields.nth(2)?.parse().ok()?;
        let threads = fields.nth(10)?.parse().ok()?;
        let start_ticks = fields.nth(1)?.parse().ok()?;
        Some(Self { state, parent, session, flags, threads, start_ticks })
    }

    /// Reads the stat of `pid`; `None` when there is no such process.
    pub fn of(pid: i32) -> io::Result<Option<Self>> {
        // The line has at most 52 numbers of 20 digits and a name of 64 bytes.
        let mut line = [0; 2048];
        let length = match File::open(format!("/proc/{pid}/stat")).and_then(|mut file| file.read(&mut line)) {
            Ok(length) => length,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is malformed"));
        Self::parse(line.get(..length).unwrap_or_default()).map(Some).ok_or_else(malformed)
    }

    /// A zombie (or what is left after one) is dead; but not the zombie of a
    /// first thread while others are still on their way out: until the last is
    /// gone, so are not its port and its memory, and its exit status is not to
    /// be had.
    pub const fn is_dead(self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }

    /// Whether it is on its way out: its environment can no longer be read,
    /// and no signal makes a difference.
    pub const fn is_exiting(self) -> bool {
        /// `PF_EXITING` of the kernel's `sched.h`.
        const EXITING: u64 = 0x4;
        self.flags & EXITING != 0
    }
}

/// The pid of a process's session leader, which may be gone; `None` if the
/// process itself is. Asked first where many processes are looked through:
/// reading `/proc/PID/stat` costs a hundred times as much.
pub(super) fn session(pid: i32) -> Option<i32> {
    // SAFETY: getsid(2) touches no memory. (rustix's cannot express the session
    // 0 of the kernel's own threads.)
    let session = unsafe { libc::getsid(pid) };
    (session > 0).then_some(session)
}

/// The children of `pid`, their children, and so on; none where the kernel
/// does not list them (`CONFIG_PROC_CHILDREN`).
pub(super) fn descendants(pid: i32) -> Vec<i32> {
    /// No wrapper has as many.
    const MOST: usize = 64;
    let mut found = Vec::new();
    let mut next = Some(pid);
    let mut looked_at = 0;
    while let Some(pid) = next.filter(|_| found.len() < MOST) {
        // Only the first thread's: no wrapper has more of them.
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        next = found.get(looked_at).copied();
        looked_at += 1;
    }
    found
}

/// Whether an error of a `/proc/PID` file means that the process is gone.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// The live process `pid` if it started at `start_ticks`: the same process,
/// not a later one that got its pid.
pub(super) fn is_alive(pid: i32, start_ticks: u64) -> io::Result<bool> {
    Ok(Stat::of(pid)?.is_some_and(|stat| !stat.is_dead() && stat.start_ticks == start_ticks))
}

/// Whether `pid` is on its way out: [`Stat::is_exiting`].
pub(super) fn is_exiting(pid: i32) -> bool {
    matches!(Stat::of(pid), Ok(Some(stat)) if stat.is_exiting())
}

/// The command line, NUL-separated.
pub(super) fn command_line(pid: i32) -> io::Result<Vec<u8>> {
    read_at_once(&format!("/proc/{pid}/cmdline"))
}

/// Whether `word` is an argument of the process; not, if that cannot be read.
pub(super) fn has_argument(pid: i32, word: &str) -> bool {
    command_line(pid).is_ok_and(|line| has_word(&line, word))
}

/// Whether `word` is one of a command line.
pub(super) fn has_word(line: &[u8], word: &str) -> bool {
    line.split(|&b| b == 0).any(|one| one == word.as_bytes())
}

/// The command line of an instance. Around an exec (a wrapper script becomes
/// llama-server) it reads as empty, and that moment is waited out.
pub(super) fn command_line_of_instance(pid: i32) -> io::Result<Vec<u8>> {
    const PAUSE: Duration = Duration::from_micros(100);
    const LOOKS: u32 = 1000;
    for _ in 0..LOOKS {
        let line = command_line(pid)?;
        if !line.is_empty() || Stat::of(pid)?.is_none_or(|stat| stat.is_dead() || stat.is_exiting()) {
            return Ok(line);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(Vec::new())
}

/// The environment as it was at exec, NUL-separated; empty while the process
/// is going away.
pub(super) fn environment(pid: i32) -> io::Result<Vec<u8>> {
    read_at_once(&format!("/proc/{pid}/environ"))
}

/// Reads a file of a process's memory by one system call: between two of them
/// an exec may cut the text short. The kernel takes no more than 6 MiB of
/// arguments and environment at exec, but a process may declare any part of
/// its memory to be them (`PR_SET_MM_MAP`).
fn read_at_once(path: &str) -> io::Result<Vec<u8>> {
    const LARGEST: usize = 16 << 20;
    let file = File::open(path)?;
    let mut text = vec![0; 16 << 10];
    loop {
        let length = file.read_at(&mut text, 0)?;
        if length < text.len() {
            text.truncate(length);
            return Ok(text);
        }
        if length >= LARGEST {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{path} is longer than any process starts with"),
            ));
        }
        text.resize(text.len() * 4, 0);
    }
}

/// What the process calls itself, safe to print.
pub(super) fn command(pid: i32) -> io::Result<String> {
    let name = std::fs::read(format!("/proc/{pid}/comm"))?;
    let name = String::from_utf8_lossy(&name);
    Ok(name.trim_end_matches('\n').chars().map(|c| if c.is_control() { '?' } else { c }).collect())
}

/// The effective user; `None` when the process is gone.
pub(super) fn user(pid: i32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Resident memory in bytes; 0 when it cannot be read.
pub(super) fn resident(pid: i32) -> u64 {
    let status = std::fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    number_after(&status, "VmRSS:").saturating_mul(1024)
}

/// Bytes read, written and resident so far; what cannot be read counts as 0.
///
/// `rchar` sees a load by `read`, `read_bytes` one by mmap from disk, the
/// resident size one by mmap from the page cache, `write_bytes` a download.
pub(super) fn progress(pid: i32, resident: u64) -> Progress {
    let io = std::fs::read(format!("/proc/{pid}/io")).unwrap_or_default();
    let moved = ["rchar:", "read_bytes:", "write_bytes:"].map(|key| number_after(&io, key));
    Progress(moved.into_iter().fold(resident, u64::saturating_add))
}

/// When this machine was booted, by its present wall clock, in whole seconds.
pub(super) fn boot_time() -> io::Result<Timestamp> {
    let stat = std::fs::read("/proc/stat")?;
    match number_after(&stat, "btime ") {
        0 => Err(io::Error::new(io::ErrorKind::InvalidData, "/proc/stat has no btime")),
        seconds => Ok(Timestamp(i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX))),
    }
}

/// The wall-clock time of `start_ticks`; up to a second early, as
/// [`boot_time`] is.
pub(super) fn started_at(boot: Timestamp, start_ticks: u64) -> Timestamp {
    boot.plus(std::time::Duration::from_millis(start_ticks.saturating_mul(1000 / TICKS_PER_SECOND)))
}

/// The number after the first line that begins with `key`; 0 without one.
fn number_after(text: &[u8], key: &str) -> u64 {
    let line = text.split(|&b| b == b'\n').find_map(|line| line.strip_prefix(key.as_bytes()));
    let word = line.and_then(|rest| std::str::from_utf8(rest).ok()?.split_ascii_whitespace().next());
    word.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Reads `bytes` as every file of `/proc/PID` there is a reader for.
#[cfg(test)]
pub(super) fn hostile(bytes: &[u8]) {
    let _ = Stat::parse(bytes);
    for key in ["rchar:", "VmRSS:", "btime "] {
        let _ = number_after(bytes, key);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn stat(command: &str) -> Vec<u8> {
        format!("42 ({command}) S 1 40 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 14 0 987654 100 200 0").into_bytes()
    }

    #[test]
    fn a_process_may_call_itself_anything() {
        for name in ["llama-server", "a b", "a) R 9 9 9 (b", ")", "", "\u{fffd}\n"] {
            let read = Stat::parse(&stat(name)).unwrap();
            assert_eq!(
                read,
                Stat { state: b'S', parent: 1, session: 41, flags: 4_194_560, threads: 14, start_ticks: 987_654 },
                "{name:?}"
            );
        }
        let mut broken = stat("x");
        broken[4] = 0xff;
        assert_eq!(Stat::parse(&broken).unwrap().session, 41);
    }

    #[test]
    fn a_cut_line_is_no_stat() {
        assert_eq!(Stat::parse(b"42 (x) S 1 40 41 0 -1"), None);
        assert_eq!(Stat::parse(b"42 (x"), None);
        assert_eq!(Stat::parse(b""), None);
    }

    #[test]
    fn a_zombie_is_dead_and_a_sleeper_is_not() {
        assert!(!Stat::parse(&stat("x")).unwrap().is_dead());
        let dying = String::from_utf8(stat("x")).unwrap().replace(" S ", " Z ");
        assert!(!Stat::parse(dying.as_bytes()).unwrap().is_dead(), "13 of its threads are left");
        let zombie = dying.replace(" 0 14 0 ", " 0 1 0 ");
        assert!(Stat::parse(zombie.as_bytes()).unwrap().is_dead());
    }

    #[test]
    fn this_very_process_is_alive_under_its_own_start_time_only() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let ticks = Stat::of(pid).unwrap().unwrap().start_ticks;
        assert!(is_alive(pid, ticks).unwrap());
        assert!(!is_alive(pid, ticks + 1).unwrap());
    }

    #[test]
    fn it_started_in_the_last_hour_and_has_moved_and_holds_bytes() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = started_at(boot_time().unwrap(), Stat::of(pid).unwrap().unwrap().start_ticks);
        let now = Timestamp(i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap());
        assert!(started <= now && now.since(started).as_secs() < 3600, "{started:?} {now:?}");
        assert!(resident(pid) > 100_000);
        assert!(progress(pid, 5).0 > 5);
    }

    #[test]
    fn numbers_are_found_by_their_key_at_the_start_of_a_line() {
        let io = b"rchar: 10\nwchar: 7\nxread_bytes: 1\nread_bytes: 20\nwrite_bytes: x\n";
        assert_eq!(number_after(io, "read_bytes:"), 20);
        assert_eq!(number_after(io, "write_bytes:"), 0);
        assert_eq!(number_after(io, "none:"), 0);
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Stat::parse(&line);
            let _ = number_after(&line, "a");
        }
    }
}
