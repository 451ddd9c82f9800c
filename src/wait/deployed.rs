//! Whether the definitions that herdsman reads are those of a commit, or of one
//! that came after it.

use std::path::Path;

use crate::definition::is_part;
use crate::git::{GitError, WorkTree};
use crate::host::RevisionError;
use crate::model::Commit;

/// Where a commit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployed {
    /// In what is read: it, or a later one.
    In {
        /// The commit asked for.
        wanted: Commit,
        /// The one that is read.
        read: Commit,
    },
    /// Not there yet: why, and what is to be done about it.
    NotYet(String),
}

/// Whether `wanted` is in what is read of `dir`, absolute: in the commit that
/// `revision` names or, without one, in the commit that is checked out, with no
/// definition edited.
///
/// # Errors
/// There is no repository, or Git does not read it.
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
        let next = if revision.is_some() { "fetch it, unless it was dropped from there" } else { "check it out" };
        let why = format!("{name} is {}, which does not have {} in it: {next}", read.short(), wanted.short());
        return Ok(Deployed::NotYet(why));
    }
    if revision.is_none()
        && let Some(edited) = tree.changed()?.first(is_part)
    {
        let file = dir.join(edited);
        let why = format!("{} is otherwise than in {}: commit it, or take it back", file.display(), read.short());
        return Ok(Deployed::NotYet(why));
    }
    Ok(Deployed::In { wanted, read })
}
