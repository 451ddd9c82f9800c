//! Whether a file has changed since it was read.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that changed less than this before it was read may change again without
/// another time: file systems keep the time of the kernel's last tick.
const TICK: Duration = Duration::from_millis(100);

/// A file as it was found, present or not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    version: Option<Version>,
    /// Whether a later change has another version for certain.
    is_settled: bool,
}

/// What every change of a file changes. Nobody can set the time of its last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Seen {
    /// Looks at a file. Do this before reading it.
    pub fn of(path: &Path) -> Self {
        let version = Version::of(path);
        let age = |version: Version| {
            let (seconds, nanoseconds) = version.changed;
            let changed = Duration::new(seconds.try_into().ok()?, nanoseconds.try_into().ok()?);
            SystemTime::now().duration_since(UNIX_EPOCH + changed).ok()
        };
        Self { version, is_settled: version.is_none_or(|version| age(version).is_some_and(|age| age > TICK)) }
    }

    /// Whether the file is certainly still the same.
    pub fn is_unchanged(&self, path: &Path) -> bool {
        self.is_settled && Version::of(path) == self.version
    }
}

impl Version {
    fn of(path: &Path) -> Option<Self> {
        let metadata = path.metadata().ok()?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Some(Self { device: metadata.dev(), inode: metadata.ino(), size: metadata.size(), changed })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn notices_every_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let missing = Seen::of(&path);
        assert!(missing.is_unchanged(&path));
        std::fs::write(&path, "one").unwrap();
        assert!(!missing.is_unchanged(&path));
        // Too fresh to be certain.
        assert!(!Seen::of(&path).is_unchanged(&path));
        let seen = loop {
            let seen = Seen::of(&path);
            if seen.is_unchanged(&path) {
                break seen;
            }
            std::thread::sleep(TICK / 10);
        };
        std::fs::write(&path, "two").unwrap();
        assert!(!seen.is_unchanged(&path));
        std::fs::remove_file(&path).unwrap();
        assert!(!seen.is_unchanged(&path));
    }
}
