//! A directory in a work tree.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::run::{git, stdout, unexpected};
use super::{Entry, GitError, tree};
use crate::model::Commit;
use crate::sys::program::End;

/// A directory in the work tree of a Git repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkTree {
    /// The top directory, with links resolved.
    top: PathBuf,
    /// The path from there to the directory; empty if it is the top.
    dir: PathBuf,
    /// Git's directory for this work tree alone, for example for `HEAD`.
    pub(crate) own: PathBuf,
    /// Git's directory for the whole repository, for example for branches.
    pub(crate) common: PathBuf,
}

/// Which files of a directory differ from the commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    names: BTreeSet<OsString>,
    /// The directory as a whole is not in Git.
    everything: bool,
}

impl Changed {
    /// Whether the file of this name differs.
    #[must_use]
    pub fn contains(&self, name: &OsStr) -> bool {
        self.everything || self.names.contains(name)
    }

    /// The first differing file whose name is `wanted`; an empty path if the whole
    /// directory is not in Git.
    #[must_use]
    pub fn first(&self, wanted: impl Fn(&OsStr) -> bool) -> Option<&Path> {
        let named = self.names.iter().find(|name| wanted(name)).map(Path::new);
        named.or_else(|| self.everything.then_some(Path::new("")))
    }
}

impl WorkTree {
    /// Finds the work tree around `dir`; `None` if there is none. Links are
    /// followed, because what counts is where the files really are. A missing `dir`
    /// belongs to the work tree that would contain it.
    ///
    /// # Errors
    /// There is a repository, but Git does not read it: Git is missing, or does not
    /// trust it.
    pub fn holding(dir: &Path) -> Result<Option<Self>, GitError> {
        let Some((there, below)) = nearest(dir) else { return Ok(None) };
        if !there.ancestors().any(|above| above.join(".git").exists()) {
            return Ok(None);
        }
        const COMMAND: &str = "rev-parse";
        let asked = ["--show-toplevel", "--git-dir", "--git-common-dir"];
        let said = stdout(&there, COMMAND, git(&there, COMMAND, asked)?)?;
        // The latter two may be relative to where Git ran.
        let lines = said.split(|byte| *byte == b'\n').map(|line| there.join(OsStr::from_bytes(line)));
        let [top, own, common, _end] = &lines.collect::<Vec<_>>()[..] else { return Err(unexpected(COMMAND, &said)) };
        let dir = there.join(below);
        let rest = dir.strip_prefix(top).map_err(|_| unexpected(COMMAND, &said))?;
        let (top, dir) = (top.clone(), rest.to_owned());
        Ok(Some(Self { top, dir, own: own.clone(), common: common.clone() }))
    }

    /// Whether both are in the same work tree.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.top == other.top
    }

    /// The directories that decide what a revision names, and what is in a commit.
    pub fn places(&self) -> impl Iterator<Item = PathBuf> {
        let names =
            ["", "HEAD", "config", "objects", "objects/pack", "packed-refs", "refs", "refs/heads", "refs/remotes"];
        std::iter::once(self.own.join("HEAD")).chain(names.map(|name| self.common.join(name)))
    }

    /// Resolves `revision` to a commit: a branch, a tag, a hash, `HEAD~1`.
    ///
    /// # Errors
    /// There is no such commit, or Git fails.
    pub fn resolve(&self, revision: &str) -> Result<Commit, GitError> {
        self.try_resolve(revision)?
            .ok_or_else(|| GitError::NoCommit { revision: revision.to_owned(), dir: self.top.clone() })
    }

    /// Returns the commit that is checked out; `None` before the first commit.
    ///
    /// # Errors
    /// Git fails.
    pub fn head(&self) -> Result<Option<Commit>, GitError> {
        self.try_resolve("HEAD")
    }

    fn try_resolve(&self, revision: &str) -> Result<Option<Commit>, GitError> {
        let commit = format!("{revision}^{{commit}}");
        let output = git(&self.top, "rev-parse", ["--verify", "--quiet", "--end-of-options", &commit])?;
        // With `--quiet`, no output means there is none; output means that it
        // failed.
        if output.end == End::Code(1) && output.stderr.is_empty() {
            return Ok(None);
        }
        let said = stdout(&self.top, "rev-parse", output)?;
        let name = std::str::from_utf8(&said).ok().and_then(|text| text.trim_end().parse().ok());
        name.map(Some).ok_or_else(|| unexpected("rev-parse", &said))
    }

    /// Lists what is directly in the directory, or was in the commit that is
    /// checked out, and differs: edited, staged, removed, ignored or unknown to
    /// Git.
    ///
    /// # Errors
    /// Git fails.
    pub fn changed(&self) -> Result<Changed, GitError> {
        let args = ["--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignored=matching"];
        let args = args.into_iter().chain(["--ignore-submodules=none", "--", ":(glob)*"]);
        let dir = self.top.join(&self.dir);
        let said = stdout(&dir, "status", git(&dir, "status", args)?)?;
        let mut changed = Changed::default();
        for entry in said.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
            // `XY PATH`, from the top of the work tree.
            let path = entry.get(3..).ok_or_else(|| unexpected("status", entry))?;
            match Path::new(OsStr::from_bytes(path)).strip_prefix(&self.dir) {
                Ok(name) if !name.as_os_str().is_empty() => changed.names.extend([name.as_os_str().to_owned()]),
                // A parent directory that is ignored as a whole, or this one.
                _ => changed.everything = true,
            }
        }
        Ok(changed)
    }

    /// Reads what is directly in the directory in `commit`, under names that are
    /// `wanted`; links are followed within the commit.
    ///
    /// # Errors
    /// The commit has no such directory, or Git fails.
    pub fn files(
        &self,
        commit: &Commit,
        wanted: impl Fn(&OsStr) -> bool,
    ) -> Result<BTreeMap<OsString, Entry>, GitError> {
        tree::read(&self.top, &self.dir, commit, wanted)
    }

    /// Whether `commit` is `later`, or an ancestor of it.
    ///
    /// # Errors
    /// Git fails.
    pub fn is_in(&self, commit: &Commit, later: &Commit) -> Result<bool, GitError> {
        const COMMAND: &str = "merge-base";
        let output = git(&self.top, COMMAND, ["--is-ancestor", commit.as_str(), later.as_str()])?;
        match output.end {
            End::Code(1) => Ok(false),
            _ => stdout(&self.top, COMMAND, output).map(|_| true),
        }
    }
}

/// Returns the nearest existing directory above `dir`, or `dir` itself, with links
/// resolved, and the path from there.
fn nearest(dir: &Path) -> Option<(PathBuf, &Path)> {
    dir.ancestors().find_map(|above| Some((above.canonicalize().ok()?, dir.strip_prefix(above).ok()?)))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::process::Command;

    use super::*;

    /// A repository with `models.d/a.toml` in its only commit.
    pub(in crate::git) fn repository() -> (tempfile::TempDir, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let models = temp.path().canonicalize().unwrap().join("models.d");
        std::fs::create_dir(&models).unwrap();
        std::fs::write(models.join("a.toml"), "a = 1\n").unwrap();
        commands(&models, &["init -q -b main ..", "add .", "commit -q -m first"]);
        (temp, models)
    }

    /// Runs Git commands as a user would.
    pub(in crate::git) fn commands(dir: &Path, commands: &[&str]) {
        for command in commands {
            let mut git = Command::new("git");
            // Ignores what this machine sets, or a hook that runs the tests.
            for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
                git.env_remove(name);
            }
            git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
            git.arg("-C").arg(dir).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(command.split(' '));
            let output = git.output().unwrap();
            assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    #[test]
    fn a_directory_without_a_repository_has_no_work_tree() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(WorkTree::holding(temp.path()).unwrap(), None);
        assert_eq!(WorkTree::holding(&temp.path().join("missing")).unwrap(), None);
    }

    #[test]
    fn a_work_tree_is_found_through_links_and_knows_its_commit() {
        let (temp, models) = repository();
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(&models, &link).unwrap();
        let tree = WorkTree::holding(&link).unwrap().unwrap();
        assert_eq!((&*tree.top, &*tree.dir), (models.parent().unwrap(), Path::new("models.d")));

        let head = tree.head().unwrap().unwrap();
        commands(&models, &["tag v1", "commit -q --allow-empty -m second"]);
        assert_eq!(tree.resolve("v1").unwrap(), head);
        assert_eq!(tree.resolve("HEAD~1").unwrap(), head);
        assert_ne!(tree.head().unwrap().unwrap(), head);
        for no_commit in ["v2", "HEAD:models.d", "--all", ""] {
            let problem = tree.resolve(no_commit).unwrap_err();
            assert!(matches!(problem, GitError::NoCommit { .. }), "{no_commit}: {problem}");
        }
    }

    #[test]
    fn a_repository_without_a_commit_has_no_head_and_everything_is_changed() {
        let temp = tempfile::tempdir().unwrap();
        commands(temp.path(), &["init -q"]);
        std::fs::write(temp.path().join("a.toml"), "").unwrap();
        let tree = WorkTree::holding(temp.path()).unwrap().unwrap();
        assert_eq!(tree.head().unwrap(), None);
        assert!(tree.changed().unwrap().contains(OsStr::new("a.toml")));
    }

    #[test]
    fn lists_changes_file_by_file() {
        let (_temp, models) = repository();
        let top = models.parent().unwrap();
        for name in ["b.toml", "removed.toml", "staged.toml"] {
            std::fs::write(models.join(name), "").unwrap();
        }
        std::fs::write(top.join(".gitignore"), "ignored.toml\n/other.d\n").unwrap();
        commands(top, &["add .", "commit -q -m second"]);
        let changed = |name: &str, dir: &Path| {
            WorkTree::holding(dir).unwrap().unwrap().changed().unwrap().contains(OsStr::new(name))
        };
        assert!(!changed("a.toml", &models));
        for name in ["a.toml", "new\n.toml", "ignored.toml", "staged.toml"] {
            std::fs::write(models.join(name), "edited").unwrap();
        }
        std::fs::remove_file(models.join("removed.toml")).unwrap();
        commands(&models, &["add staged.toml"]);
        for name in ["a.toml", "new\n.toml", "ignored.toml", "staged.toml", "removed.toml"] {
            assert!(changed(name, &models), "{name}");
        }
        assert!(!changed("b.toml", &models));
        std::fs::create_dir_all(top.join("other.d/inner")).unwrap();
        std::fs::write(top.join("other.d/inner/c.toml"), "").unwrap();
        assert!(changed("c.toml", &top.join("other.d/inner")), "all of an ignored directory is");
    }

    #[test]
    fn a_repository_that_git_cannot_read_is_an_error() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join(".git"), "gitdir: nowhere\n").unwrap();
        let problem = WorkTree::holding(temp.path()).unwrap_err().to_string();
        assert!(problem.contains("ended with exit code 128: fatal: not a git repository"), "{problem}");
    }
}
