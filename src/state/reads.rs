//! The definitions that a watcher reads, noted in its lock. A herdsman that reads
//! others must not act: each would undo what the other does.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where a watcher's definitions come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    /// Its process.
    pub pid: u32,
    /// The directory, absolute.
    pub models_dir: PathBuf,
    /// The revision that it reads instead of the files.
    pub revision: Option<String>,
}

impl Reads {
    /// The longest note that is read, bytes.
    pub(super) const LONGEST: u64 = 16 << 10;

    /// Returns what this process reads.
    #[must_use]
    pub fn new(models_dir: PathBuf, revision: Option<&str>) -> Self {
        Self { pid: std::process::id(), models_dir, revision: revision.map(str::to_owned) }
    }

    /// Returns whether both read the same definitions.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        self.revision == other.revision && real(&self.models_dir) == real(&other.models_dir)
    }

    /// The options that make another herdsman read the same definitions.
    #[must_use]
    pub fn options(&self) -> String {
        let dir = format!("--models-dir {}", self.models_dir.display());
        match &self.revision {
            Some(revision) => format!("{dir} --from-git {revision}"),
            None => format!("{dir} without --from-git"),
        }
    }

    pub(super) fn note(&self, mut lock: &File) -> io::Result<()> {
        // A partly written note is not JSON, so it does not count.
        lock.set_len(0)?;
        lock.rewind()?;
        lock.write_all(&serde_json::to_vec(self)?)
    }
}
