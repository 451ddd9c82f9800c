//! Watches directories for changes, and polls them where the file system sends no
//! events.
//!
//! An event only says that something changed. Every pass works out again which
//! directories to watch ([`places`]), so a replaced directory is watched before it is
//! read.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher};

use super::bell::{Bell, Ring};
use super::places::{WatchedDir, places, places_of};
use crate::git::revision_files;

/// Why there are no events.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoEvents {
    /// The limit of inotify watches.
    #[error("out of inotify watches: raise fs.inotify.max_user_watches (sysctl)")]
    Watches,
    /// The limit of inotify instances.
    #[error(
        "out of inotify instances: raise fs.inotify.max_user_instances (sysctl) or the limit of open files (ulimit -n)"
    )]
    Instances,
    /// Anything else.
    #[error("the file system sends no change events: {0}")]
    Other(notify::Error),
}

/// The watch on the directory of definitions, or on the revision they are read
/// from.
pub(super) struct Files {
    dir: PathBuf,
    /// `None`: the files in the directory count.
    revision: Option<String>,
    watcher: RecommendedWatcher,
    shared: Arc<Mutex<Shared>>,
}

/// What the thread that gets the events must know.
#[derive(Default)]
struct Shared {
    watched: BTreeMap<PathBuf, WatchedDir>,
    /// The file of the database, and its write-ahead log.
    database: [PathBuf; 2],
    /// A watched directory was moved or deleted: its watch no longer works, even if
    /// another directory has its name and inode by now.
    stale: bool,
}

impl Files {
    /// Watches nothing yet: [`Files::arm`] does. Both paths are absolute. With a
    /// revision, what it names counts and not the files in `dir`.
    pub fn new(dir: PathBuf, revision: Option<String>, database: &Path, bell: Bell) -> Result<Self, NoEvents> {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let database = [database.to_owned(), log.into()];
        let shared = Arc::new(Mutex::new(Shared { database, ..Shared::default() }));
        let seen = Arc::clone(&shared);
        let on_event = move |event: notify::Result<Event>| {
            let mut seen = lock(&seen);
            if seen.is_write(&event) {
                bell.ring(Ring::Database);
            }
            if seen.matters(&event) {
                bell.ring(Ring::Files);
            }
        };
        let watcher = notify::recommended_watcher(on_event).map_err(no_events)?;
        Ok(Self { dir, revision, watcher, shared })
    }

    /// Watches what is to be watched now.
    pub fn arm(&mut self) -> Result<(), NoEvents> {
        let wanted = self.wanted();
        // The lock is not held while the watcher is talked to: its thread may
        // be waiting for it.
        let (mut before, stale) = {
            let mut shared = lock(&self.shared);
            if !shared.stale && shared.watched == wanted {
                return Ok(());
            }
            let before = std::mem::replace(&mut shared.watched, wanted.clone());
            (before, std::mem::take(&mut shared.stale))
        };
        for (path, place) in &wanted {
            let known = before.remove(path);
            if known.as_ref().is_some_and(|known| known.identity == place.identity && !stale) {
                continue;
            }
            if known.is_some() {
                self.forget(path);
            }
            self.watch(path)?;
        }
        before.keys().for_each(|path| self.forget(path));
        Ok(())
    }

    /// Whether another directory is at one of the watched paths: a file system
    /// was mounted there, which gives no event.
    pub fn is_elsewhere(&self) -> bool {
        self.wanted() != lock(&self.shared).watched
    }

    fn wanted(&self) -> BTreeMap<PathBuf, WatchedDir> {
        let mut wanted = match &self.revision {
            Some(revision) => places_of(&revision_files(&self.dir, revision)),
            None => places(&self.dir),
        };
        if let Some(directory) = lock(&self.shared).database[0].parent() {
            wanted.entry(directory.to_owned()).or_insert_with(|| WatchedDir::at(directory));
        }
        wanted
    }

    fn watch(&mut self, path: &Path) -> Result<(), NoEvents> {
        match self.watcher.watch(path, RecursiveMode::NonRecursive) {
            Ok(()) => Ok(()),
            // Gone again, or not ours to read: the reading that follows says so.
            Err(error) if is_about_the_path(&error) => {
                lock(&self.shared).watched.remove(path);
                Ok(())
            }
            Err(error) => Err(no_events(error)),
        }
    }

    fn forget(&mut self, path: &Path) {
        // What is gone is not watched any more.
        let _ = self.watcher.unwatch(path);
    }
}

impl Shared {
    /// Whether somebody wrote to the database, or took it away.
    fn is_write(&self, event: &notify::Result<Event>) -> bool {
        let Ok(event) = event else { return true };
        let writes = !matches!(event.kind, EventKind::Access(_));
        event.need_rescan() || writes && event.paths.iter().any(|path| self.database.contains(path))
    }

    /// Whether an event is about the definitions.
    fn matters(&mut self, event: &notify::Result<Event>) -> bool {
        // Too many events for the queue, or none can be read: anything may
        // have changed.
        let Ok(event) = event else { return true };
        if event.need_rescan() {
            return true;
        }
        if matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)) {
            return false;
        }
        let mut matters = false;
        for path in &event.paths {
            if self.watched.contains_key(path) && matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(_)) {
                self.stale |= !matches!(event.kind, EventKind::Modify(notify::event::ModifyKind::Metadata(_)));
                matters = true;
            }
            let place = path.parent().and_then(|parent| self.watched.get(parent));
            matters |= place.zip(path.file_name()).is_some_and(|(place, name)| place.concerns(name));
        }
        matters
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_about_the_path(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound | ErrorKind::WatchNotFound => true,
        ErrorKind::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied | io::ErrorKind::NotADirectory
        ),
        _ => false,
    }
}

fn no_events(error: notify::Error) -> NoEvents {
    match &error.kind {
        ErrorKind::MaxFilesWatch => NoEvents::Watches,
        // EMFILE and ENFILE: inotify_init1(2) knows no other limits.
        ErrorKind::Io(io) if matches!(io.raw_os_error(), Some(23 | 24)) => NoEvents::Instances,
        _ => NoEvents::Other(error),
    }
}
