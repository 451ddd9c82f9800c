//! Which files of a directory are definitions, what is in them, and what tells
//! that one of them changed: on the disk, or in a commit.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::text::{self, TextProblem};
use super::{ReadFrom, Snapshot, defaults};
use crate::model::Commit;
use crate::trust::Access;

/// Where definition files are read.
#[derive(Clone, Copy)]
pub(super) enum Directory<'a> {
    /// From the disk.
    Disk(&'a Path),
    /// From a commit.
    Commit(&'a Snapshot),
}

impl<'a> Directory<'a> {
    /// Where the files of `dir` are read.
    pub fn of(from: ReadFrom<'a>, dir: &'a Path) -> Self {
        match from {
            ReadFrom::Itself => Self::Disk(dir),
            ReadFrom::Directory(other) => Self::Disk(other),
            ReadFrom::Commit(snapshot) => Self::Commit(snapshot),
        }
    }

    /// Where it is, if that is on the disk.
    pub fn on_disk(self) -> Option<&'a Path> {
        match self {
            Self::Disk(dir) => Some(dir),
            Self::Commit(_) => None,
        }
    }

    /// The names of its files.
    pub fn list(self) -> io::Result<Listing> {
        match self {
            Self::Disk(dir) => Listing::read(dir),
            Self::Commit(snapshot) => Ok(Listing::of(snapshot.names().cloned())),
        }
    }

    /// The stamp of a file now; `None` where there is none.
    pub fn stamp(self, name: &OsStr) -> Option<Stamp> {
        match self {
            Self::Disk(dir) => Stamp::of(&dir.join(name)),
            Self::Commit(snapshot) => snapshot.stamp(name),
        }
    }

    /// The text of a file, in `buffer` if it has to be read, and the stamp of
    /// what was opened; of what the name leads to where it could not be opened.
    pub fn read<'b>(&'b self, name: &OsStr, buffer: &'b mut Vec<u8>) -> (Option<Stamp>, Result<&'b str, TextProblem>) {
        match self {
            Self::Disk(dir) => {
                let path: PathBuf = dir.join(name);
                let (metadata, text) = text::read_into(&path, buffer);
                (metadata.map_or_else(|| Stamp::of(&path), |metadata| Some(Stamp::new(&metadata))), text)
            }
            Self::Commit(snapshot) => (snapshot.stamp(name), snapshot.text(name)),
        }
    }

    /// The text of the file at `path`, which is one of this directory; none
    /// if it cannot be read any more.
    pub fn text_again(self, path: &str) -> String {
        let name = Path::new(path).file_name().unwrap_or_default();
        self.read(name, &mut Vec::new()).1.unwrap_or_default().to_owned()
    }
}

/// What definitions look like without reading a file: enough to tell that
/// something changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Glance {
    /// A directory; `None`: it cannot be read.
    Directory(Option<Stamps>),
    /// A commit; `None`: it cannot be read.
    Commit(Option<Commit>),
}

/// The files of a directory, and what tells each from another.
#[derive(Debug, PartialEq, Eq)]
pub struct Stamps(Listing, Vec<Option<Stamp>>);

impl Glance {
    /// Looks at `dir`; one that cannot be read looks like no other but itself.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        let look = |listing: Listing| {
            let defaults = listing.has_defaults.then(|| OsString::from(defaults::FILE_NAME));
            let names = listing.definitions.iter().chain(&defaults);
            let stamps = names.map(|name| Stamp::of(&dir.join(name))).collect();
            Stamps(listing, stamps)
        };
        Self::Directory(Listing::read(dir).ok().map(look))
    }
}

/// The names of the definition files directly in a directory, sorted, and
/// whether a defaults file lies beside them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub definitions: Vec<OsString>,
    pub has_defaults: bool,
}

impl Listing {
    /// Lists `dir`; directories in it are not descended into.
    pub fn read(dir: &Path) -> io::Result<Self> {
        let names: io::Result<Vec<OsString>> = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect();
        Ok(Self::of(names?))
    }

    fn of(names: impl IntoIterator<Item = OsString>) -> Self {
        let mut listing = Self { definitions: Vec::new(), has_defaults: false };
        for name in names {
            if name == defaults::FILE_NAME {
                listing.has_defaults = true;
            } else if is_definition(&name) {
                listing.definitions.push(name);
            }
        }
        listing.definitions.sort_unstable();
        listing
    }
}

/// Whether a file of this name in a directory of definitions says anything: a
/// definition, or the defaults.
#[must_use]
pub fn is_part(name: &OsStr) -> bool {
    name == defaults::FILE_NAME || is_definition(name)
}

fn is_definition(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.ends_with(b".toml") && !matches!(name[0], b'_' | b'.')
}

/// What tells a file from what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// On the disk: what a write, a rename or a swapped link changes.
    File(FileStamp),
    /// In a commit: the digest of its content.
    Content([u8; 32]),
}

/// What a write, a rename or a swapped link changes about a file.
///
/// Times have the grain of the kernel's clock tick (1 to 10 ms) on many file
/// systems: a second write in place, of the same length and within the tick
/// of the first, goes unnoticed here. The watcher's event for it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    access: Access,
}

impl Stamp {
    pub fn new(metadata: &Metadata) -> Self {
        Self::File(FileStamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            access: Access::of(metadata),
        })
    }

    /// Whether the last change was at least `age` before `now`. What is in a
    /// commit never changes.
    pub fn is_older_than(&self, age: Duration, now: SystemTime) -> bool {
        let Self::File(file) = self else { return true };
        let (seconds, nanoseconds) = file.modified.max(file.changed);
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds)) else { return false };
        let changed = UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds));
        changed.and_then(|changed| changed.checked_add(age)).is_some_and(|rested| rested <= now)
    }

    /// Who can write to it, on the disk.
    pub fn access(&self) -> Option<Access> {
        match self {
            Self::File(file) => Some(file.access),
            Self::Content(_) => None,
        }
    }

    /// The stamp of what `path` leads to now; `None` where that is nothing.
    pub fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::new(&metadata))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_toml_files_without_underscore_or_dot_are_definitions() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", "_defaults.toml", "_draft.toml", ".hidden.toml", "a.toml~", "c.TOML", ".toml"]
        {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        std::fs::write(dir.path().join("sub/d.toml"), "").unwrap();
        let listing = Listing::read(dir.path()).unwrap();
        assert_eq!(listing.definitions, ["a.toml", "b.toml"]);
        assert!(listing.has_defaults);
    }

    #[test]
    fn a_replaced_file_has_another_stamp_even_with_the_same_size_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let (path, new) = (dir.path().join("a.toml"), dir.path().join("new"));
        std::fs::write(&path, "x = 1").unwrap();
        let before = Stamp::of(&path);
        std::fs::write(&new, "x = 2").unwrap();
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::File::options().write(true).open(&new).unwrap().set_modified(time).unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert_ne!(Stamp::of(&path), before);
        assert_eq!(Stamp::of(&path), Stamp::of(&path));
    }
}
