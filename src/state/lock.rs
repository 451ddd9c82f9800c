//! The locks: one for a pass, one for a watcher's life, one for deliveries.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::{Reads, StateDir, StateError};
use crate::sys::failpoint::{Point, reach};
use crate::sys::regular;

/// How often to try a held lock again: `flock` has no wait with a limit.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// A held lock; dropping it, or the death of the process, releases it.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Returns another descriptor of the lock, for a process that takes it over.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn share(&self) -> std::io::Result<File> {
        self.file.try_clone()
    }

    /// Writes into it what the watcher reads that holds it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note(&self, reads: &Reads) -> std::io::Result<()> {
        reads.note(&self.file)
    }
}

impl StateDir {
    /// Takes the lock of a pass.
    ///
    /// The descriptor is close-on-exec, so no server inherits the lock; but a child that
    /// has not executed its server yet still holds it, so no other pass can miss it.
    ///
    /// # Errors
    /// [`StateError::Locked`] after `timeout`.
    pub fn lock(&self, timeout: Duration) -> Result<Lock, StateError> {
        let path = self.path.join("lock");
        match lock_within(&path, timeout)? {
            Some(lock) => Ok(lock),
            None => Err(StateError::Locked { path, waited: timeout }),
        }
    }

    /// Takes the watcher's lock for its lifetime, and writes into it what the
    /// watcher reads.
    ///
    /// # Errors
    /// [`StateError::Watched`] if another watcher is running.
    pub fn watch_lock(&self, reads: &Reads) -> Result<Lock, StateError> {
        // A process that checks for a watcher holds it for a moment.
        const MOMENT: Duration = Duration::from_millis(500);
        let path = self.path.join("watch.lock");
        let lock = lock_within(&path, MOMENT)?.ok_or_else(|| StateError::Watched(self.path.clone()))?;
        reads.note(&lock.file).map_err(StateError::io("write", &path))?;
        Ok(lock)
    }

    /// Takes over the lock of the watcher before this one: `file` is its open file, and
    /// with it the lock. That watcher's note stays in it until [`Lock::note`].
    ///
    /// # Errors
    /// It is not the lock of this directory.
    pub fn inherit_watch_lock(&self, file: File) -> Result<Lock, StateError> {
        let path = self.path.join("watch.lock");
        let is_same = |a: Metadata, b: Metadata| a.dev() == b.dev() && a.ino() == b.ino();
        let found = file.metadata().and_then(|given| Ok(is_same(given, std::fs::metadata(&path)?)));
        if !found.map_err(StateError::io("look at", &path))? {
            return Err(StateError::Watched(self.path.clone()));
        }
        Ok(Lock { file })
    }

    /// Returns what the running watcher of this directory reads; `None`: there is
    /// no watcher, or it does not say.
    ///
    /// # Errors
    /// Its lock cannot be checked.
    pub fn watched(&self) -> Result<Option<Reads>, StateError> {
        let noted = || regular::read(&self.path.join("watch.lock"), Reads::LONGEST).ok();
        Ok(if self.has_watcher()? { noted().and_then(|noted| serde_json::from_slice(&noted).ok()) } else { None })
    }

    /// Takes the lock for delivering notifications, if it is free.
    ///
    /// # Errors
    /// [`StateError::Locked`] if another process delivers them.
    pub fn notify_lock(&self) -> Result<Lock, StateError> {
        let path = self.path.join("notify.lock");
        lock_within(&path, Duration::ZERO)?.ok_or(StateError::Locked { path, waited: Duration::ZERO })
    }

    /// Whether a watcher is running on this directory.
    ///
    /// # Errors
    /// Its lock cannot be checked.
    pub fn has_watcher(&self) -> Result<bool, StateError> {
        let path = self.path.join("watch.lock");
        match regular::open(&path) {
            Ok((file, _)) => match file.try_lock_shared() {
                Ok(()) => Ok(false),
                Err(TryLockError::WouldBlock) => Ok(true),
                Err(TryLockError::Error(source)) => Err(StateError::io("lock", &path)(source)),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StateError::io("open", &path)(error)),
        }
    }
}

/// Takes a lock, if it becomes free within `timeout`.
fn lock_within(path: &Path, timeout: Duration) -> Result<Option<Lock>, StateError> {
    let begun = Instant::now();
    let file = open_lock(path)?;
    reach(Point::LockMade);
    loop {
        match file.try_lock() {
            Ok(()) => {
                reach(Point::LockTaken);
                return Ok(Some(Lock { file }));
            }
            Err(TryLockError::Error(source)) => return Err(StateError::io("lock", path)(source)),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= timeout => return Ok(None),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
        }
    }
}

fn open_lock(path: &Path) -> Result<File, StateError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // A link leads to something that is not ours to write to.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(StateError::io("open", path))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_lock_excludes_and_is_free_again_after_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path().to_owned());
        let held = state.lock(Duration::ZERO).unwrap();
        assert!(matches!(state.lock(Duration::from_millis(20)), Err(StateError::Locked { .. })));
        drop(held);
        // A process that another test starts may hold a copy until it executes.
        assert!(state.lock(Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn a_watcher_is_noticed_by_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path().to_owned());
        assert!(!state.has_watcher().unwrap());
        let file = open_lock(&dir.path().join("watch.lock")).unwrap();
        assert!(!state.has_watcher().unwrap(), "a lock nobody holds is not a watcher");
        file.lock().unwrap();
        assert!(state.has_watcher().unwrap());
    }
}
