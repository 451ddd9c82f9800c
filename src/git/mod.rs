//! The Git repository that holds the definitions: which commit is checked out,
//! whether files differ from it, and the files of another commit.
//!
//! herdsman asks Git itself, by its plumbing commands: Git knows every repository
//! format, and whom it trusts (`safe.directory`). To read, it takes no lock
//! (`GIT_OPTIONAL_LOCKS`), runs no `fsmonitor` that a repository configures, and
//! ignores repositories named by the environment.

mod commit;
mod revision;
mod run;
mod tree;
mod work_tree;

use std::path::PathBuf;

pub use commit::commit_file;
pub use revision::revision_files;
pub use tree::Entry;
pub use work_tree::{Changed, WorkTree};

/// Why Git gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no `git` program.
    #[error("git is not in PATH; install Git")]
    NotInstalled,
    /// It failed, or was killed.
    #[error("git {command} in {} {why}", dir.display())]
    Failed {
        /// Its subcommand.
        command: &'static str,
        /// Where it ran.
        dir: PathBuf,
        /// Its last words.
        why: String,
    },
    /// It refused a change, and left something behind.
    #[error("{refused}; {also}")]
    Also {
        /// Why it refused.
        refused: Box<GitError>,
        /// What else went wrong, and what to do.
        also: String,
    },
    /// There is no repository to commit to.
    #[error("{} is not in a Git repository; run `git init` there, or remove `commit` from `[serve]`", .0.display())]
    NoRepository(PathBuf),
    /// The repository has no such commit.
    #[error("{revision:?} is not a commit of the repository {}; see `git log`, or run `git fetch` first", dir.display())]
    NoCommit {
        /// The revision as it was given.
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
    /// Output that herdsman does not understand.
    #[error("cannot understand the output of git {command}: {said:?}")]
    Unexpected {
        /// Its subcommand.
        command: &'static str,
        /// The start of it.
        said: String,
    },
}
