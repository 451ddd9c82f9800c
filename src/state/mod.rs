//! The state directory: what herdsman keeps besides the database.
//!
//! ```text
//! <state-dir>/id           the state id that marks every process (0600)
//! <state-dir>/herdsman.db  the database, unless --database says otherwise
//! <state-dir>/lock         held during a pass
//! <state-dir>/watch.lock   held while a watcher lives
//! <state-dir>/herdsman.sock where the watcher's gateway answers other processes
//! <state-dir>/notify.lock  held by the process that delivers notifications
//! <state-dir>/logs/MODEL/  a log per instance
//! <state-dir>/cache/       option catalogues by llama-server, and its web page
//! <state-dir>/spool/       bodies of requests that wait, in files without a name
//! ```
//!
//! The id has its own file, so that losing the database loses no server.

mod closing;
mod lock;
mod reads;
mod socket;

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::lock::Lock;
pub use self::reads::Reads;
pub use self::socket::Directory;
use crate::sys::failpoint::{Point, reach};
use crate::sys::regular;
use crate::sys::trust::{self, Untrusted};

/// The state directory.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be created or written to.
    #[error("cannot use the state directory: {action} {}: {source}; use another with --state-dir", path.display())]
    Io {
        /// The attempted action.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The id is invalid.
    #[error(
        "{} does not contain a state id; restore it, or stop the servers it marked (HERDSMAN_STATE in their environment) and delete it",
        .0.display()
    )]
    DamagedId(PathBuf),
    /// The id is no longer that of the servers this watcher watches.
    #[error("{} was replaced while this watcher was running; restart the watcher", .0.display())]
    OtherId(PathBuf),
    /// Another watcher is running.
    #[error("another watcher is running on {}; stop it first, or use another --state-dir", .0.display())]
    Watched(PathBuf),
    /// Others can change what is in it.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// Another process holds the lock.
    #[error("another pass has held {} for more than {}; try again, or raise --lock-timeout", path.display(), crate::model::text::duration(*waited))]
    Locked {
        /// The lock.
        path: PathBuf,
        /// How long herdsman waited for it.
        waited: Duration,
    },
}

impl StateError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl StateDir {
    /// Returns the directory at `path`, which need not exist.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// `$XDG_STATE_HOME/herdsman`, `~/.local/state/herdsman`, and
    /// `/var/lib/herdsman` for root.
    #[must_use]
    pub fn default_path() -> PathBuf {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        if let Some(state) = absolute("XDG_STATE_HOME") {
            return state.join("herdsman");
        }
        if rustix::process::geteuid().is_root() {
            return PathBuf::from("/var/lib/herdsman");
        }
        absolute("HOME").unwrap_or_default().join(".local/state/herdsman")
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The default database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.path.join("herdsman.db")
    }

    /// The servers' logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Weights that servers download from a URL; absolute, for servers run
    /// elsewhere.
    #[must_use]
    pub fn downloads(&self) -> PathBuf {
        std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone()).join("downloads")
    }

    /// Option catalogues.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// Where a gateway keeps bodies of requests that find no room in memory.
    #[must_use]
    pub fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    /// Creates it, private to this user. Call this before writing anything there.
    ///
    /// # Errors
    /// It cannot be created; or, for root, others can change it.
    pub fn create(&self) -> Result<(), StateError> {
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&self.path);
        reach(Point::StateDirMade);
        created.map_err(StateError::io("create", &self.path))?;
        let absolute = std::path::absolute(&self.path).map_err(StateError::io("find", &self.path))?;
        Ok(trust::require(&absolute, &[])?)
    }

    /// Returns the state id, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn id(&self) -> Result<Option<String>, StateError> {
        /// An id has 36 characters and a newline.
        const LONGEST: u64 = 256;
        let path = self.path.join("id");
        let text = match regular::read(&path, LONGEST) {
            Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::FileTooLarge => return Err(StateError::DamagedId(path)),
            Err(error) => return Err(StateError::io("read", &path)(error)),
        };
        let id = text.trim();
        if uuid::Uuid::try_parse(id).is_err() {
            return Err(StateError::DamagedId(path));
        }
        Ok(Some(id.to_owned()))
    }

    /// Returns the state id, creating it if there is none. Call this under the
    /// lock.
    ///
    /// # Errors
    /// It can neither be read nor created.
    pub fn id_or_new(&self) -> Result<String, StateError> {
        if let Some(id) = self.id()? {
            return Ok(id);
        }
        let id = uuid::Uuid::new_v4().to_string();
        self.write_id(&id)?;
        Ok(id)
    }

    /// Restores the directory and the id that a running watcher relies on, if somebody
    /// removed them. Returns whether that was necessary.
    ///
    /// # Errors
    /// It cannot be created, or has become another herdsman's.
    pub fn restore(&self, id: &str) -> Result<bool, StateError> {
        match self.id()? {
            Some(found) if found == id => Ok(false),
            Some(_) => Err(StateError::OtherId(self.path.clone())),
            None => {
                self.create()?;
                self.write_id(id)?;
                Ok(true)
            }
        }
    }

    fn write_id(&self, id: &str) -> Result<(), StateError> {
        let (path, new) = (self.path.join("id"), self.path.join("id.new"));
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            reach(Point::IdBegun);
            writeln!(file, "{id}")?;
            file.sync_all()?;
            reach(Point::IdWritten);
            std::fs::rename(&new, &path)?;
            reach(Point::IdNamed);
            Ok(())
        };
        write().map_err(StateError::io("write", &path))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_made_once_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path().join("a/b"));
        assert_eq!(state.id().unwrap(), None);
        state.create().unwrap();
        let id = state.id_or_new().unwrap();
        assert_eq!(state.id_or_new().unwrap(), id);
        let mode = |p: &str| std::fs::metadata(state.path().join(p)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("id"), mode(".")), (0o600, 0o700));
    }

    #[test]
    fn a_damaged_id_is_an_error_and_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path().to_owned());
        std::fs::write(dir.path().join("id"), "what?").unwrap();
        assert!(matches!(state.id_or_new(), Err(StateError::DamagedId(_))));
        assert_eq!(std::fs::read_to_string(dir.path().join("id")).unwrap(), "what?");
    }

    #[test]
    fn no_state_directory_does_harm() {
        let dir = tempfile::tempdir().unwrap();
        let words: &[&[u8]] = &[b"urn:uuid:", b"{", b"}", b"-", b"\n"];
        let target =
            crate::hostile::Target { name: "state", words, memory: 64 << 10, memory_per_byte: 0, ..Default::default() };
        crate::hostile::survives(target, move |bytes| {
            std::fs::write(dir.path().join("id"), bytes).unwrap();
            let state = StateDir::new(dir.path().to_owned());
            if let Ok(id) = state.id() {
                // It becomes a variable in every server's environment.
                assert!(id.is_some_and(|id| id.len() <= 45 && id.bytes().all(|byte| byte.is_ascii_graphic())));
            }
        });
    }

    #[test]
    fn a_pipe_in_place_of_a_file_is_an_error_without_waiting() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path().to_owned());
        for name in ["id", "watch.lock"] {
            mknodat(CWD, dir.path().join(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }
        assert!(matches!(state.id(), Err(StateError::Io { .. })));
        assert!(matches!(state.has_watcher(), Err(StateError::Io { .. })));
    }
}
