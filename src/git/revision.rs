//! Which files show that a revision now names another commit.
//!
//! Git keeps a branch in its own file (`refs/heads/main`), together with others
//! (`packed-refs`), or in tables (`reftable/`), and replaces each by a rename.
//! gitrevisions(7) defines which file a name stands for; missing ones may appear
//! later. What only Git knows, such as a changed `@{upstream}`, is noticed at the
//! next resync.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::WorkTree;
use crate::sys::regular;

/// The longest reference file that is read, bytes: it contains one name.
const LONGEST: u64 = 8 << 10;

/// The most references followed one after another: Git's own limit.
const MOST_LINKS: usize = 5;

/// The files that decide which commit `revision` names in the repository around
/// `dir`; without one, where it would be.
#[must_use]
pub fn revision_files(dir: &Path, revision: &str) -> BTreeSet<PathBuf> {
    match WorkTree::holding(dir) {
        Ok(Some(tree)) => tree.revision_files(revision),
        // There is no repository, or none that can be read: it may be created, or
        // fixed.
        _ => [dir.to_owned(), dir.join(".git")].into(),
    }
}

impl WorkTree {
    /// The files that decide which commit `revision` names here.
    #[must_use]
    pub fn revision_files(&self, revision: &str) -> BTreeSet<PathBuf> {
        let Self { own, common, .. } = self;
        let mut files: BTreeSet<PathBuf> = [common.join("packed-refs"), common.join("reftable/tables.list")].into();
        for name in names(revision) {
            let mut name = name;
            for _ in 0..=MOST_LINKS {
                // Only top-level names belong to one work tree alone.
                let file = if name.contains('/') { common.join(&name) } else { own.join(&name) };
                let next = regular::read(&file, LONGEST).ok().and_then(|content| link(&content));
                files.insert(file);
                let Some(next) = next else { break };
                name = next;
            }
        }
        files
    }
}

/// What a name may be short for: gitrevisions(7).
fn names(revision: &str) -> Vec<String> {
    let end = ["~", "^", ":", "@{"].iter().filter_map(|mark| revision.find(mark)).min().unwrap_or(revision.len());
    let name = match &revision[..end] {
        "" | "@" => "HEAD",
        name => name,
    };
    let places = ["", "refs/", "refs/tags/", "refs/heads/", "refs/remotes/"];
    let mut names: Vec<String> = places.iter().map(|place| format!("{place}{name}")).collect();
    names.push(format!("refs/remotes/{name}/HEAD"));
    names.retain(|name| !name.split('/').any(|part| part.is_empty() || part == ".." || part == "."));
    names
}

/// The reference that another one points to.
fn link(content: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(content).ok()?.strip_prefix("ref:")?.trim();
    target.starts_with("refs/").then(|| target.to_owned()).filter(|target| !target.contains(".."))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::super::work_tree::tests::commands;
    use super::*;

    #[test]
    fn looks_up_a_name_in_gits_order() {
        let all = |name: &str| {
            let places = ["", "refs/", "refs/tags/", "refs/heads/", "refs/remotes/"];
            let mut all: Vec<String> = places.map(|place| format!("{place}{name}")).into();
            all.push(format!("refs/remotes/{name}/HEAD"));
            all
        };
        assert_eq!(names("origin/main"), all("origin/main"));
        assert_eq!(names("main~2^{tree}"), all("main"));
        for head in ["HEAD", "@", "@{upstream}", "@~3"] {
            assert_eq!(names(head)[0], "HEAD", "{head}");
        }
        assert_eq!(names("a@b"), all("a@b"));
        assert!(names("../../etc/passwd").is_empty());
    }

    #[test]
    fn a_branch_that_is_checked_out_is_found_through_head_also_in_a_linked_work_tree() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap();
        let main = top.join("repo");
        commands(&top, &["init -q -b main repo"]);
        commands(&main, &["commit -q --allow-empty -m first", "worktree add -q -b other ../linked"]);
        let here = revision_files(&main.join("models.d"), "HEAD");
        let git_dir = main.join(".git");
        for file in ["HEAD", "refs/heads/main", "packed-refs", "reftable/tables.list"] {
            assert!(here.contains(&git_dir.join(file)), "{file}: {here:?}");
        }
        let linked = revision_files(&top.join("linked/models.d"), "HEAD");
        for file in ["worktrees/linked/HEAD", "refs/heads/other", "packed-refs"] {
            assert!(linked.contains(&git_dir.join(file)), "{file}: {linked:?}");
        }
        assert_eq!(revision_files(&top.join("none"), "HEAD"), [top.join("none"), top.join("none/.git")].into());
    }
}
