//! Whether git is in the middle of changing the work tree.

use std::path::{Path, PathBuf};

use crate::sys::regular;

/// The longest `.git` file read, bytes: it holds one path.
const LONGEST: u64 = 8 << 10;

/// Returns the lock that git holds while it changes the work tree around `dir`;
/// `None` if there is no work tree.
///
/// Links are followed, because the lock belongs to where the files really are.
pub(super) fn index_lock(dir: &Path) -> Option<PathBuf> {
    let dir = dir.canonicalize().ok()?;
    let (top, dot_git) = dir.ancestors().map(|top| (top, top.join(".git"))).find(|(_, git)| git.exists())?;
    if dot_git.is_dir() {
        return Some(dot_git.join("index.lock"));
    }
    // A linked work tree or a submodule: `.git` is a file with `gitdir: PATH`.
    let text = String::from_utf8(regular::read(&dot_git, LONGEST).ok()?).ok()?;
    let git_dir = text.strip_prefix("gitdir:")?.trim();
    Some(top.join(git_dir).join("index.lock"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_lock_is_that_of_the_work_tree_above() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let models = top.join("repo/deploy/models.d");
        std::fs::create_dir_all(&models).unwrap();
        std::fs::create_dir(top.join("repo/.git")).unwrap();
        assert_eq!(index_lock(&models), Some(top.join("repo/.git/index.lock")));

        std::os::unix::fs::symlink(&models, top.join("link")).unwrap();
        assert_eq!(index_lock(&top.join("link")), Some(top.join("repo/.git/index.lock")));
    }

    #[test]
    fn a_linked_work_tree_has_its_lock_in_its_own_git_directory() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        std::fs::write(top.join(".git"), "gitdir: main/.git/worktrees/a\n").unwrap();
        assert_eq!(index_lock(&top), Some(top.join("main/.git/worktrees/a/index.lock")));
    }
}
