//! Reads the directory until two readings agree.
//!
//! ```text
//!   wait for git -> list -> read every file -> list and stat again
//!        ^                                        |       |
//!        +------------- something changed --------+       +-- the same: done
//! ```
//!
//! Invariants: the result is a snapshot of one moment; a directory that cannot be
//! read is an error, never an empty one.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::directory::{Directory, Listing};
use super::reading::Reading;
use super::{LoadError, LoadOptions, git, paths};
use crate::model::Desired;
use crate::sys::trust::Untrusted;

/// How long to wait for git, and for the directory to settle.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file that changed this shortly before it was read may change again without a
/// new time stamp: FAT, the coarsest file system, keeps times to two seconds.
const AT_REST: Duration = Duration::from_secs(3);

/// How long a directory may take to settle while somebody waits.
const SOON: Duration = Duration::from_millis(300);

/// How long to wait before looking again.
const POLL: Duration = Duration::from_millis(20);

/// Reads a directory of definitions again and again. It checks everything, but
/// parses only what has changed since the last time.
#[derive(Debug)]
pub struct Loader {
    /// How long to wait for the directory to settle, and for git.
    patience: Duration,
    patience_with_git: Duration,
    /// A file that changed this shortly before it was read is read again.
    pub(super) at_rest: Duration,
    last: Option<Reading>,
}

impl Default for Loader {
    fn default() -> Self {
        Self::with_patience(PATIENCE)
    }
}

impl Loader {
    /// Returns a loader that waits `patience` for git and for the directory to
    /// settle.
    #[must_use]
    pub fn with_patience(patience: Duration) -> Self {
        Self { patience, patience_with_git: patience, at_rest: AT_REST, last: None }
    }

    /// Returns a loader for a pass that others wait for: it fails at once while git
    /// changes the files, and soon while the directory keeps changing.
    #[must_use]
    pub fn impatient() -> Self {
        Self { patience_with_git: Duration::ZERO, ..Self::with_patience(SOON) }
    }

    /// Whether the files in `dir` (absolute) are still what was last read; `false`
    /// if nothing was.
    #[must_use]
    pub fn is_still_so(&self, dir: &Path) -> bool {
        let read = self.last.as_ref();
        let directory = Directory::Disk(dir);
        read.is_some_and(|read| directory.list().is_ok_and(|now| now == *read.listing()) && read.is_still_so(directory))
    }

    /// As root, refuses what was last read from `dir` if others can change one of
    /// its files. Users in `owners` are trusted like root.
    ///
    /// # Errors
    /// [`Untrusted`] names the first such file.
    pub fn require_trusted(&self, dir: &Path, owners: &[u32]) -> Result<(), Untrusted> {
        let mut files = self.last.iter().flat_map(Reading::accesses);
        files.try_for_each(|(name, access)| access.require(&dir.join(name), owners))
    }

    /// Reads the definitions in `options.dir`, or those of a commit. Returns the
    /// same [`Desired`] again if nothing about them has changed.
    ///
    /// # Errors
    /// [`LoadError`] when the directory as a whole cannot be read. Problems of
    /// single files are in [`Desired::diagnostics`].
    pub fn load(&mut self, options: &LoadOptions<'_>) -> Result<Arc<Desired>, LoadError> {
        let dir = paths::lexical(options.cwd, options.dir);
        dir.to_str().ok_or_else(|| LoadError::NotUnicode { dir: dir.clone() })?;
        // Git's changes to the work tree do not matter to a commit.
        let directory = Directory::of(options.from, &dir);
        let lock = directory.on_disk().and_then(git::index_lock);
        let list = || list(directory, &dir);
        let is_locked = || lock.as_ref().filter(|lock| lock.exists());
        let begun = Instant::now();
        loop {
            let before = list()?;
            if is_locked().is_none() {
                let reading = Reading::make(options, &dir, directory, before, self.last.as_ref(), self.at_rest);
                if is_locked().is_none() && *reading.listing() == list()? && reading.is_still_so(directory) {
                    return Ok(Arc::clone(&self.last.insert(reading).desired));
                }
            }
            match is_locked() {
                Some(lock) if begun.elapsed() >= self.patience_with_git => {
                    return Err(LoadError::GitBusy { lock: lock.clone(), patience: self.patience_with_git });
                }
                None if begun.elapsed() >= self.patience => {
                    return Err(LoadError::Unsettled { dir, patience: self.patience });
                }
                _ => {}
            }
            thread::sleep(POLL);
        }
    }
}

fn list(directory: Directory<'_>, dir: &Path) -> Result<Listing, LoadError> {
    let dir = directory.on_disk().unwrap_or(dir);
    directory.list().map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => LoadError::MissingDirectory { dir: dir.to_owned() },
        io::ErrorKind::NotADirectory => LoadError::NotADirectory { dir: dir.to_owned() },
        _ => LoadError::Unreadable { dir: dir.to_owned(), cause },
    })
}
