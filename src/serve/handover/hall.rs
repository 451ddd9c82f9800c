//! Where requests go that waited at a watcher which has handed over: its successor
//! listens here, and no one else knows of it.

use std::io;
use std::os::unix::net::UnixListener;

use crate::state::{Directory, StateDir};

/// What a successor knows the listener by.
pub const HALL: &str = "handover";

/// The socket's file, in the state directory.
const FILE: &str = "handover.sock";

/// The socket. Its file goes with it.
#[derive(Debug)]
pub struct Hall {
    directory: Directory,
    listener: UnixListener,
}

impl Hall {
    /// Makes the socket. Nobody answers on it before it is given to a successor.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(state: &StateDir) -> io::Result<Self> {
        let directory = Directory::open(state.path())?;
        let listener = directory.listen(FILE)?;
        Ok(Self { directory, listener })
    }

    /// Returns the socket.
    #[must_use]
    pub const fn listener(&self) -> &UnixListener {
        &self.listener
    }

    /// Returns its path, for this process alone and while this lives.
    #[must_use]
    pub fn path(&self) -> String {
        self.directory.file(FILE).display().to_string()
    }
}

impl Drop for Hall {
    fn drop(&mut self) {
        // A watcher that hands over later replaces it if it stays.
        let _ = std::fs::remove_file(self.directory.file(FILE));
    }
}
