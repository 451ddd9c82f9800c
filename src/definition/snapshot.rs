//! The files of a directory of definitions in a commit, read without the work tree.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::directory::Stamp;
use super::text::{self, TextProblem};
use crate::git::Entry;

/// The files of a directory, in one commit.
#[derive(Debug, Default)]
pub struct Snapshot(BTreeMap<OsString, (Stamp, Entry)>);

impl Snapshot {
    /// Of these files.
    #[must_use]
    pub fn new(files: BTreeMap<OsString, Entry>) -> Self {
        Self(files.into_iter().map(|(name, entry)| (name, (stamp(&entry), entry))).collect())
    }

    /// The names of its files.
    pub(super) fn names(&self) -> impl Iterator<Item = &OsString> {
        self.0.keys()
    }

    /// Identifies this content of a file.
    pub(super) fn stamp(&self, name: &OsStr) -> Option<Stamp> {
        self.0.get(name).map(|(stamp, _)| *stamp)
    }

    /// The text of a file.
    pub(super) fn text(&self, name: &OsStr) -> Result<&str, TextProblem> {
        let problem = |message: &str, help| Err(TextProblem { message: message.to_owned(), help });
        match self.0.get(name).map(|(_, entry)| entry) {
            Some(Entry::File(content)) => text::checked(content),
            Some(Entry::TooLarge(_)) => Err(text::too_large()),
            Some(Entry::Directory) => problem("the file is a directory", text::NOT_A_DIRECTORY),
            Some(Entry::LinkAway) => problem(
                "the file is a symlink to something that is not in the commit",
                "commit the file itself, or a symlink to another file in the repository, written without `./`",
            ),
            None => problem("the file is not in the commit", "commit it"),
        }
    }
}

fn stamp(entry: &Entry) -> Stamp {
    let digest = |kind: u8, content: &[u8]| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[kind]).update(content);
        Stamp::Content(*hasher.finalize().as_bytes())
    };
    match entry {
        Entry::File(content) => digest(0, content),
        Entry::TooLarge(size) => digest(1, &size.to_le_bytes()),
        Entry::LinkAway => digest(2, &[]),
        Entry::Directory => digest(3, &[]),
    }
}
