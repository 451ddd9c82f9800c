//! Definitions from a commit instead of the work tree.
//!
//! Every look asks Git for the commit that the revision names now, and reads its
//! files if it is a new one. Uncommitted edits, a half-done checkout and a missing
//! work tree make no difference.

use std::path::{Path, PathBuf};

use crate::definition::{Snapshot, is_part};
use crate::git::{GitError, WorkTree};
use crate::model::Commit;
use crate::sys::trust::{self, Untrusted};

/// Why no commit can be read.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// There is no repository.
    #[error("{} is not in a Git repository, so {revision:?} cannot be read; check --models-dir and --from-git (a bare repository does not work, but a clone without a checkout does: git clone --no-checkout)", dir.display())]
    NoRepository {
        /// The revision.
        revision: String,
        /// The directory of definitions.
        dir: PathBuf,
    },
    /// Git cannot read it.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Others can change the repository.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
}

/// A revision, and what was last read of it of one directory.
#[derive(Debug)]
pub(crate) struct FromGit {
    revision: String,
    last: Option<(Commit, Snapshot)>,
}

impl FromGit {
    pub fn new(revision: String) -> Self {
        Self { revision, last: None }
    }

    /// The files in `dir`, absolute, in the commit that the revision names now.
    /// With `owners`, root refuses a repository that others than those can change.
    pub fn read(&mut self, dir: &Path, owners: Option<&[u32]>) -> Result<&Snapshot, RevisionError> {
        let (tree, commit) = self.resolve(dir)?;
        if let Some(owners) = owners {
            let places = tree.places().chain(tree.revision_files(&self.revision));
            places.into_iter().try_for_each(|place| trust::require(&place, owners))?;
        }
        let last = match self.last.take() {
            Some(last) if last.0 == commit => last,
            _ => {
                let files = tree.files(&commit, is_part)?;
                (commit, Snapshot::new(files))
            }
        };
        Ok(&self.last.insert(last).1)
    }

    /// The commit that was read last.
    pub fn commit(&self) -> Option<&Commit> {
        self.last.as_ref().map(|(commit, _)| commit)
    }

    /// The commit that the revision names now.
    pub fn named(&self, dir: &Path) -> Option<Commit> {
        self.resolve(dir).ok().map(|(_, commit)| commit)
    }

    fn resolve(&self, dir: &Path) -> Result<(WorkTree, Commit), RevisionError> {
        let no_repository = || RevisionError::NoRepository { revision: self.revision.clone(), dir: dir.to_owned() };
        let tree = WorkTree::holding(dir)?.ok_or_else(no_repository)?;
        let commit = tree.resolve(&self.revision)?;
        Ok((tree, commit))
    }
}
