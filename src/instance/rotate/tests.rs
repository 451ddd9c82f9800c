//! Rotation of real files: on the temporary directory (whose file system can
//! mostly collapse) and in shared memory (which can punch).
#![allow(clippy::unwrap_used, reason = "tests")]

mod reading;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

/// The least that is not raised.
const MAX: u64 = Rotation::LEAST_BYTES;

/// A directory with one log, `m.log`, and the removal used there.
struct Logs(TempDir, Removal);

impl Logs {
    /// Every place to test in with every removal that works there.
    fn each() -> Vec<Self> {
        let places = [std::env::temp_dir(), PathBuf::from("/dev/shm")];
        let mut each = Vec::new();
        for removal in [Removal::Collapse, Removal::Punch] {
            let before = each.len();
            each.extend(places.iter().filter_map(|place| Self::at(place, removal)));
            assert!(each.len() > before, "{removal:?} works in none of {places:?}: set TMPDIR to where it does");
        }
        each
    }

    fn any() -> Self {
        Self::each().remove(0)
    }

    fn at(place: &Path, removal: Removal) -> Option<Self> {
        let logs = Self(TempDir::with_prefix_in("herdsman-test-", place).ok()?, removal);
        logs.append(b"");
        Removal::choose(&[removal], &logs.rotated(), &logs.live()).is_ok().then_some(logs)
    }

    /// Another log of the same kind.
    fn again(&self) -> Self {
        Self::at(self.0.path().parent().unwrap(), self.1).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn append(&self, bytes: &[u8]) {
        OpenOptions::new().append(true).create(true).open(self.path("m.log")).unwrap().write_all(bytes).unwrap();
    }

    fn live(&self) -> Live {
        Live::open(&self.path("m.log")).unwrap().unwrap()
    }

    fn rotated(&self) -> Rotated {
        Rotated::new(self.0.path(), "m.log")
    }

    fn rotate(&self, keep: u32) {
        let errors = rotate_by(&[self.1], self.0.path(), &Rotation { max_bytes: MAX, keep });
        assert!(errors.is_empty(), "{errors:?}");
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(self.0.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Every line, oldest first, without herdsman's own and without holes.
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let numbers = (0..100).rev().map(|number| format!("m.log.{number}"));
        for name in numbers.chain(["m.log".to_owned()]) {
            let text = fs::read(self.path(&name)).unwrap_or_default();
            let text = String::from_utf8(text).unwrap();
            let text = text.trim_start_matches('\0');
            assert!(text.is_empty() || text.ends_with('\n'), "{name} ends in half a line");
            let own = |line: &&str| line.trim().is_empty() || line.starts_with("herdsman: ");
            lines.extend(text.lines().filter(|line| !own(line)).map(str::to_owned));
        }
        lines
    }
}

/// Lines of different lengths, told apart by their numbers, of `bytes` or a
/// little more.
fn lines(bytes: u64) -> Vec<String> {
    let mut length = 0;
    let line = |number: usize| format!("{number:07} {}", "x".repeat(number * 7919 % 200));
    (0..)
        .map(line)
        .take_while(|line| {
            let more = length < bytes;
            length += line.len() as u64 + 1;
            more
        })
        .collect()
}

fn text(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect()
}

#[test]
fn what_was_written_is_found_once_and_in_order_and_no_file_is_too_long() {
    for logs in Logs::each() {
        let written = lines(10 * MAX);
        for some in written.chunks(700) {
            logs.append(&text(some));
            logs.rotate(50);
            let live = logs.live();
            assert!(live.held() <= MAX, "{live:?}");
        }
        assert_eq!(logs.lines(), written);
        let names = logs.names();
        assert!(names.len() > 10, "{names:?}");
        for name in &names {
            let metadata = fs::metadata(logs.path(name)).unwrap();
            assert!(metadata.blocks() * 512 <= MAX + 8192, "{name} takes {} blocks", metadata.blocks());
        }
        let before = (names, logs.live().held());
        logs.rotate(50);
        assert_eq!((logs.names(), logs.live().held()), before, "nothing is left to do");
    }
}

#[test]
fn a_log_that_grew_by_many_times_its_size_keeps_the_latest_lines() {
    for logs in Logs::each() {
        let written = lines(20 * MAX);
        logs.append(&text(&written));
        logs.rotate(3);
        assert_eq!(logs.names(), ["m.log", "m.log.1", "m.log.2", "m.log.3"]);
        let kept = logs.lines();
        assert!(written.ends_with(&kept));
        assert!(text(&kept).len() as u64 > 2 * MAX, "{} bytes", text(&kept).len());
        let mode = |name: &String| fs::metadata(logs.path(name)).unwrap().permissions().mode() & 0o777;
        assert!(logs.names()[1..].iter().all(|name| mode(name) == 0o600));
    }
}

#[test]
fn at_least_an_eighth_stays_and_the_beginning_says_where_the_rest_is() {
    for logs in Logs::each() {
        logs.append(&text(&lines(MAX + 1)));
        logs.rotate(3);
        let live = fs::read(logs.path("m.log")).unwrap();
        let live: Vec<u8> = live.into_iter().skip_while(|byte| *byte == 0).collect();
        assert!(live.len() as u64 >= MAX / 8, "{}", live.len());
        let first = String::from_utf8_lossy(&live).lines().next().unwrap().trim_end().to_owned();
        assert!(["", "herdsman: older lines are in m.log.1"].contains(&&*first), "{first}");
    }
}

#[test]
fn with_none_to_keep_older_lines_are_dropped_and_fewer_to_keep_drops_the_oldest() {
    for logs in Logs::each() {
        let written = lines(6 * MAX);
        logs.append(&text(&written));
        logs.rotate(5);
        assert_eq!(logs.names().len(), 6);
        logs.append(&text(&lines(MAX)));
        logs.rotate(2);
        assert_eq!(logs.names(), ["m.log", "m.log.1", "m.log.2"]);
        logs.append(&text(&written));
        logs.rotate(0);
        assert_eq!(logs.names(), ["m.log"]);
        assert!(written.ends_with(&logs.lines()) && !logs.lines().is_empty());
        assert!(fs::read_to_string(logs.path("m.log")).unwrap().contains("herdsman: older lines were dropped"));
    }
}

/// The first `count` steps of a rotation while there are `.1` and `.2`.
fn take_steps(logs: &Logs, count: usize) {
    let (mut live, rotated) = (logs.live(), logs.rotated());
    let part = live.part(MAX / 8 * 7).unwrap();
    let rename = |from, to| fs::rename(rotated.numbered(from), rotated.numbered(to)).unwrap();
    let steps: [&dyn Fn(&mut Live); 8] = [
        &|_| fs::write(rotated.unfinished(), "half a co").unwrap(),
        &|live| rotated.copy(live, part).unwrap(),
        &|_| rotated.name_copy().unwrap(),
        &|live| live.blank(part, &rotated.note(true)).unwrap(),
        &|live| live.remove(part, logs.1).unwrap(),
        &|_| rename(2, 3),
        &|_| rename(1, 2),
        &|_| rename(0, 1),
    ];
    steps.iter().take(count).for_each(|step| step(&mut live));
}

#[test]
fn a_rotation_killed_between_any_two_steps_is_ended_by_the_next_call() {
    let written = lines(13 * MAX / 2);
    let [first, second, little, much] = [5, 7, 8, 13].map(|halves| lines(halves * MAX / 2).len());
    for place in Logs::each() {
        for (killed_after, end) in (0..=8).flat_map(|step| [second, little, much].map(|end| (step, end))) {
            let logs = place.again();
            let (written, since) = (&written[..end], &written[second..end]);
            let (first, second) = written[..second].split_at(first);
            logs.append(&text(first));
            logs.rotate(9);
            assert_eq!(logs.names(), ["m.log", "m.log.1", "m.log.2"]);
            logs.append(&text(second));
            take_steps(&logs, killed_after);
            logs.append(&text(since));
            logs.rotate(9);
            let context = format!("{:?}, killed after step {killed_after}, then {} lines", logs.1, since.len());
            assert!(logs.lines() == written, "{context}: {} of {} lines", logs.lines().len(), written.len());
            assert!(logs.live().held() <= MAX, "{context}");
            assert!(!logs.names().iter().any(|name| name.contains(".log.0")), "{context}: {:?}", logs.names());
        }
    }
}

#[test]
fn no_more_than_the_oldest_part_is_replaced_when_a_shift_was_cut_short() {
    let logs = Logs::any();
    let rotated = logs.rotated();
    for number in 1..=3 {
        fs::write(rotated.numbered(number), format!("part {number}\n")).unwrap();
    }
    fs::write(rotated.numbered(0), "part 0\n").unwrap();
    fs::rename(rotated.numbered(2), rotated.numbered(3)).unwrap();
    logs.append(b"live\n");
    logs.rotate(3);
    assert_eq!(logs.lines(), ["part 2", "part 1", "part 0", "live"].map(str::to_owned)[..]);
}

#[test]
fn a_copy_whose_log_was_deleted_is_kept() {
    let logs = Logs::any();
    fs::write(logs.rotated().numbered(0), "last words\n").unwrap();
    fs::remove_file(logs.path("m.log")).unwrap();
    logs.rotate(3);
    assert_eq!(logs.names(), ["m.log.1"]);
    assert_eq!(logs.lines(), ["last words"]);
}

#[test]
fn a_log_without_newlines_is_cut_and_none_of_its_bytes_is_lost() {
    for logs in Logs::each() {
        let junk: Vec<u8> = (0..5 * MAX).map(|i| (i * i % 251) as u8).map(|b| if b == b'\n' { 0 } else { b }).collect();
        let junk = [b"x", &junk[..]].concat();
        logs.append(&junk);
        logs.rotate(9);
        assert!(logs.live().held() <= MAX);
        let numbers = (1..10).rev().map(|number| format!("m.log.{number}"));
        let parts: Vec<u8> = numbers.flat_map(|name| fs::read(logs.path(&name)).unwrap_or_default()).collect();
        let live = fs::read(logs.path("m.log")).unwrap();
        let hole = live.len() as u64 - logs.live().held();
        assert!([&parts, &live[usize::try_from(hole).unwrap()..]].concat() == junk);
    }
}

#[test]
fn what_is_no_regular_log_is_left_alone() {
    let logs = Logs::any();
    let outside = TempDir::with_prefix("herdsman-test-").unwrap();
    let target = outside.path().join("target");
    let long = text(&lines(3 * MAX));
    fs::write(&target, &long).unwrap();
    symlink(&target, logs.path("link.log")).unwrap();
    fs::create_dir(logs.path("folder.log")).unwrap();
    fs::write(logs.path("notes.txt"), &long).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        logs.path("fifo.log"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let names = logs.names();
    logs.rotate(3);
    assert_eq!(logs.names(), names);
    assert_eq!(fs::read(&target).unwrap(), long);
    // Also where a copy of it seems to wait.
    fs::write(logs.path("link.log.0"), &long[..MAX as usize]).unwrap();
    let errors = rotate(logs.0.path(), &Rotation { max_bytes: MAX, keep: 3 });
    assert!(matches!(&errors[..], [RotateError::Io { .. }]), "{errors:?}");
    assert_eq!(fs::read(&target).unwrap(), long);
}

#[test]
fn no_directory_of_logs_is_no_error_and_one_that_is_a_file_is() {
    let logs = Logs::any();
    assert!(rotate(&logs.path("none"), &Rotation::default()).is_empty());
    logs.append(b"x\n");
    let errors = rotate(&logs.path("m.log"), &Rotation::default());
    assert!(matches!(&errors[..], [RotateError::Directory { .. }]), "{errors:?}");
}

#[test]
fn errors_name_the_log_the_file_and_the_next_step() {
    let logs = Logs::any();
    logs.append(&text(&lines(2 * MAX)));
    fs::create_dir(logs.path("m.log.0.new")).unwrap();
    let before = logs.lines();
    let errors = rotate(logs.0.path(), &Rotation { max_bytes: MAX, keep: 3 });
    let said = errors.iter().map(ToString::to_string).collect::<String>();
    assert!(said.contains("m.log:") && said.contains("m.log.0.new") && said.contains("the log grows"), "{said}");
    assert_eq!(logs.lines(), before);
}

#[test]
fn where_nothing_can_be_removed_nothing_is_copied_and_the_log_grows() {
    let logs = Logs::any();
    let written = lines(3 * MAX);
    logs.append(&text(&written));
    let errors = rotate_by(&[], logs.0.path(), &Rotation { max_bytes: MAX, keep: 3 });
    assert!(matches!(&errors[..], [RotateError::Unsupported { .. }]), "{errors:?}");
    assert!(errors[0].to_string().contains("--state-dir"), "{}", errors[0]);
    assert_eq!((logs.names(), logs.lines()), (vec!["m.log".to_owned()], written));
}
