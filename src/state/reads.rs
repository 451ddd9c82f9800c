//! What a watcher reads, noted in its lock: passes of another herdsman that read
//! something else would undo what it does, and it what they do.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Where the definitions of a watcher come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    /// Its process.
    pub pid: u32,
    /// The directory, absolute.
    pub models_dir: PathBuf,
    /// The revision that is read instead of the files in it.
    pub revision: Option<String>,
}

impl Reads {
    /// The longest note that is read, bytes.
    pub(super) const LONGEST: u64 = 16 << 10;

    /// Of this process.
    #[must_use]
    pub fn new(models_dir: PathBuf, revision: Option<&str>) -> Self {
        Self { pid: std::process::id(), models_dir, revision: revision.map(str::to_owned) }
    }

    /// Whether both read the same, whichever process they are.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        self.revision == other.revision && real(&self.models_dir) == real(&other.models_dir)
    }

    /// The options that make another herdsman read the same.
    #[must_use]
    pub fn options(&self) -> String {
        let dir = format!("--models-dir {}", self.models_dir.display());
        match &self.revision {
            Some(revision) => format!("{dir} --from-git {revision}"),
            None => format!("{dir} without --from-git"),
        }
    }

    pub(super) fn note(&self, mut lock: &File) -> io::Result<()> {
        // Half a note is none: it is no JSON.
        lock.set_len(0)?;
        lock.write_all(&serde_json::to_vec(self)?)
    }
}
