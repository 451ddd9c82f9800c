//! Standard output and standard error.
//!
//! A reader that went away (`herdsman status | head -1`) is no reason to end
//! in the middle of a pass: nothing more can be told to whoever left.

use std::fmt::Display;
use std::io::{ErrorKind, Write as _};

/// Writes to standard output. Colours are stripped where it is no terminal.
///
/// # Errors
/// It cannot be written: a full disk, say. A reader that left is no error.
pub(super) fn print(text: impl Display) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!("cannot write to standard output: {error}"))
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error. Colours are stripped as above. There is
/// no place left to tell of a failure.
pub fn complain(text: impl Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}
