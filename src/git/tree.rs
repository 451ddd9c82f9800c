//! The files of one directory in a commit.
//!
//! Nothing is checked out or written. Git follows links as long as they stay in the
//! commit, so that they cannot name files of the host; it does not follow a link
//! written with `./`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::GitError;
use super::run::{OUTPUT, git, git_reads, stdout, unexpected};
use crate::model::Commit;
use crate::sys::program::End;

/// The largest file that is read, bytes; a definition may have 256 KiB.
const LARGEST: u64 = 1 << 20;

/// The most bytes of all files together: a commit can give one content any number
/// of names, so only this limits the memory they take.
const LARGEST_OF_ALL: u64 = 64 << 20;

/// What a commit has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A file, or a link to one in the same commit: its content.
    File(Arc<[u8]>),
    /// A file that is too large to be read: its size, bytes.
    TooLarge(u64),
    /// A link out of the commit, to nothing, or in a loop.
    LinkAway,
    /// A directory or a submodule, or a link to one.
    Directory,
}

/// Reads what `dir` of the work tree at `top` has in `commit`, under the names that
/// are `wanted`.
pub(super) fn read(
    top: &Path,
    dir: &Path,
    commit: &Commit,
    wanted: impl Fn(&OsStr) -> bool,
) -> Result<BTreeMap<OsString, Entry>, GitError> {
    let no_directory = || GitError::NoDirectory { dir: dir.to_owned(), commit: commit.clone() };
    let tree = format!("{commit}:{}", dir.to_str().ok_or_else(no_directory)?);
    let kind = git(top, "cat-file", ["-t", &tree])?;
    if kind.end != End::Code(0) || kind.stdout != b"tree\n" {
        return Err(no_directory());
    }
    let said = stdout(top, "ls-tree", git(top, "ls-tree", ["-z", "--name-only", "--end-of-options", &tree])?)?;
    let names = said.split(|byte| *byte == 0).map(OsStr::from_bytes).filter(|name| !name.is_empty() && wanted(name));
    let names: Vec<&OsStr> = names.collect();
    let found = find(top, &tree, &names)?;
    let small = |found: &TreeEntry| matches!(found, TreeEntry::Blob { size, .. } if *size <= LARGEST);
    let objects: BTreeMap<&str, u64> = found.iter().filter(|found| small(found)).filter_map(TreeEntry::blob).collect();
    let contents = contents(top, &objects)?;
    let entry = |found: &TreeEntry| match found {
        TreeEntry::Blob { object, size } => {
            contents.get(object.as_str()).map_or(Entry::TooLarge(*size), |content| Entry::File(Arc::clone(content)))
        }
        TreeEntry::Directory => Entry::Directory,
        TreeEntry::Nothing => Entry::LinkAway,
    };
    Ok(names.iter().map(|name| (*name).to_owned()).zip(found.iter().map(entry)).collect())
}

/// What is under a name, with links followed.
#[derive(Debug, PartialEq, Eq)]
enum TreeEntry {
    Blob { object: String, size: u64 },
    Directory,
    Nothing,
}

impl TreeEntry {
    fn blob(&self) -> Option<(&str, u64)> {
        match self {
            Self::Blob { object, size } => Some((object, *size)),
            Self::Directory | Self::Nothing => None,
        }
    }
}

/// Looks up each of `names` in `tree`, in order.
fn find(top: &Path, tree: &str, names: &[&OsStr]) -> Result<Vec<TreeEntry>, GitError> {
    const COMMAND: &str = "cat-file";
    // Git reads one name per line, so it cannot be asked for a name with a newline.
    let can_be_asked = |name: &OsStr| !name.as_bytes().contains(&b'\n');
    let prefix = if tree.ends_with(':') { tree.to_owned() } else { format!("{tree}/") };
    let asked = names.iter().filter(|name| can_be_asked(name));
    let input: Vec<u8> = asked.flat_map(|name| [prefix.as_bytes(), name.as_bytes(), b"\n"].concat()).collect();
    let args = ["--batch-check", "--follow-symlinks"];
    let said = stdout(top, COMMAND, git_reads(top, COMMAND, args, &input, OUTPUT)?)?;
    let mut rest = &said[..];
    let mut next = || {
        let (found, after) = parse_found(rest).ok_or_else(|| unexpected(COMMAND, rest))?;
        rest = after;
        Ok(found)
    };
    names.iter().map(|name| if can_be_asked(name) { next() } else { Ok(TreeEntry::Nothing) }).collect()
}

/// Parses `OBJECT TYPE SIZE`, or for a dangling link `WORD SIZE` and a line of that
/// many bytes (git-cat-file(1)); also returns the rest.
fn parse_found(said: &[u8]) -> Option<(TreeEntry, &[u8])> {
    let (line, rest) = split_line(said)?;
    let words: Vec<&str> = std::str::from_utf8(line).ok()?.split(' ').collect();
    match words[..] {
        [object, "blob", size] => Some((TreeEntry::Blob { object: object.to_owned(), size: size.parse().ok()? }, rest)),
        [_, "tree" | "commit", _] => Some((TreeEntry::Directory, rest)),
        ["symlink" | "dangling" | "loop" | "notdir", size] => {
            let (_, rest) = rest.split_at_checked(size.parse().ok()?)?;
            Some((TreeEntry::Nothing, rest.strip_prefix(b"\n")?))
        }
        // A submodule is a commit of another repository.
        [.., "missing" | "submodule"] => Some((TreeEntry::Directory, rest)),
        _ => None,
    }
}

fn split_line(said: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = said.iter().position(|byte| *byte == b'\n')?;
    Some((&said[..end], &said[end + 1..]))
}

/// Reads the contents of `objects`, each with its size.
fn contents<'o>(top: &Path, objects: &BTreeMap<&'o str, u64>) -> Result<BTreeMap<&'o str, Arc<[u8]>>, GitError> {
    const COMMAND: &str = "cat-file";
    // Besides each content: a line that names it, and a newline.
    let most: u64 = objects.values().map(|size| size + 128).sum();
    let most = usize::try_from(most.min(LARGEST_OF_ALL)).unwrap_or(usize::MAX);
    let input: String = objects.keys().map(|object| format!("{object}\n")).collect();
    let said = stdout(top, COMMAND, git_reads(top, COMMAND, ["--batch"], input.as_bytes(), most)?)?;
    let mut rest = &said[..];
    let read = objects.iter().map(|(object, size)| {
        let (content, after) = parse_content(rest, object, *size).ok_or_else(|| unexpected(COMMAND, rest))?;
        rest = after;
        Ok((*object, content.into()))
    });
    read.collect()
}

/// Parses `OBJECT blob SIZE<newline>CONTENT<newline>`; also returns the rest.
fn parse_content<'s>(said: &'s [u8], object: &str, size: u64) -> Option<(&'s [u8], &'s [u8])> {
    let rest = said.strip_prefix(format!("{object} blob {size}\n").as_bytes())?;
    let (content, rest) = rest.split_at_checked(usize::try_from(size).ok()?)?;
    Some((content, rest.strip_prefix(b"\n")?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::symlink;

    use super::super::WorkTree;
    use super::super::work_tree::tests::{commands, repository};
    use super::*;

    fn all(models: &Path) -> BTreeMap<String, Entry> {
        let tree = WorkTree::holding(models).unwrap().unwrap();
        let files = tree.files(&tree.head().unwrap().unwrap(), |_| true).unwrap();
        files.into_iter().map(|(name, entry)| (name.into_string().unwrap(), entry)).collect()
    }

    #[test]
    fn a_commit_keeps_its_files_whatever_is_in_the_directory() {
        let (_temp, models) = repository();
        std::fs::write(models.join("empty.toml"), "").unwrap();
        std::fs::write(models.join("same.toml"), "a = 1\n").unwrap();
        commands(&models, &["add .", "commit -q -m second"]);
        std::fs::write(models.join("a.toml"), "edited").unwrap();
        std::fs::write(models.join("new.toml"), "").unwrap();
        let one = Entry::File(b"a = 1\n"[..].into());
        let empty = Entry::File([][..].into());
        let files = [("a.toml", one.clone()), ("empty.toml", empty), ("same.toml", one.clone())];
        assert_eq!(all(&models), files.map(|(name, entry)| (name.to_owned(), entry)).into());

        let tree = WorkTree::holding(&models).unwrap().unwrap();
        let head = tree.head().unwrap().unwrap();
        let chosen = tree.files(&head, |name| name == "a.toml").unwrap();
        assert_eq!(chosen, [(OsString::from("a.toml"), one)].into());
        assert!(tree.files(&head, |_| false).unwrap().is_empty());
    }

    #[test]
    fn links_are_followed_within_the_commit_and_not_out_of_it() {
        let (_temp, models) = repository();
        let base = models.parent().unwrap().join("base");
        std::fs::create_dir_all(models.join("sub.toml")).unwrap();
        std::fs::create_dir(&base).unwrap();
        std::fs::write(models.join("sub.toml/b"), "").unwrap();
        std::fs::write(base.join("shared.toml"), "b = 2\n").unwrap();
        std::fs::write(models.join("large.toml"), vec![b'#'; (1 << 20) + 1]).unwrap();
        std::fs::write(models.join("a\nb.toml"), "").unwrap();
        let links = [
            ("beside.toml", "a.toml"),
            ("twice.toml", "beside.toml"),
            ("dot.toml", "./a.toml"),
            ("shared.toml", "../base/shared.toml"),
            ("host.toml", "/etc/passwd"),
            ("out.toml", "../../x"),
            ("gone.toml", "b.toml"),
            ("circle.toml", "circle.toml"),
            ("through.toml", "a.toml/x"),
            ("dir.toml", "../base"),
        ];
        for (name, target) in links {
            symlink(target, models.join(name)).unwrap();
        }
        commands(&models, &["add -A ..", "commit -q -m second"]);
        let (found, one) = (all(&models), Entry::File(b"a = 1\n"[..].into()));
        let of = |names: &[&str]| names.iter().map(|name| found[*name].clone()).collect::<Vec<_>>();
        assert_eq!(of(&["a.toml", "beside.toml", "twice.toml"]), [one.clone(), one.clone(), one]);
        assert_eq!(of(&["shared.toml"]), [Entry::File(b"b = 2\n"[..].into())]);
        // Git treats `.` as a name: git 2.47, tree-walk.c.
        let away = ["dot.toml", "host.toml", "out.toml", "gone.toml", "circle.toml", "through.toml", "a\nb.toml"];
        assert_eq!(of(&away), vec![Entry::LinkAway; away.len()]);
        assert_eq!(of(&["dir.toml", "sub.toml"]), [Entry::Directory, Entry::Directory]);
        assert_eq!(found["large.toml"], Entry::TooLarge((1 << 20) + 1));
    }

    #[test]
    fn a_commit_without_the_directory_says_so() {
        let (_temp, models) = repository();
        let later = models.parent().unwrap().join("later.d");
        std::fs::create_dir(&later).unwrap();
        let tree = WorkTree::holding(&later).unwrap().unwrap();
        let problem = tree.files(&tree.head().unwrap().unwrap(), |_| true).unwrap_err();
        assert!(matches!(problem, GitError::NoDirectory { .. }), "{problem}");
    }

    #[test]
    fn a_directory_that_is_not_checked_out_still_has_its_files() {
        let (_temp, models) = repository();
        let before = all(&models);
        std::fs::remove_dir_all(&models).unwrap();
        assert_eq!(all(&models), before);
    }

    #[test]
    fn many_names_of_large_contents_fill_no_memory() {
        let (_temp, models) = repository();
        for number in 0..70 {
            let mut content = vec![b'#'; 1 << 20];
            content[0] = number;
            std::fs::write(models.join(format!("{number}.toml")), content).unwrap();
        }
        commands(&models, &["add .", "commit -q -m second"]);
        let tree = WorkTree::holding(&models).unwrap().unwrap();
        let problem = tree.files(&tree.head().unwrap().unwrap(), |_| true).unwrap_err().to_string();
        assert!(problem.contains("wrote more than 67108864 bytes"), "{problem}");
    }
}
