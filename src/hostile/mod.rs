//! Hostile input: whatever reads what others wrote is given mutations of real
//! files, and must answer without a panic, in time and within a bound of
//! memory.
//!
//! ```text
//! tests/corpus/TARGET/*  -- as they are ----------> reader   panic? time? memory?
//!        '-- mutate(seed), seed = FIRST, FIRST+1 … --^            |
//!                        target/hostile/TARGET-SEED  <- smaller --'  a case to keep
//! ```
//!
//! The cases depend on the seeds and the corpus alone. `HERDSMAN_FUZZ_CASES` says how many a
//! target gets (plain `cargo test`: a few seconds in all), `HERDSMAN_FUZZ_SEED`
//! which is the first. CONTRIBUTING.md tells how to keep a case.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod memory;
mod mutate;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

pub use memory::peak_of;
use mutate::{mutate, seeds};

/// The stack readers get: what Rust gives to any thread but the first.
const STACK: usize = 2 << 20;

/// The longest a failing case is made smaller.
const SHRINKING: Duration = Duration::from_secs(20);

/// What a reader is given, and what it may take for it.
pub struct Target {
    /// The folder of its corpus.
    pub name: &'static str,
    /// Words its format knows.
    pub words: &'static [&'static [u8]],
    /// Mutations in plain `cargo test`.
    pub cases: u64,
    /// The longest input made, bytes.
    pub longest: usize,
    /// Processor time for one input. Debug builds on a busy machine are slow:
    /// this is to tell quadratic from linear, not to measure.
    pub time: Duration,
    /// Bytes it may hold at once, whatever the input.
    pub memory: usize,
    /// … and for each byte of it.
    pub memory_per_byte: usize,
}

impl Default for Target {
    fn default() -> Self {
        Self {
            name: "",
            words: &[],
            cases: 1_000,
            longest: 64 << 10,
            time: Duration::from_secs(2),
            memory: 1 << 20,
            memory_per_byte: 64,
        }
    }
}

/// The files of a corpus, by name.
pub fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", dir.display());
    files
}

/// Gives `reader` the corpus of `target` and mutations of it.
///
/// # Panics
/// The reader panics, takes too long or too much: says with what seed, and
/// where the input lies.
pub fn survives(target: Target, reader: impl Fn(&[u8]) + Send + Sync + 'static) {
    let hunt = Arc::new(Hunt::new(target, Box::new(reader)));
    let hunter = Arc::clone(&hunt);
    let name = hunt.target.name;
    let thread = thread::Builder::new().name(name.to_owned()).stack_size(STACK);
    let thread = thread.spawn(move || hunter.run()).unwrap();
    // A reader that hangs is found from outside: its thread cannot be ended.
    let patience = hunt.target.time * 10 + Duration::from_secs(20);
    let (mut seen, mut since) = (u64::MAX, Instant::now());
    while !thread.is_finished() {
        let now = hunt.finished.load(Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
        assert!(since.elapsed() < patience, "{name} hangs at {}", fs::read_to_string(&hunt.mark).unwrap());
        thread::sleep(Duration::from_millis(5));
    }
    let failure = thread.join().unwrap();
    fs::remove_file(&hunt.mark).unwrap();
    if let Some(failure) = failure {
        panic!("{failure}");
    }
}

/// What reads the input, and says by a panic what is wrong with the result.
type Reader = Box<dyn Fn(&[u8]) + Send + Sync>;

/// One target while it is given its cases.
struct Hunt {
    target: Target,
    reader: Reader,
    corpus: Vec<(String, Vec<u8>)>,
    /// Cases that are over.
    finished: AtomicU64,
    /// Holds the name of the case that runs, for who ends the whole process (a
    /// stack overflow does).
    mark: PathBuf,
}

impl Hunt {
    fn new(target: Target, reader: Reader) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/hostile");
        fs::create_dir_all(&dir).unwrap();
        // Several tests may hunt for one target.
        static HUNTS: AtomicU64 = AtomicU64::new(0);
        let number = HUNTS.fetch_add(1, Relaxed);
        let mark = dir.join(format!("{}.{}.{number}.running", target.name, std::process::id()));
        Self { corpus: corpus(target.name), target, reader, finished: AtomicU64::new(0), mark }
    }

    /// Every case; the first failure, if there is one.
    fn run(&self) -> Option<String> {
        let mark = File::create(&self.mark).unwrap();
        let begins = |case: &str| mark.write_all_at(format!("{case:<60}\n").as_bytes(), 0).unwrap();
        for (name, input) in &self.corpus {
            begins(name);
            if let Some(what) = self.fault(input) {
                return Some(format!("{} with tests/corpus/{0}/{name}: {what}", self.target.name));
            }
        }
        for seed in seeds(self.target.cases) {
            begins(&format!("HERDSMAN_FUZZ_SEED={seed}"));
            let input = self.input(seed);
            if let Some(what) = self.fault(&input) {
                return Some(self.keep(seed, input, &what));
            }
        }
        None
    }

    /// The input of one seed.
    fn input(&self, seed: u64) -> Vec<u8> {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut one = || &self.corpus[rng.usize(0..self.corpus.len())].1;
        let (base, other) = (one(), one());
        mutate(&mut rng, base, other, self.target.words, self.target.longest)
    }

    /// What is wrong with how the reader takes this input.
    fn fault(&self, input: &[u8]) -> Option<String> {
        let begun = cpu_time();
        let (result, peak) = peak_of(|| catch_unwind(AssertUnwindSafe(|| (self.reader)(input))));
        let took = cpu_time().saturating_sub(begun);
        self.finished.fetch_add(1, Relaxed);
        let Target { time, memory, memory_per_byte, .. } = self.target;
        if result.is_err() {
            Some("panics".to_owned())
        } else if took > time {
            Some(format!("takes {took:?} for {} bytes", input.len()))
        } else if peak > memory + memory_per_byte * input.len() {
            Some(format!("holds {} KiB for {} bytes", peak >> 10, input.len()))
        } else {
            None
        }
    }

    /// Makes a failing input smaller and writes it out; what to tell.
    fn keep(&self, seed: u64, mut input: Vec<u8>, what: &str) -> String {
        let begun = Instant::now();
        let mut size = input.len() / 2;
        while size > 0 && begun.elapsed() < SHRINKING {
            let mut at = 0;
            while at < input.len() && begun.elapsed() < SHRINKING {
                let mut less = input.clone();
                less.drain(at..input.len().min(at + size));
                if self.fault(&less).is_some() {
                    input = less;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        let now = self.fault(&input).unwrap_or_else(|| what.to_owned());
        let file = self.mark.with_file_name(format!("{}-{seed}", self.target.name));
        fs::write(&file, &input).unwrap();
        format!(
            "{name} {what}: HERDSMAN_FUZZ_SEED={seed} HERDSMAN_FUZZ_CASES=1; made smaller ({now}): \
             target/hostile/{name}-{seed}, to be kept in tests/corpus/{name}/",
            name = self.target.name
        )
    }
}

/// What this thread has used of a processor.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec this thread may write to.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(done, 0);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

mod tests {
    use super::*;

    #[test]
    fn a_bound_that_is_passed_is_told() {
        let seen = |reader: fn(&[u8])| {
            let target = Target {
                name: "complaint",
                cases: 0,
                memory: 1 << 20,
                time: Duration::from_millis(20),
                ..Target::default()
            };
            let panic = std::panic::catch_unwind(|| survives(target, reader)).unwrap_err();
            panic.downcast_ref::<String>().unwrap().clone()
        };
        assert!(seen(|_| panic!("on purpose")).contains("panics"));
        assert!(seen(|_| drop(vec![1_u8; 2 << 20])).contains("holds"));
        let busy = |_: &[u8]| {
            let begun = cpu_time();
            while cpu_time().saturating_sub(begun) < Duration::from_millis(50) {}
        };
        assert!(seen(busy).contains("takes"));
    }
}
