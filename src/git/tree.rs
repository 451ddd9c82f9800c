//! The files of one directory in a commit.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::GitError;
use super::run::{git, git_reads, stdout, unexpected};
use crate::model::Commit;
use crate::program::End;

/// A file in a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeFile {
    /// Its name, in its directory.
    pub name: OsString,
    /// Whether its content is the path of another.
    pub is_link: bool,
    /// Bytes.
    pub size: u64,
    /// What Git calls its content.
    object: String,
}

/// What lies directly in `dir` of the work tree at `top`, in `commit`.
/// Directories and submodules are left out.
pub(super) fn list(top: &Path, dir: &Path, commit: &Commit) -> Result<Vec<TreeFile>, GitError> {
    let no_directory = || GitError::NoDirectory { dir: dir.to_owned(), commit: commit.clone() };
    let tree = format!("{commit}:{}", dir.to_str().ok_or_else(no_directory)?);
    let kind = git(top, "cat-file", ["-t", &tree])?;
    if kind.end != End::Code(0) || kind.stdout != b"tree\n" {
        return Err(no_directory());
    }
    let said = stdout(top, "ls-tree", git(top, "ls-tree", ["-z", "-l", "--end-of-options", &tree])?)?;
    let entries = said.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    let files = entries.map(|entry| parse_entry(entry).ok_or_else(|| unexpected("ls-tree", entry)));
    files.filter_map(Result::transpose).collect()
}

/// `MODE TYPE OBJECT SIZE<tab>NAME`; `Some(None)`: no file.
fn parse_entry(entry: &[u8]) -> Option<Option<TreeFile>> {
    let tab = entry.iter().position(|byte| *byte == b'\t')?;
    let (head, name) = (std::str::from_utf8(&entry[..tab]).ok()?, &entry[tab + 1..]);
    let mut words = head.split_ascii_whitespace();
    let (mode, kind, object, size) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if kind != "blob" {
        return Some(None);
    }
    Some(Some(TreeFile {
        name: OsStr::from_bytes(name).to_owned(),
        is_link: mode == "120000",
        size: size.parse().ok()?,
        object: object.to_owned(),
    }))
}

/// The contents of `files`.
pub(super) fn read(top: &Path, files: &[&TreeFile]) -> Result<Vec<Vec<u8>>, GitError> {
    const COMMAND: &str = "cat-file";
    // Beside each content: a line that names it, and a line end.
    let most: u64 = files.iter().map(|file| file.size + 128).sum();
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let input: String = files.iter().map(|file| format!("{}\n", file.object)).collect();
    let said = stdout(top, COMMAND, git_reads(top, COMMAND, ["--batch"], input.as_bytes(), most)?)?;
    let mut rest = &said[..];
    files
        .iter()
        .map(|file| {
            let (content, after) = parse_content(rest, file).ok_or_else(|| unexpected(COMMAND, rest))?;
            rest = after;
            Ok(content)
        })
        .collect()
}

/// `OBJECT blob SIZE<newline>CONTENT<newline>`, and what follows.
fn parse_content<'s>(said: &'s [u8], file: &TreeFile) -> Option<(Vec<u8>, &'s [u8])> {
    let head = format!("{} blob {}\n", file.object, file.size);
    let rest = said.strip_prefix(head.as_bytes())?;
    let (content, rest) = rest.split_at_checked(usize::try_from(file.size).ok()?)?;
    Some((content.to_owned(), rest.strip_prefix(b"\n")?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::WorkTree;
    use super::super::work_tree::tests::{commands, repository};
    use super::*;

    #[test]
    fn a_commit_keeps_its_files_whatever_lies_in_the_directory_now() {
        let (_temp, models) = repository();
        std::os::unix::fs::symlink("a.toml", models.join("link.toml")).unwrap();
        std::fs::create_dir(models.join("sub")).unwrap();
        std::fs::write(models.join("sub/b.toml"), "").unwrap();
        std::fs::write(models.join("empty\nname"), "").unwrap();
        commands(&models, &["add .", "commit -q -m second"]);
        let tree = WorkTree::holding(&models).unwrap().unwrap();
        let commit = tree.head().unwrap().unwrap();
        std::fs::write(models.join("a.toml"), "edited").unwrap();

        let files = tree.list(&commit).unwrap();
        let seen: Vec<_> = files.iter().map(|file| (file.name.to_str().unwrap(), file.is_link)).collect();
        assert_eq!(seen, [("a.toml", false), ("empty\nname", false), ("link.toml", true)]);
        let contents = tree.read(&files.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(contents, [b"a = 1\n".to_vec(), Vec::new(), b"a.toml".to_vec()]);
        assert!(tree.read(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_commit_without_the_directory_says_so() {
        let (_temp, models) = repository();
        let later = models.parent().unwrap().join("later.d");
        std::fs::create_dir(&later).unwrap();
        let tree = WorkTree::holding(&later).unwrap().unwrap();
        let problem = tree.list(&tree.head().unwrap().unwrap()).unwrap_err();
        assert!(matches!(problem, GitError::NoDirectory { .. }), "{problem}");
    }
}
