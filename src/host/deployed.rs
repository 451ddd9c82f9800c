//! Checks whether herdsman reads the definitions of a commit, or of a later one that
//! contains it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::RevisionError;
use crate::definition::is_part;
use crate::git::{GitError, WorkTree};
use crate::model::Commit;

/// Where a commit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployed {
    /// It is in what herdsman reads: the commit itself, or a later one.
    In {
        /// The commit asked for.
        wanted: Commit,
        /// The one that is read.
        read: Commit,
    },
    /// It is not there yet: why, and what to do about it.
    NotYet(String),
}

/// Whether `wanted` is in what is read of `dir`, absolute: in the commit that
/// `revision` names or, without one, in the commit that is checked out, with no
/// definition edited.
///
/// # Errors
/// There is no repository, or Git cannot read it.
pub fn deployed(dir: &Path, revision: Option<&str>, wanted: &str) -> Result<Deployed, RevisionError> {
    let name = revision.unwrap_or("HEAD");
    let no_repository = || RevisionError::NoRepository { revision: name.to_owned(), dir: dir.to_owned() };
    let tree = WorkTree::holding(dir)?.ok_or_else(no_repository)?;
    let (wanted, read) = match (tree.resolve(wanted), tree.resolve(name)) {
        (Ok(wanted), Ok(read)) => (wanted, read),
        (Err(missing @ GitError::NoCommit { .. }), _) | (_, Err(missing @ GitError::NoCommit { .. })) => {
            return Ok(Deployed::NotYet(missing.to_string()));
        }
        (Err(problem), _) | (_, Err(problem)) => return Err(problem.into()),
    };
    if !tree.is_in(&wanted, &read)? {
        let next = if revision.is_some() { "fetch it, or check that the branch still has it" } else { "check it out" };
        let why = format!("{name} is {}, which does not contain {}; {next}", read.short(), wanted.short());
        return Ok(Deployed::NotYet(why));
    }
    if revision.is_none()
        && let Some(file) = edited(&tree, dir)?
    {
        let why = format!("{} differs from {}; commit or revert the change", file.display(), read.short());
        return Ok(Deployed::NotYet(why));
    }
    Ok(Deployed::In { wanted, read })
}

/// Returns a definition that differs from the commit, or whose link target does.
/// A target outside the repository is in no commit.
fn edited(tree: &WorkTree, dir: &Path) -> Result<Option<PathBuf>, GitError> {
    if let Some(edited) = tree.changed()?.first(is_part) {
        return Ok(Some(dir.join(edited)));
    }
    let mut changed = BTreeMap::new();
    for target in links(dir) {
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else { continue };
        if !changed.contains_key(parent) {
            let there = WorkTree::holding(parent)?.filter(|there| there.is_same(tree));
            changed.insert(parent.to_owned(), there.map(|there| there.changed()).transpose()?);
        }
        if changed[parent].as_ref().is_some_and(|changed| changed.contains(name)) {
            return Ok(Some(target));
        }
    }
    Ok(None)
}

/// Returns the targets of definitions that are links. A link that leads nowhere is
/// an unreadable definition, which the plan reports.
fn links(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    links.filter(|link| is_part(&link.file_name())).filter_map(|link| link.path().canonicalize().ok()).collect()
}
