//! Where requests go that waited at a watcher which has handed over: its successor
//! listens here, and no one else knows of it.

use std::io;
use std::os::unix::net::UnixListener;

use crate::state::{Directory, StateDir};

/// What a successor knows the listener by.
pub const HALL: &str = "handover";

/// The socket. Its file, in the state directory, goes with it.
#[derive(Debug)]
pub struct Hall {
    directory: Directory,
    /// Each watcher that hands over has its own: its last requests may outlive its
    /// successor.
    file: String,
    listener: UnixListener,
}

impl Hall {
    /// Makes the socket. Nobody answers on it before it is given to a successor.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(state: &StateDir) -> io::Result<Self> {
        let directory = Directory::open(state.path())?;
        let file = format!("handover-{}.sock", std::process::id());
        let listener = directory.listen(&file)?;
        Ok(Self { directory, file, listener })
    }

    /// Returns the socket.
    #[must_use]
    pub const fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Returns its path, for this process alone and while this lives.
    #[must_use]
    pub fn path(&self) -> String {
        self.directory.file(&self.file).display().to_string()
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        // If it stays, a later watcher of the same pid replaces it.
        let _ = std::fs::remove_file(self.directory.file(&self.file));
    }
}
