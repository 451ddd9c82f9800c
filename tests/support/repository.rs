//! The Git repository that the definitions lie in.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A real one.
pub struct Repository(PathBuf);

impl Repository {
    /// Makes one of `top`, in which only `models.d` is kept.
    pub fn init(top: &Path) -> Self {
        let repository = Self(top.to_owned());
        // Git removes a directory with its last file.
        std::fs::write(top.join("models.d/README"), "Random definitions.\n").unwrap();
        repository.git(&["init", "--quiet"]);
        repository
    }

    /// Commits the definitions as they are: the commit.
    pub fn commit(&self) -> String {
        self.git(&["add", "--all", "models.d"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "definitions"]);
        self.git(&["rev-parse", "HEAD"]).trim().to_owned()
    }

    /// Makes the definitions what they were in `commit`.
    pub fn check_out(&self, commit: &str) {
        self.git(&["checkout", "--quiet", commit]);
    }

    /// Runs git at the top: what it says.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.0, arguments)
    }
}

/// Runs git in `directory`: what it says.
#[track_caller]
pub fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    // Whatever is set on this machine, or by a hook that runs the tests.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
        command.env_remove(name);
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command.args(["-c", "user.name=tests", "-c", "user.email=tests@localhost", "-c", "gc.auto=0"]);
    command.args(["-c", "init.defaultBranch=main"]).args(arguments).current_dir(directory).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
