//! Commits one file, and nothing else that is staged or edited.
//!
//! Git does it as for a user: hooks run, and `index.lock` keeps others away, passes of
//! herdsman too, until the commit is made or refused.

use std::path::Path;
use std::time::Duration;

use super::run::{git_writes, stdout};
use super::{GitError, WorkTree};
use crate::model::Commit;
use crate::sys::program::End;

/// What stands for a mail address: the holder of a key has none here.
const ADDRESS: &str = "herdsman@localhost";

/// How long each command may take: hooks run tests, or ask a server.
const TIME: Duration = Duration::from_secs(5 * 60);

/// Commits the file `name` of `dir` as it is there now, or its deletion, by `author`.
/// Returns the commit; `None`: the last commit has the file as it is, or Git has made
/// one and does not say which.
///
/// # Errors
/// There is no repository, or Git or a hook refuses: the index is as it was, or the
/// error says what is not.
pub fn commit_file(dir: &Path, name: &str, message: &str, author: &str) -> Result<Option<Commit>, GitError> {
    commit_within(TIME, dir, name, message, author)
}

fn commit_within(
    time: Duration,
    dir: &Path,
    name: &str,
    message: &str,
    author: &str,
) -> Result<Option<Commit>, GitError> {
    let Some(tree) = WorkTree::holding(dir)? else { return Err(GitError::NoRepository(dir.to_owned())) };
    let file = TheFile { tree, dir, name, time };
    file.commit(message, author).map_err(|refused| file.with_lock(refused))
}

/// The file to commit.
struct TheFile<'a> {
    tree: WorkTree,
    dir: &'a Path,
    name: &'a str,
    /// How long each command may take.
    time: Duration,
}

impl TheFile<'_> {
    fn commit(&self, message: &str, author: &str) -> Result<Option<Commit>, GitError> {
        let status = self.status()?;
        if status.is_empty() {
            return Ok(None);
        }
        let before = self.tree.head()?;
        // Git commits only what it knows of.
        let is_new = status.starts_with(b"??") || status.starts_with(b"!!");
        if is_new {
            self.write("add", &["--intent-to-add", "--", self.name], &[])?;
        }
        let args = ["--quiet", "--only", "--message", message, "--", self.name];
        let Err(refused) = self.write("commit", &args, &names(author)) else {
            return Ok(self.tree.head().unwrap_or_default());
        };
        let refused = match self.made_since(before.as_ref()) {
            Ok(Some(commit)) => {
                tracing::warn!("{} is committed, but {refused}", self.name);
                return Ok(Some(commit));
            }
            Ok(None) => refused,
            Err(error) => also(refused, &format!("whether it is committed is unknown: {error}; see `git log`")),
        };
        let forgotten = if is_new { self.write("rm", &["--quiet", "--cached", "--", self.name], &[]) } else { Ok(()) };
        Err(match forgotten {
            Ok(()) => refused,
            Err(error) => also(refused, &format!("{} stays in the index: {error}", self.name)),
        })
    }

    /// Returns the commit that has the file as it is and was not there `before`: what
    /// fails after it, such as a hook, does not take it back.
    fn made_since(&self, before: Option<&Commit>) -> Result<Option<Commit>, GitError> {
        let now = self.tree.head()?;
        // Another Git may have made it, with other files.
        Ok(if now.as_ref() != before && self.status()?.is_empty() { now } else { None })
    }

    /// Adds to an error that no pass reads the definitions, if that is so: a Git that was
    /// killed leaves its lock.
    fn with_lock(&self, refused: GitError) -> GitError {
        let lock = self.tree.own.join("index.lock");
        if !lock.exists() {
            return refused;
        }
        also(refused, &format!("{} still exists; if no git is running there, remove the file", lock.display()))
    }

    /// Returns what Git says of the file; nothing: it is as in the last commit, or neither
    /// there nor in that.
    fn status(&self) -> Result<Vec<u8>, GitError> {
        let args = ["--porcelain", "--untracked-files=all", "--ignored=matching", "--", self.name];
        stdout(self.dir, "status", git_writes(self.dir, "status", args, &[], self.time)?)
    }

    fn write(&self, subcommand: &'static str, args: &[&str], variables: &[(&str, &str)]) -> Result<(), GitError> {
        let output = git_writes(self.dir, subcommand, args.iter().copied(), variables, self.time)?;
        match output.end {
            End::Code(0) => Ok(()),
            // It may say why on either; a hook says more than Git.
            _ if output.stderr.is_empty() => Err(failed(self.dir, subcommand, &output.stdout, output.end)),
            _ => stdout(self.dir, subcommand, output).map(drop),
        }
    }
}

fn also(refused: GitError, also: &str) -> GitError {
    GitError::Also { refused: Box::new(refused), also: also.to_owned() }
}

fn failed(dir: &Path, command: &'static str, said: &[u8], end: End) -> GitError {
    let said = crate::model::text::printable(String::from_utf8_lossy(said).trim());
    GitError::Failed { command, dir: dir.to_owned(), why: format!("{end}: {said}") }
}

/// The author made the change, and herdsman commits it. Git refuses
/// a name that has nothing but punctuation.
fn names(author: &str) -> [(&'static str, &str); 4] {
    let author = if author.chars().any(char::is_alphanumeric) { author } else { "herdsman" };
    [
        ("GIT_AUTHOR_NAME", author),
        ("GIT_AUTHOR_EMAIL", ADDRESS),
        ("GIT_COMMITTER_NAME", "herdsman"),
        ("GIT_COMMITTER_EMAIL", ADDRESS),
    ]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::super::run::git;
    use super::super::work_tree::tests::{commands, repository};
    use super::*;

    fn said(dir: &Path, subcommand: &'static str, args: &[&str]) -> String {
        String::from_utf8(git(dir, subcommand, args.iter().copied()).unwrap().stdout).unwrap()
    }

    #[test]
    fn commits_one_file_and_leaves_what_is_staged_and_edited() {
        let (_temp, models) = repository();
        for name in ["staged.toml", "new.toml", "-b[c].toml"] {
            std::fs::write(models.join(name), "x = 1\n").unwrap();
        }
        std::fs::write(models.join("a.toml"), "a = 2\n").unwrap();
        commands(&models, &["add staged.toml"]);
        let commit = commit_file(&models, "-b[c].toml", "Add it", "ann <b> \n").unwrap().unwrap();
        assert_eq!(said(&models, "rev-parse", &["HEAD"]).trim(), commit.as_str());
        let shown = said(&models, "show", &["--format=%an <%ae>, %cn: %s", "--name-status", "HEAD"]);
        assert_eq!(shown, "ann b <herdsman@localhost>, herdsman: Add it\n\nA\tmodels.d/-b[c].toml\n");
        let rest = "M models.d/a.toml\nA  models.d/staged.toml\n?? models.d/new.toml\n";
        assert_eq!(said(&models, "status", &["--porcelain"]).trim_start(), rest);

        std::fs::remove_file(models.join("-b[c].toml")).unwrap();
        assert!(commit_file(&models, "-b[c].toml", "Delete it", "???").unwrap().is_some());
        assert_eq!(commit_file(&models, "-b[c].toml", "Delete it", "ann").unwrap(), None, "nothing to commit");
        let shown = said(&models, "show", &["--format=%an", "--name-status", "HEAD"]);
        assert_eq!(shown, "herdsman\n\nD\tmodels.d/-b[c].toml\n");
        assert_eq!(said(&models, "status", &["--porcelain"]).trim_start(), rest);
    }

    /// Has Git run a script at a commit.
    fn hook(models: &Path, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let hook = models.join("../.git/hooks").join(name);
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_refused_commit_leaves_the_index_as_it_was() {
        let (_temp, models) = repository();
        hook(&models, "pre-commit", "echo not on a Sunday >&2; exit 1");
        std::fs::write(models.join("new.toml"), "").unwrap();
        let refused = commit_file(&models, "new.toml", "Add it", "ann").unwrap_err().to_string();
        assert!(refused.ends_with("ended with exit code 1: not on a Sunday"), "{refused}");
        assert_eq!(said(&models, "status", &["--porcelain"]), "?? models.d/new.toml\n");
        let alone = tempfile::tempdir().unwrap();
        assert!(matches!(commit_file(alone.path(), "a.toml", "", "ann"), Err(GitError::NoRepository(_))));
    }

    #[test]
    fn a_hook_that_takes_too_long_leaves_no_lock() {
        let (_temp, models) = repository();
        hook(&models, "pre-commit", "sleep 100");
        std::fs::write(models.join("a.toml"), "a = 2\n").unwrap();
        let time = Duration::from_secs(2);
        let refused = commit_within(time, &models, "a.toml", "Change it", "ann").unwrap_err().to_string();
        assert!(refused.ends_with("did not finish within 2 s"), "{refused}");
        assert!(!models.join("../.git/index.lock").exists());
        assert_eq!(said(&models, "status", &["--porcelain"]), " M models.d/a.toml\n");
    }

    #[test]
    fn a_refusal_and_the_lock_that_stays_are_both_reported() {
        let (_temp, models) = repository();
        let lock = models.parent().unwrap().join(".git/index.lock");
        hook(&models, "pre-commit", &format!("echo not on a Sunday >&2; kill -KILL $PPID; : >{}", lock.display()));
        std::fs::write(models.join("new.toml"), "").unwrap();
        let refused = commit_file(&models, "new.toml", "Add it", "ann").unwrap_err().to_string();
        let parts = ["was killed by signal 9: not on a Sunday", "new.toml stays in the index", "remove the file"];
        assert!(parts.iter().all(|part| refused.contains(part)), "{refused}");
        assert!(refused.contains(&format!("{} still exists", lock.display())), "{refused}");
    }

    #[test]
    fn what_fails_after_the_commit_does_not_take_it_back() {
        let (_temp, models) = repository();
        hook(&models, "post-commit", "kill -TERM $PPID");
        for text in ["a = 2\n", "a = 3\n"] {
            std::fs::write(models.join("a.toml"), text).unwrap();
            let commit = commit_file(&models, "a.toml", "Change it", "ann").unwrap().unwrap();
            assert_eq!(said(&models, "rev-parse", &["HEAD"]).trim(), commit.as_str());
            assert_eq!(said(&models, "show", &["HEAD:models.d/a.toml"]), text);
        }
    }
}
