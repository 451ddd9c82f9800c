//! The one tokio runtime of the process.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::runtime::{Builder, Runtime};

/// Returns the runtime, built when it is first needed. It has no thread of its
/// own: whoever calls `block_on` drives it, several threads at once too.
///
/// # Errors
/// The system has no descriptor left for it.
pub(crate) fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    static BUILDING: Mutex<()> = Mutex::new(());
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let _one = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    match RUNTIME.get() {
        Some(runtime) => Ok(runtime),
        None => {
            let built = Builder::new_current_thread().enable_all().build()?;
            Ok(RUNTIME.get_or_init(|| built))
        }
    }
}
