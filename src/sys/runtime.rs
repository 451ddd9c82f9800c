//! How herdsman runs asynchronous code: each user has a runtime of its own, so that
//! a slow answer to one keeps no other waiting.

use std::io;

use tokio::runtime::{Builder, Runtime};

/// Builds a runtime without a thread of its own: the caller of `block_on`
/// drives it.
///
/// # Errors
/// The system has no descriptor left for it.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
