//! Standard output and standard error.
//!
//! If the reader goes away (`herdsman status | head -1`), a pass still runs to its
//! end: only its output is lost.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Writes to standard output. Strips colours unless it is a terminal.
///
/// # Errors
/// Standard output cannot be written, on a full disk for example. A reader that
/// left is not an error.
pub(super) fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

/// Whether anybody reads standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Listens,
    Left,
}

/// Writes bytes to standard output as they are.
///
/// # Errors
/// As [`print`].
pub(super) fn write(bytes: &[u8]) -> anyhow::Result<Reader> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(Reader::Listens),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Left),
        Err(error) => Err(anyhow::anyhow!("cannot write to standard output: {error}")),
    }
}

/// Waits for `time`, or less if a signal comes. Returns whether anybody still
/// reads standard output.
pub(super) fn pause(time: Duration) -> Reader {
    let stdout = std::io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    match poll(&mut watched, Timespec::try_from(time).ok().as_ref()) {
        Ok(_) if watched[0].revents().intersects(PollFlags::ERR | PollFlags::NVAL) => Reader::Left,
        // A signal, too, ends the wait.
        _ => Reader::Listens,
    }
}

/// Writes a line to standard error. Strips colours as above. A failure cannot be
/// reported anywhere.
pub fn complain(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
