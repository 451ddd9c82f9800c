//! Commits one file, and nothing else that is staged or edited.
//!
//! Git does it as for a user: hooks run, and `index.lock` keeps others away, passes of
//! herdsman too, until the commit is made or refused.

use std::path::Path;

use super::run::{git_writes, stdout};
use super::{GitError, WorkTree};
use crate::model::Commit;
use crate::sys::program::End;

/// What stands for a mail address: the holder of a key has none here.
const ADDRESS: &str = "herdsman@localhost";

/// Commits the file `name` of `dir` as it is there now, or its deletion, by `author`.
/// Returns the commit; `None`: the last commit has the file as it is.
///
/// # Errors
/// There is no repository, or Git or a hook refuses: the index is as it was.
pub fn commit_file(dir: &Path, name: &str, message: &str, author: &str) -> Result<Option<Commit>, GitError> {
    let Some(tree) = WorkTree::holding(dir)? else { return Err(GitError::NoRepository(dir.to_owned())) };
    let status = status(dir, name)?;
    if status.is_empty() {
        return Ok(None);
    }
    // Git commits only what it knows of.
    let is_new = status.starts_with(b"??") || status.starts_with(b"!!");
    if is_new {
        write(dir, "add", &["--intent-to-add", "--", name], &[])?;
    }
    let committed = write(dir, "commit", &["--quiet", "--only", "--message", message, "--", name], &names(author));
    if let Err(refused) = committed {
        if is_new {
            write(dir, "rm", &["--quiet", "--cached", "--", name], &[])?;
        }
        return Err(refused);
    }
    tree.head()
}

/// Returns what Git says of the file; nothing: it is as in the last commit, or neither
/// there nor in that.
fn status(dir: &Path, name: &str) -> Result<Vec<u8>, GitError> {
    let args = ["--porcelain", "--untracked-files=all", "--ignored=matching", "--", name];
    stdout(dir, "status", git_writes(dir, "status", args, &[])?)
}

fn write(dir: &Path, subcommand: &'static str, args: &[&str], variables: &[(&str, &str)]) -> Result<(), GitError> {
    let output = git_writes(dir, subcommand, args.iter().copied(), variables)?;
    match output.end {
        End::Code(0) => Ok(()),
        // It may say why on either; a hook says more than Git.
        _ if output.stderr.is_empty() => Err(failed(dir, subcommand, &output.stdout, output.end)),
        _ => stdout(dir, subcommand, output).map(drop),
    }
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

    #[test]
    fn a_refused_commit_leaves_the_index_as_it_was() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_temp, models) = repository();
        let hook = models.join("../.git/hooks/pre-commit");
        std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
        std::fs::write(&hook, "#!/bin/sh\necho not on a Sunday >&2\nexit 1\n").unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(models.join("new.toml"), "").unwrap();
        let refused = commit_file(&models, "new.toml", "Add it", "ann").unwrap_err().to_string();
        assert!(refused.ends_with("ended with exit code 1: not on a Sunday"), "{refused}");
        assert_eq!(said(&models, "status", &["--porcelain"]), "?? models.d/new.toml\n");
        let alone = tempfile::tempdir().unwrap();
        assert!(matches!(commit_file(alone.path(), "a.toml", "", "ann"), Err(GitError::NoRepository(_))));
    }
}
