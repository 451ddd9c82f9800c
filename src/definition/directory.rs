//! Which files of a directory are definitions, their contents, and how a change is
//! detected: on the disk, or in a commit.

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::text::{self, TextProblem};
use super::{Edit, ReadFrom, Snapshot, defaults, groups, paths};
use crate::model::{Commit, Diagnostic};
use crate::sys::trust::Access;

/// Where definition files are read.
#[derive(Clone, Copy)]
pub(super) enum Directory<'a> {
    /// From the disk.
    Disk(&'a Path),
    /// From a commit.
    Commit(&'a Snapshot),
    /// From the disk, but for one file.
    Edited(&'a Path, &'a Edit),
}

impl<'a> Directory<'a> {
    /// Returns where to read the files of `dir`.
    pub fn of(from: ReadFrom<'a>, dir: &'a Path) -> Self {
        match from {
            ReadFrom::Itself => Self::Disk(dir),
            ReadFrom::Directory(other) => Self::Disk(other),
            ReadFrom::Commit(snapshot) => Self::Commit(snapshot),
            ReadFrom::Edited(edit) => Self::Edited(dir, edit),
        }
    }

    /// Its path, if it is on the disk.
    pub fn on_disk(self) -> Option<&'a Path> {
        match self {
            Self::Disk(dir) | Self::Edited(dir, _) => Some(dir),
            Self::Commit(_) => None,
        }
    }

    /// Lists the names of its files.
    pub fn list(self) -> io::Result<Listing> {
        match self {
            Self::Disk(dir) => Listing::read(dir),
            Self::Commit(snapshot) => Ok(Listing::of(snapshot.names().map(|name| (name.clone(), false)))),
            Self::Edited(dir, edit) => {
                let mut names = names(dir)?;
                names.retain(|(name, _)| name != edit.name());
                names.extend(edit.content().map(|_| (edit.name().to_owned(), false)));
                Ok(Listing::of(names))
            }
        }
    }

    /// Returns the current stamp of a file; `None` if there is none.
    pub fn stamp(self, name: &OsStr) -> Option<Stamp> {
        match self {
            Self::Commit(snapshot) => snapshot.stamp(name),
            Self::Edited(_, edit) if name == edit.name() => edit.stamp(),
            Self::Disk(dir) | Self::Edited(dir, _) => Stamp::of(&dir.join(name)),
        }
    }

    /// Reads the text of a file (into `buffer` if it is on the disk), with the
    /// stamp of what was opened, or of what the name leads to if it could not be
    /// opened.
    pub fn read<'b>(&'b self, name: &OsStr, buffer: &'b mut Vec<u8>) -> (Option<Stamp>, Result<&'b str, TextProblem>) {
        match self {
            Self::Edited(_, edit) if name == edit.name() => (edit.stamp(), edit.text()),
            Self::Disk(dir) | Self::Edited(dir, _) => {
                let path: PathBuf = dir.join(name);
                let (metadata, text) = text::read_into(&path, buffer);
                (metadata.map_or_else(|| Stamp::of(&path), |metadata| Some(Stamp::new(&metadata))), text)
            }
            Self::Commit(snapshot) => (snapshot.stamp(name), snapshot.text(name)),
        }
    }

    /// Reads the file at `path` of this directory again; the text is empty if that
    /// fails.
    pub fn text_again(self, path: &str) -> String {
        let name = Path::new(path).file_name().unwrap_or_default();
        self.read(name, &mut Vec::new()).1.unwrap_or_default().to_owned()
    }
}

/// What definitions look like without reading any file: enough to detect a change.
#[derive(Debug, PartialEq, Eq)]
pub enum Glance {
    /// A directory; `None`: it cannot be read.
    Directory(Option<Stamps>),
    /// A commit; `None`: it cannot be read.
    Commit(Option<Commit>),
}

/// The files of a directory, each with its stamp.
#[derive(Debug, PartialEq, Eq)]
pub struct Stamps(Listing, Vec<Option<Stamp>>);

impl Glance {
    /// Looks at `dir`; an unreadable directory equals only itself.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        let look = |listing: Listing| {
            let of = |name: &OsStr| Stamp::of(&dir.join(name));
            let definitions = listing.definitions.iter().map(|name| of(name));
            let stamps = definitions.chain(listing.shared().map(of)).collect();
            Stamps(listing, stamps)
        };
        Self::Directory(Listing::read(dir).ok().map(look))
    }
}

/// The names of the definition files directly in a directory, sorted, and whether
/// there are the files that they share.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub definitions: Vec<OsString>,
    pub has_defaults: bool,
    pub has_groups: bool,
    /// Files that only their names keep from being definitions, sorted.
    pub misnamed: Vec<OsString>,
    /// Subdirectories, which may contain definitions that herdsman does not read,
    /// sorted.
    pub directories: Vec<OsString>,
}

impl Listing {
    /// Lists `dir`, without its subdirectories.
    pub fn read(dir: &Path) -> io::Result<Self> {
        Ok(Self::of(names(dir)?))
    }

    /// Builds a listing from names, each with whether it is a directory.
    fn of(names: impl IntoIterator<Item = (OsString, bool)>) -> Self {
        let mut listing = Self::default();
        for (name, is_directory) in names {
            if name == defaults::FILE_NAME {
                listing.has_defaults = true;
            } else if name == groups::FILE_NAME {
                listing.has_groups = true;
            } else if is_definition(&name) {
                listing.definitions.push(name);
            } else if matches!(name.as_bytes().first(), None | Some(b'_' | b'.')) {
                // Left out on purpose.
            } else if is_directory {
                listing.directories.push(name);
            } else if is_misnamed(&name) {
                listing.misnamed.push(name);
            }
        }
        listing.definitions.sort_unstable();
        listing.misnamed.sort_unstable();
        listing.directories.sort_unstable();
        listing
    }

    /// The files there that all definitions share.
    fn shared(&self) -> impl Iterator<Item = &'static OsStr> + use<> {
        let defaults = self.has_defaults.then(|| OsStr::new(defaults::FILE_NAME));
        defaults.into_iter().chain(self.has_groups.then(|| OsStr::new(groups::FILE_NAME)))
    }

    /// Warns about entries of `dir` that look like definitions but are not read;
    /// `shown_dir` is the directory as people see it before a name.
    pub fn not_read(&self, dir: &Path, shown_dir: &str) -> Vec<Diagnostic> {
        let warning = |name: &OsStr, message: String, help: String| {
            Diagnostic::error(paths::shown_in(shown_dir, name), message).help(help).warning()
        };
        let misnamed = self.misnamed.iter().map(|name| {
            let message = "not read: the name of a definition file must end in `.toml`, in lower case".to_owned();
            warning(name, message, format!("rename it to `{}`", well_named(&name.to_string_lossy())))
        });
        let directories = self.directories.iter().take(MOST_DIRECTORIES).filter_map(|name| {
            let (first, more) = definitions_below(&dir.join(name))?;
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let message = format!("not read: {}{more} in a subdirectory", first.to_string_lossy());
            let shown = paths::shown_in(shown_dir, name);
            let help = format!(
                "move it up, or read that directory with `--models-dir {shown}`; to silence this warning, start its name with `_`"
            );
            Some(warning(name, message, help))
        });
        misnamed.chain(directories).collect()
    }
}

/// Returns the names in `dir`, each with whether it is a directory.
fn names(dir: &Path) -> io::Result<Vec<(OsString, bool)>> {
    std::fs::read_dir(dir)?
        .map(|entry| entry.map(|entry| (entry.file_name(), entry.file_type().is_ok_and(|kind| kind.is_dir()))))
        .collect()
}

/// Whether a file of this name counts in a directory of definitions: a definition,
/// the defaults, or the groups.
#[must_use]
pub fn is_part(name: &OsStr) -> bool {
    name == defaults::FILE_NAME || name == groups::FILE_NAME || is_definition(name)
}

/// The most subdirectories searched for definitions.
const MOST_DIRECTORIES: usize = 100;

/// The most names looked at in one of them.
const MOST_BELOW: usize = 1000;

/// The first definition in a subdirectory, and how many others there are.
fn definitions_below(dir: &Path) -> Option<(OsString, usize)> {
    let entries = std::fs::read_dir(dir).ok()?.take(MOST_BELOW).flatten();
    let mut names: Vec<OsString> = entries.map(|entry| entry.file_name()).filter(|name| is_definition(name)).collect();
    names.sort_unstable();
    let more = names.len().checked_sub(1)?;
    Some((names.swap_remove(0), more))
}

/// Whether only its name keeps a file from being a definition: `A.TOML`, or
/// `a.toml.txt`, as Windows has it.
fn is_misnamed(name: &OsStr) -> bool {
    let name = name.as_bytes().to_ascii_lowercase();
    name.ends_with(b".toml") || name.ends_with(b".toml.txt")
}

/// The name that would make it a definition.
fn well_named(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let stem = lower.strip_suffix(".txt").unwrap_or(&lower).len().saturating_sub(".toml".len());
    format!("{}.toml", name.get(..stem).unwrap_or_default())
}

fn is_definition(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.ends_with(b".toml") && !matches!(name[0], b'_' | b'.')
}

/// Identifies one version of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// On the disk: metadata that a write, a rename or a swapped link changes.
    File(FileStamp),
    /// In a commit: the digest of its content.
    Content([u8; 32]),
}

/// File metadata that a write, a rename or a swapped link changes. Many file
/// systems keep times at the kernel's clock tick (1 to 10 ms), so a second write in
/// place, of the same length and within the tick of the first, goes unnoticed here.
/// The watcher still gets its event.
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

    /// Whether the last change was at least `age` before `now`. A commit never
    /// changes.
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

    /// Returns the current stamp of the file at `path`; `None` if there is none.
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
        for name in [
            "b.toml",
            "a.toml",
            "_defaults.toml",
            "_draft.toml",
            ".hidden.toml",
            "a.toml~",
            "c.TOML",
            ".toml",
            "d.toml.txt",
            "_E.TOML",
            "README.md",
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        for sub in ["sub", ".git", "_drafts", "empty"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        for below in ["sub/d.toml", "sub/c.toml", "sub/_x.toml", ".git/d.toml", "_drafts/d.toml", "empty/README.md"] {
            std::fs::write(dir.path().join(below), "").unwrap();
        }
        let listing = Listing::read(dir.path()).unwrap();
        assert_eq!(listing.definitions, ["a.toml", "b.toml"]);
        assert!(listing.has_defaults);
        let notes = |d: Diagnostic| (d.file.to_string(), d.message + "; " + &d.help.unwrap_or_default());
        let notes: Vec<_> = listing.not_read(dir.path(), "m/").into_iter().map(notes).collect();
        let name = "not read: the name of a definition file must end in `.toml`, in lower case; rename it to";
        assert_eq!(
            notes[..2],
            [
                ("m/c.TOML".to_owned(), format!("{name} `c.toml`")),
                ("m/d.toml.txt".to_owned(), format!("{name} `d.toml`")),
            ]
        );
        assert_eq!(notes[2].0, "m/sub");
        assert!(notes[2].1.starts_with("not read: c.toml and 1 more in a subdirectory"), "{notes:?}");
        assert_eq!(notes.len(), 3);
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
