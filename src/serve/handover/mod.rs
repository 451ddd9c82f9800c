//! An upgrade without a gap: a watcher starts its successor, and gives it the
//! sockets it listens on and the lock that it holds.
//!
//! ```text
//!   this watcher                            its successor
//!   SIGUSR2
//!   starts the program again ────────────►  opens everything, binds nothing
//!                            ◄── ready ───  waits
//!   ends its last pass
//!   lets new requests wait   ──── go ────►  counts what is in flight here; accepts
//!                            ◄── begun ───  waits
//!   names it to the service manager
//!   sends its waiting requests there ─────►  makes its first pass
//!   accepts no more
//!   answers what is in flight, says so; exits
//! ```
//!
//! Nobody is refused: the sockets listen all the time. If the successor does not
//! become ready, or does not begin, this watcher goes on as if nothing had happened.
//!
//! The successor migrates the database before it is ready, between two passes of this
//! watcher, which may record more of them: a migration has to leave the statements of
//! the version before it valid.

mod give;
mod hall;
mod heir;
mod sockets;
mod take;

pub use give::{Gifts, Successor};
pub use hall::{HALL, Hall};
pub use heir::Heir;
pub use sockets::Sockets;
pub use take::{Inherited, Predecessor, inherited};

use std::io;

use serde::{Deserialize, Serialize};

use crate::serve::server::SocketFile;

/// The variable that says what the successor was given, and where.
const VARIABLE: &str = "HERDSMAN_HANDOVER";

/// The first descriptor that the successor is given: 0 to 2 are its standard ones.
const FIRST: i32 = 3;

/// The version of [`Note`].
const VERSION: u32 = 1;

/// What a successor says once it is ready to begin.
const READY: u8 = b'r';

/// What it says once it serves. In between, and later, it hears lines: what its
/// predecessor still answers. The first one lets it begin.
const BEGUN: u8 = b'b';

/// What the successor was given: descriptors from [`FIRST`] on, in this order.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    version: u32,
    /// The watcher before it.
    from: u32,
    /// What each listener is for, after the socket to talk over and the lock.
    listeners: Vec<String>,
    /// The files of those that herdsman made itself.
    #[serde(default)]
    socket_files: Vec<SocketFile>,
}

/// Why a handover does not happen.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// There is no socket for the requests that wait here.
    #[error("cannot listen in the state directory: {0}")]
    Hall(io::Error),
    /// The successor cannot be started.
    #[error("cannot start {program}: {cause}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        cause: io::Error,
    },
    /// The successor ended, or did not become ready in time.
    #[error("{program} (pid {pid}) did not take over: {cause}; its own messages say why")]
    NotReady {
        /// The program.
        program: String,
        /// Its process.
        pid: u32,
        /// What went wrong.
        cause: io::Error,
    },
    /// What this process was given is not a handover of this version.
    #[error("{VARIABLE} does not describe a handover: {0}; start herdsman without it")]
    Note(String),
    /// The predecessor ended before it let this process begin.
    #[error("the herdsman before this one ended during the handover: {0}")]
    Abandoned(io::Error),
}
