//! How many descriptors this process and its children may have open.
//!
//! A process that serves needs more than the usual 1,024. Its children get the limit
//! that it was started with: a program that uses select(2) breaks on descriptors above
//! 1,024, which is why the usual limit is so low.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as help: programs that look at each possible descriptor take longer with
/// more.
const ENOUGH: u64 = 1 << 20;

/// The limit that this process was started with, once it is raised.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises the limit as far as the system allows.
///
/// # Errors
/// The system refuses.
pub(crate) fn raise() -> io::Result<()> {
    let before = getrlimit(Resource::Nofile);
    let most = before.maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if before.current.is_none_or(|current| current >= most) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: before.maximum })?;
    // Raised before: then that one is the first limit.
    let _ = BEFORE.set(before);
    Ok(())
}

/// Returns how many descriptors this process may have open.
pub(crate) fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Lets `command` start with the limit that this process was started with.
pub(crate) fn restore_in(command: &mut Command) {
    let Some(before) = BEFORE.get().copied() else { return };
    // SAFETY: setrlimit(2) is one system call, and async-signal-safe.
    unsafe {
        command.pre_exec(move || Ok(setrlimit(Resource::Nofile, before)?));
    }
}
