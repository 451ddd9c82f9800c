//! The llama-server that tests run: always the real one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The path of the pinned llama-server. `examples/llama-server.sh` installs it
/// on first use; tests of other processes wait for that one install.
/// `HERDSMAN_TEST_LLAMA_SERVER` names another to test with.
///
/// # Panics
/// There is none to be had: a test without a llama-server has not passed.
pub fn llama_server() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(find).clone()
}

fn find() -> PathBuf {
    if let Some(path) = std::env::var_os("HERDSMAN_TEST_LLAMA_SERVER") {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "HERDSMAN_TEST_LLAMA_SERVER={} is no file", path.display());
        return path;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/llama-server.sh");
    let install = Command::new("sh").arg(&script).arg("--pinned").stdin(Stdio::null()).output();
    let install = install.unwrap_or_else(|e| panic!("cannot run sh {}: {e}", script.display()));
    let diagnostics = String::from_utf8_lossy(&install.stderr);
    assert!(install.status.success(), "tests need a real llama-server and got none:\n{diagnostics}");
    PathBuf::from(String::from_utf8(install.stdout).unwrap().trim_end())
}
