//! A disk that can be filled: a small tmpfs under the state directory.
//!
//! It is mounted in the runner's own namespace, so that nobody else's mounts
//! change and no privilege is needed.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use fastrand::Rng;

/// The mounted disk.
pub struct Disk {
    mounted: PathBuf,
    is_full: bool,
}

impl Disk {
    /// Mounts it.
    pub fn mount(path: &Path) -> Self {
        fs::create_dir(path).unwrap();
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "chaos"]).arg(path).status().unwrap();
        assert!(status.success(), "mount: {status}");
        Self { mounted: path.to_owned(), is_full: false }
    }

    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Fills it but for a few pages, which differ: whatever is written next
    /// fails, early or late.
    pub fn fill(&mut self, rng: &mut Rng) {
        const PAGE: usize = 4096;
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).unwrap();
        let mut written = ballast.metadata().unwrap().len();
        loop {
            match ballast.write(&[0; PAGE]) {
                Ok(length) => written += u64::try_from(length).unwrap(),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                    break;
                }
            }
        }
        let left = if rng.bool() { 0 } else { rng.u64(..40) * u64::try_from(PAGE).unwrap() };
        ballast.set_len(written.saturating_sub(left)).unwrap();
        self.is_full = true;
    }

    /// Frees it again.
    pub fn free(&mut self) {
        if std::mem::take(&mut self.is_full) {
            fs::remove_file(self.ballast()).unwrap();
        }
    }

    /// Lazily: a process that still has a file open there ends a moment later.
    pub fn unmount(&self) {
        // It runs while a test unwinds, so it panics nowhere; what fails here is
        // found as a directory that is still there.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
    }

    fn ballast(&self) -> PathBuf {
        self.mounted.join("ballast")
    }
}
