//! On real files: in the temporary directory, and in shared memory.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::shorten::{Kernel, limit_by};
use super::*;
use crate::model::{Timestamp, log_path};

/// The least that a person can ask for.
const MAX: u64 = LogLimits::LEAST_BYTES;

struct Logs(TempDir);

impl Logs {
    /// On a disk, mostly, and in shared memory.
    fn each() -> impl Iterator<Item = Self> {
        let places = [std::env::temp_dir(), PathBuf::from("/dev/shm")];
        places.into_iter().map(|place| Self(TempDir::with_prefix_in("herdsman-test-", place).unwrap()))
    }

    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The file of the instance that starts `second` seconds after the epoch.
    fn path(&self, second: i64) -> PathBuf {
        log_path(self.0.path(), &model(), &id(second), Timestamp(second * 1000))
    }

    /// A file that is open for appending, as a server has it.
    fn server(&self, second: i64) -> File {
        let path = self.path(second);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        OpenOptions::new().append(true).create(true).open(path).unwrap()
    }

    fn earlier(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn limit(&self, keep: u32) {
        let problems = limit(self.0.path(), &LogLimits { max_bytes: MAX, keep });
        assert!(problems.is_empty(), "{problems:?}");
    }

    /// Limits until the first line kept is one of these. A child of another test has
    /// every file open, too, from its fork to its exec.
    #[track_caller]
    fn limit_until_first_is(&self, lines: std::ops::Range<usize>) {
        let begun = Instant::now();
        loop {
            self.limit(0);
            let kept = self.numbers();
            if lines.contains(kept.start()) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(10), "{kept:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn reader(&self, part: Part, lines: Option<u64>) -> LogReader {
        LogReader::open(self.0.path(), &model(), part, lines).unwrap().unwrap()
    }

    fn text(&self, part: Part, lines: Option<u64>) -> String {
        let mut reader = self.reader(part, lines);
        let mut text = all(|| reader.read());
        text.push_str(&all(|| reader.rest()));
        text
    }

    /// The numbers of the lines that are kept, without gaps.
    fn numbers(&self) -> std::ops::RangeInclusive<usize> {
        let text = self.text(Part::Whole, None);
        let numbers: Vec<usize> = text.lines().map(|line| line[..8].parse().unwrap()).collect();
        assert!(numbers.windows(2).all(|two| two[0] + 1 == two[1]), "a line is missing");
        numbers[0]..=numbers[numbers.len() - 1]
    }
}

fn model() -> ModelName {
    ModelName::parse("m").unwrap()
}

fn id(second: i64) -> InstanceId {
    InstanceId(format!("{second:08x}-0000-4000-8000-000000000000"))
}

fn all(mut read: impl FnMut() -> io::Result<Vec<u8>>) -> String {
    let mut text = Vec::new();
    loop {
        match read().unwrap() {
            lines if lines.is_empty() => return String::from_utf8(text).unwrap(),
            lines => text.extend(lines),
        }
    }
}

/// Lines of 100 bytes.
fn lines(numbers: std::ops::Range<usize>) -> Vec<u8> {
    numbers.flat_map(|number| format!("{number:08} {:>90}\n", "x").into_bytes()).collect()
}

fn on_disk(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.blocks() * 512)
}

#[test]
fn each_instance_has_a_file_and_an_instance_of_an_earlier_version_the_old_one() {
    let logs = Logs::new();
    drop((logs.server(1), logs.server(2)));
    fs::create_dir(logs.0.path().join("lost+found")).unwrap();
    assert_eq!(models(logs.0.path()).unwrap().into_keys().collect::<Vec<_>>(), ["m"]);
    assert_eq!(logs.path(1), logs.0.path().join("m/1970-01-01T000001.000Z-00000001.log"));
    let of = |second| of_instance(logs.0.path(), &model(), &id(second));
    assert_eq!((of(1).path, of(1).shared), (logs.path(1), false));
    assert_eq!((of(3).path, of(3).shared), (logs.0.path().join("m.log"), true));
    let newest = || newest(logs.0.path(), &model());
    logs.earlier("m.log", "older\n");
    assert_eq!(newest().unwrap(), logs.path(2));
    fs::remove_dir_all(logs.0.path().join("m")).unwrap();
    assert_eq!(newest().unwrap(), logs.0.path().join("m.log"));
    fs::remove_file(logs.0.path().join("m.log")).unwrap();
    assert_eq!(newest().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn the_oldest_lines_go_first_and_a_running_server_keeps_its_last() {
    for logs in Logs::each() {
        logs.server(1).write_all(&lines(0..1000)).unwrap();
        let running = logs.server(2);
        (&running).write_all(&lines(1000..4000)).unwrap();
        logs.limit(3);
        assert_eq!(*logs.numbers().start(), 0, "400 KB are within 512 KiB");
        logs.limit(2);
        assert!((1..200).contains(logs.numbers().start()), "the head of a dead server's file is freed");
        logs.limit(1);
        assert!(!logs.path(1).exists());
        assert!((1300..1500).contains(logs.numbers().start()), "{:?}", logs.numbers());
        logs.limit(0);
        assert!(on_disk(&logs.path(2)) <= MAX + 4096);
        let kept = logs.numbers();
        assert!((2600..2750).contains(kept.start()) && *kept.end() == 3999, "{kept:?}");

        (&running).write_all(&lines(4000..5000)).unwrap();
        logs.server(3).write_all(&lines(5000..6000)).unwrap();
        logs.limit(0);
        assert!((3600..3750).contains(logs.numbers().start()), "both keep theirs: {:?}", logs.numbers());
        drop(running);
        logs.limit_until_first_is(4600..4750);
    }
}

#[test]
fn a_model_that_crashes_again_and_again_has_a_bounded_number_of_files() {
    let logs = Logs::new();
    (0..400).for_each(|second| logs.server(second).write_all(b"crashed\n").unwrap());
    logs.limit(0);
    assert_eq!(own(logs.0.path(), "m").unwrap().len(), 32);
    assert!(logs.path(399).exists() && !logs.path(0).exists());
}

#[test]
fn where_the_kernel_cannot_tell_who_writes_only_the_log_of_a_process_is_kept() {
    let logs = Logs::new();
    let refused = Kernel { ask: |_| Err(Errno::INVAL.into()), ..Kernel::REAL };
    let mut server = std::process::Command::new("sleep").arg("60").stdout(logs.server(0)).spawn().unwrap();
    (1..100).for_each(|second| logs.server(second).write_all(b"crashed\n").unwrap());
    let problems = limit_by(refused, logs.0.path(), &LogLimits { max_bytes: MAX, keep: 0 });
    let (ended, left) = (server.kill(), own(logs.0.path(), "m").unwrap());
    server.wait().unwrap();
    ended.unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    assert!(left.len() == 32 && left.contains(&logs.path(0)) && left.contains(&logs.path(99)), "{left:?}");

    let of_another_user = Kernel { ask: |_| Err(Errno::ACCESS.into()), ..Kernel::REAL };
    (100..200).for_each(|second| logs.server(second).write_all(b"crashed\n").unwrap());
    let problems = limit_by(of_another_user, logs.0.path(), &LogLimits { max_bytes: MAX, keep: 0 });
    assert!(problems.len() == 1 && problems[0].to_string().contains("cannot tell whether"), "{problems:?}");
    assert_eq!(own(logs.0.path(), "m").unwrap().len(), 132);
}

#[test]
fn an_earlier_log_in_the_place_of_a_directory_goes_unless_its_server_writes() {
    let logs = Logs::new();
    let directory = logs.0.path().join("x.log");
    let old_server = File::create(&directory).unwrap();
    let said = make_directory(&directory).unwrap_err().to_string();
    assert!(said.contains("still writes to") && directory.is_file(), "{said}");
    drop(old_server);
    make_directory(&directory).unwrap();
    make_directory(&directory).unwrap();
    assert!(directory.is_dir());
    assert_eq!(newest(logs.0.path(), &ModelName::parse("x").unwrap()).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn what_an_earlier_version_left_is_the_oldest_and_goes_only_when_its_server_is_gone() {
    let logs = Logs::new();
    let text = |numbers| String::from_utf8(lines(numbers)).unwrap();
    for (name, numbers) in [("m.log.10", 0..500), ("m.log.2", 500..1000), ("m.log.1", 1000..1500)] {
        logs.earlier(name, &text(numbers));
    }
    logs.earlier("m.log.0.new", "half a copy");
    let old_server = OpenOptions::new().append(true).create(true).open(logs.0.path().join("m.log")).unwrap();
    (&old_server).write_all(&lines(1500..3000)).unwrap();
    logs.server(1).write_all(&lines(3000..3500)).unwrap();
    assert_eq!(logs.numbers(), 0..=3499);
    assert_eq!(logs.text(Part::Previous, None).as_bytes(), lines(1500..3000));
    logs.limit(0);
    let names = || models(logs.0.path()).unwrap()["m"].clone();
    assert_eq!(names(), [logs.0.path().join("m.log")]);
    assert!((1500..1800).contains(logs.numbers().start()), "{:?}", logs.numbers());
    assert!(!logs.0.path().join("m.log.0.new").exists());
    drop(old_server);
    logs.server(2).write_all(&lines(3500..4900)).unwrap();
    logs.limit(0);
    assert!(names().is_empty(), "{:?}", names());
    assert!((3400..3700).contains(logs.numbers().start()), "{:?}", logs.numbers());
}

#[test]
fn where_no_hole_can_be_punched_a_running_servers_log_grows_and_that_is_said() {
    let logs = Logs::new();
    let unable = Kernel { free: |_, _| Err(Errno::OPNOTSUPP), ..Kernel::REAL };
    let limit = |keep| limit_by(unable, logs.0.path(), &LogLimits { max_bytes: MAX, keep });
    logs.server(1).write_all(&lines(0..2000)).unwrap();
    let running = logs.server(2);
    (&running).write_all(&lines(2000..3000)).unwrap();
    assert!(limit(1).len() == 1 && logs.path(1).exists(), "little would be left without it");
    (&running).write_all(&lines(3000..4000)).unwrap();
    assert!(limit(1).is_empty() && !logs.path(1).exists());
    let said: Vec<String> = limit(0).iter().map(ToString::to_string).collect();
    assert!(said.len() == 1 && said[0].contains("cannot free the head of a file, so the log grows"), "{said:?}");
    assert_eq!(logs.numbers(), 2000..=3999);
}

#[test]
fn the_last_lines_come_from_as_many_files_as_it_takes() {
    let logs = Logs::new();
    logs.server(1).write_all(b"a\nb\nnot ended").unwrap();
    let running = logs.server(2);
    (&running).write_all(b"c\nd").unwrap();
    let last = |count| logs.text(Part::Whole, Some(count));
    assert_eq!([0, 1, 2, 3].map(last), ["", "d\n", "c\nd\n", "not ended\nc\nd\n"]);
    assert_eq!((last(5), last(99)), ("a\nb\nnot ended\nc\nd\n".into(), logs.text(Part::Whole, None)));
    assert_eq!(logs.text(Part::Previous, Some(2)), "b\nnot ended\n");
}

#[test]
fn whoever_follows_reads_whole_lines_of_all_servers_and_of_new_ones() {
    let logs = Logs::new();
    let (one, two) = (logs.server(1), logs.server(2));
    (&one).write_all(b"a\nbe").unwrap();
    let mut reader = logs.reader(Part::Whole, None);
    assert_eq!(all(|| reader.read()), "a\n");
    (&two).write_all(b"c\n").unwrap();
    assert_eq!(all(|| reader.read_on()), "c\n");
    (&one).write_all(b"gun\n").unwrap();
    (&two).write_all(b"d\nnot ended").unwrap();
    assert_eq!(all(|| reader.read_on()), "begun\nd\n");
    fs::remove_file(logs.path(2)).unwrap();
    drop(two);
    assert_eq!(all(|| reader.read_on()), "not ended\n", "the server is gone");
    let three = logs.server(3);
    (&three).write_all(b"e\n").unwrap();
    assert_eq!(all(|| reader.read_on()), "e\n");
    fs::remove_dir_all(logs.0.path().join("m")).unwrap();
    (&three).write_all(b"f\n").unwrap();
    assert_eq!(all(|| reader.read_on()), "f\n");
    three.set_len(0).unwrap();
    (&three).write_all(b"g\n").unwrap();
    assert_eq!(all(|| reader.read_on()), "g\n", "somebody emptied it");
}

#[test]
fn whoever_follows_from_the_last_line_reads_on_in_the_logs_before_it() {
    let logs = Logs::new();
    let (one, two) = (logs.server(1), logs.server(2));
    (&one).write_all(b"a\n").unwrap();
    (&two).write_all(b"b\n").unwrap();
    let mut reader = logs.reader(Part::Whole, Some(1));
    assert_eq!(all(|| reader.read()), "b\n");
    (&one).write_all(b"c\n").unwrap();
    assert_eq!(all(|| reader.read_on()), "c\n");
    (&two).write_all(b"d\n").unwrap();
    assert_eq!(all(|| reader.read_on()), "d\n");
}

#[test]
fn a_reader_that_is_overtaken_goes_on_with_a_whole_line() {
    for logs in Logs::each() {
        let server = logs.server(1);
        (&server).write_all(&lines(0..100)).unwrap();
        let mut reader = logs.reader(Part::Whole, Some(1));
        assert_eq!(all(|| reader.read()).as_bytes(), lines(99..100));
        (&server).write_all(&lines(100..4000)).unwrap();
        logs.limit(0);
        let text = all(|| reader.read_on());
        let first: usize = text[..8].parse().unwrap();
        assert!(first > 2500 && text.as_bytes() == lines(first..4000), "{first}");
    }
}
