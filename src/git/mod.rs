//! The Git repository that holds the definitions: which commit is checked out,
//! whether files differ from it, and the files of another commit.
//!
//! Git itself is asked, by its commands for programs: it knows every format of
//! repository, and whom it trusts (`safe.directory`). It takes no lock
//! (`GIT_OPTIONAL_LOCKS`), runs no `fsmonitor` that a repository configures, and
//! looks at no repository that the environment names.

mod revision;
mod run;
mod tree;
mod work_tree;

use std::path::PathBuf;

pub use revision::revision_files;
pub use tree::Entry;
pub use work_tree::{Changed, WorkTree};

/// Why Git does not say what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// No program of that name.
    #[error("git is not in PATH; install Git")]
    NotInstalled,
    /// It failed, or was ended.
    #[error("git {command} in {} {why}", dir.display())]
    Failed {
        /// Its subcommand.
        command: &'static str,
        /// Where it ran.
        dir: PathBuf,
        /// What it said last.
        why: String,
    },
    /// No commit of that name.
    #[error("{revision:?} is not a commit of the repository {}; see `git log`, or run `git fetch` first", dir.display())]
    NoCommit {
        /// As it was given.
        revision: String,
        /// The work tree.
        dir: PathBuf,
    },
    /// The commit has no such directory.
    #[error("{} is not a directory in commit {commit}; see `git ls-tree {commit}`", dir.display())]
    NoDirectory {
        /// The directory, from the top of the work tree.
        dir: PathBuf,
        /// The commit.
        commit: crate::model::Commit,
    },
    /// Something this program does not understand.
    #[error("cannot understand the output of git {command}: {said:?}")]
    Unexpected {
        /// Its subcommand.
        command: &'static str,
        /// The beginning of it.
        said: String,
    },
}
