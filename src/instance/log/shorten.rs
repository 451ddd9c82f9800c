//! Keeps the logs of each model within their limits, the oldest lines first.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::Errno;

use super::{AskLease, ask_lease, hole_end, is_written_by, models, own};
use crate::sys::failpoint::{Point, reach};

/// How much is kept of the logs of each model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLimits {
    /// A server that runs, and the last one, keep at least so many of their last bytes.
    pub max_bytes: u64,
    /// All logs of a model together hold at most `max_bytes`, and this many
    /// times as much of older lines.
    pub keep: u32,
}

impl LogLimits {
    /// The least `max_bytes` that makes sense of a log.
    pub const LEAST_BYTES: u64 = 128 << 10;

    /// How many bytes a short file counts as, at least. It bounds how many
    /// files a model has that crashes again and again: 128, by default.
    const fn least_count(&self) -> u64 {
        self.max_bytes / 32
    }

    fn total(&self) -> u64 {
        self.max_bytes.saturating_mul(u64::from(self.keep) + 1)
    }
}

impl Default for LogLimits {
    /// 10 MB (10,000,000 bytes), and three times as much of older lines.
    fn default() -> Self {
        Self { max_bytes: 10_000_000, keep: 3 }
    }
}

/// The logs of a model are longer than they should be. Nothing is lost, and the
/// next call tries again.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file or directory cannot be used.
    #[error("cannot shorten the logs: {action} {}: {source}; logs grow until that works", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file system cannot punch a hole.
    #[error(
        "cannot shorten the log {}: its file system cannot free the head of a file, so the log grows while its server \
         runs; put the state directory on ext4, xfs, btrfs or tmpfs (--state-dir)",
        log.display()
    )]
    Unsupported {
        /// The log.
        log: PathBuf,
    },
}

fn error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
    move |source| LogError::Io { action, path: path.to_owned(), source }
}

/// How the first so many bytes of a file are freed, a multiple of its block.
pub(super) type Free = fn(&File, u64) -> Result<(), Errno>;

/// What the kernel does for this; tests replace it.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    pub free: Free,
    pub ask: AskLease,
}

impl Kernel {
    pub const REAL: Self = Self { free: punch, ask: ask_lease };
}

/// Punches a hole: the space is freed, and every other byte stays in its place.
/// The kernel lets no append in between, and appends go on at the same end.
fn punch(file: &File, length: u64) -> Result<(), Errno> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, flags, 0, length))
}

/// Frees what the models' logs hold beyond their limits. Where there is nothing
/// to do, this reads the directories and asks for the length of each file. The
/// caller holds the lock of the pass: an earlier version may rotate meanwhile.
pub fn limit(logs: &Path, limits: &LogLimits) -> Vec<LogError> {
    limit_by(Kernel::REAL, logs, limits)
}

pub(super) fn limit_by(kernel: Kernel, logs: &Path, limits: &LogLimits) -> Vec<LogError> {
    let models = match models(logs) {
        Ok(models) => models,
        Err(source) => return vec![error("cannot read", logs)(source)],
    };
    let limit = |(model, earlier): (String, Vec<PathBuf>)| {
        if !earlier.is_empty() {
            // A copy that an earlier version did not finish; the lines are in the log.
            let _ = std::fs::remove_file(logs.join(format!("{model}.log.0.new")));
        }
        let own = own(logs, &model).map_err(error("cannot read", &logs.join(&model)))?;
        limit_model(kernel, &earlier.into_iter().chain(own).collect::<Vec<_>>(), limits)
    };
    models.into_iter().filter_map(|model| limit(model).err()).collect()
}

/// A log that may be shortened.
struct Log<'a> {
    path: &'a Path,
    /// Opened for reading only: see [`AskLease`].
    file: File,
    /// Where the hole at its head ends.
    begin: u64,
    length: u64,
    block: u64,
}

impl<'a> Log<'a> {
    /// `None`: it is gone, or is not a regular file.
    fn open(path: &'a Path) -> Result<Option<Self>, LogError> {
        let look = || {
            let file = open(path, OpenOptions::new().read(true))?;
            let metadata = file.metadata()?;
            if !metadata.is_file() {
                return Ok(None);
            }
            let (begin, length, block) = (hole_end(&file)?, metadata.len(), metadata.blksize().max(1));
            Ok(Some(Self { path, file, begin, length, block }))
        };
        look().or_else(|source: io::Error| match source.raw_os_error() {
            Some(libc::ENOENT | libc::ELOOP) => Ok(None),
            _ => Err(error("cannot open", path)(source)),
        })
    }

    const fn held(&self) -> u64 {
        self.length.saturating_sub(self.begin)
    }

    /// Frees what it can of `excess`, and subtracts it. Newer logs hold `newer`
    /// bytes; `None`: there are none. How the last server ended is wanted when it
    /// writes no more.
    fn shorten(
        &self,
        kernel: Kernel,
        excess: &mut u64,
        newer: Option<u64>,
        limits: &LogLimits,
    ) -> Result<(), LogError> {
        let counted = self.held().max(limits.least_count());
        let is_written = newer.map_or(Ok(true), |_| is_written_by(kernel.ask, &self.file));
        // If in doubt a server writes: a deleted file would take its lines along.
        let needed = *is_written.as_ref().unwrap_or(&true);
        if !needed && self.held() <= *excess {
            self.delete()?;
            *excess = excess.saturating_sub(counted);
            return Ok(());
        }
        let kept = if needed { limits.max_bytes } else { 0 };
        let freed = self.held().saturating_sub(kept).min(*excess);
        match self.free(kernel.free, freed) {
            Ok(()) => *excess -= freed,
            // All of it, then, unless little would be left.
            Err(LogError::Unsupported { .. }) if !needed && newer.is_some_and(|newer| newer >= limits.max_bytes) => {
                self.delete()?;
                *excess = excess.saturating_sub(counted);
            }
            Err(other) => return Err(other),
        }
        is_written.map(drop).map_err(error("cannot tell whether a server still writes", self.path))
    }

    /// Frees the blocks that so many bytes fill.
    fn free(&self, free: Free, bytes: u64) -> Result<(), LogError> {
        let end = self.begin + bytes;
        let end = end - end % self.block;
        if end <= self.begin {
            return Ok(());
        }
        reach(Point::LogFree);
        let opened = open(self.path, OpenOptions::new().write(true)).map_err(error("cannot open", self.path))?;
        match free(&opened, end) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Err(LogError::Unsupported { log: self.path.to_owned() }),
            Err(errno) => return Err(error("cannot free the head of", self.path)(errno.into())),
        }
        reach(Point::LogFreed);
        Ok(())
    }

    fn delete(&self) -> Result<(), LogError> {
        match std::fs::remove_file(self.path) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(error("cannot delete", self.path)(source)),
            _ => {
                reach(Point::LogDeleted);
                Ok(())
            }
        }
    }
}

/// Opens it neither by a symlink nor, if it is a pipe, with a wait.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()).open(path)
}

/// How much a file holds at most. A file that is gone holds nothing.
fn held_at_most(path: &Path) -> u64 {
    // A block of stat(2) has 512 bytes, whatever the file system.
    path.symlink_metadata().map_or(0, |file| file.len().min(file.blocks().saturating_mul(512)))
}

/// Shortens the files of a model, given oldest first. Only one is open at a time:
/// there may be more than a process may open.
fn limit_model(kernel: Kernel, files: &[PathBuf], limits: &LogLimits) -> Result<(), LogError> {
    let count = |held: u64| held.max(limits.least_count());
    if files.iter().map(|path| count(held_at_most(path))).sum::<u64>() <= limits.total() {
        return Ok(());
    }
    let mut problem = None;
    let mut held = Vec::new();
    for path in files {
        match Log::open(path) {
            Ok(log) => held.extend(log.map(|log| (path, count(log.held())))),
            // It may be of another user. The others are shortened all the same.
            Err(unusable) => problem = Some(unusable),
        }
    }
    let mut newer: u64 = held.iter().map(|(_, counted)| counted).sum();
    let mut excess = newer.saturating_sub(limits.total());
    let newest = held.len().saturating_sub(1);
    for (index, (path, counted)) in held.into_iter().enumerate() {
        if excess == 0 {
            break;
        }
        newer -= counted;
        let newer = (index < newest).then_some(newer);
        let shortened =
            Log::open(path).and_then(|log| log.map_or(Ok(()), |log| log.shorten(kernel, &mut excess, newer, limits)));
        problem = shortened.err().or(problem);
    }
    problem.map_or(Ok(()), Err)
}
