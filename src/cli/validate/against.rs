//! `--against`: another version of the same directory.

use std::path::Path;
use std::sync::Arc;

use super::super::{Exit, Refused};
use crate::definition::{LoadOptions, Loader, ReadFrom, Snapshot, is_part};
use crate::git::{GitError, WorkTree};
use crate::model::Desired;
use crate::plan::{self, Plan};

/// What changes from the other version to this one.
pub(super) struct Comparison {
    /// The other version, as people know it.
    pub(super) with: String,
    /// Its files that cannot be used.
    pub(super) not_compared: Vec<String>,
    /// The changes, as a plan.
    pub(super) plan: Plan,
}

/// Compares `new`, which `options` read, with what `against` names: a directory
/// if there is one, else a revision.
pub(super) fn compare(against: &str, new: &Desired, options: &LoadOptions<'_>) -> anyhow::Result<Comparison> {
    let (old, with) = if Path::new(against).is_dir() {
        let options = LoadOptions { from: ReadFrom::Directory(Path::new(against)), ..*options };
        (Loader::default().load(&options)?, against.to_owned())
    } else {
        of_revision(against, new, options)?
    };
    let not_compared = old.unresolved.iter().map(|file| file.file.to_string()).collect();
    Ok(Comparison { with, not_compared, plan: plan::compare(&old, new) })
}

fn of_revision(revision: &str, new: &Desired, options: &LoadOptions<'_>) -> anyhow::Result<(Arc<Desired>, String)> {
    let usage = |message: String| anyhow::Error::from(Refused { exit: Exit::Usage, message });
    let Some(tree) = WorkTree::holding(&new.dir)? else {
        let dir = new.dir.display();
        return Err(usage(format!("--against {revision}: not a directory, and {dir} is not in a Git repository")));
    };
    let commit = tree.resolve(revision).map_err(|problem| match problem {
        GitError::NoCommit { .. } => usage(format!("--against {revision}: not a directory, and {problem}")),
        other => other.into(),
    })?;
    let snapshot = match tree.files(&commit, is_part) {
        Ok(files) => Snapshot::new(files),
        // The commit that adds the directory has nothing to compare with.
        Err(GitError::NoDirectory { .. }) => Snapshot::default(),
        Err(problem) => return Err(problem.into()),
    };
    let short = commit.short();
    let with = if commit.as_str().starts_with(revision) { short.to_owned() } else { format!("{revision} ({short})") };
    let options = LoadOptions { from: ReadFrom::Commit(&snapshot), ..*options };
    Ok((Loader::default().load(&options)?, with))
}
