//! The file of a definition: changed in one step, and only if it still is what the
//! change was made from.
//!
//! | change | step | what was there before |
//! |---|---|---|
//! | create | `rename` that replaces nothing | |
//! | replace | both names are exchanged | under the hidden name |
//! | delete | `rename` to a hidden name | under that name |
//!
//! A writer that comes between the last look and the step is seen after it: its file
//! then has the hidden name, and gets its own back. The old file is removed once the
//! change is final, so that it can be taken back as it was.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::super::definitions::LARGEST;
use crate::sys::regular;

/// The hidden name: the reader leaves out names with a dot. There is one writer.
const HIDDEN: &str = ".herdsman-edit.tmp";

/// Why a file is not changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlaceError {
    /// Somebody else has changed it.
    #[error("it has changed")]
    Changed,
    /// The name leads to something else than a file in this directory.
    #[error("it is {0}; change that where it is")]
    NotPlain(&'static str),
    /// The new file cannot belong to whom the old one belongs to.
    #[error("cannot keep its owner: {0}")]
    Owner(io::Error),
    /// The system refuses.
    #[error("cannot {0}: {1}")]
    Io(&'static str, io::Error),
}

impl PlaceError {
    /// Returns what to do where the system refuses what `user` asks for.
    pub fn help(&self, user: &str) -> Option<String> {
        Some(match self {
            Self::Changed | Self::NotPlain(_) => return None,
            Self::Owner(_) => format!("run `chown {user}` on it, or change it as its owner: herdsman runs as {user}"),
            Self::Io(_, error) => match error.kind() {
                ErrorKind::PermissionDenied => {
                    format!("allow {user}, which herdsman runs as, to read and write it and its directory")
                }
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space there, and try again".to_owned(),
                ErrorKind::ReadOnlyFilesystem => {
                    "change it where it comes from: nothing can be written there".to_owned()
                }
                ErrorKind::FileTooLarge => "change it in an editor: it is too large for a definition".to_owned(),
                _ => "check the directory and its disk, and try again".to_owned(),
            },
        })
    }
}

/// A change that was made and can be taken back.
#[derive(Debug)]
#[must_use = "it is neither final nor taken back"]
pub(super) struct Made {
    path: PathBuf,
    hidden: PathBuf,
    /// What is there now, and was before.
    now: Option<Vec<u8>>,
    before: Option<Vec<u8>>,
}

/// Reads the file at `path`; `None`: there is none.
///
/// # Errors
/// It is a link, or no file, or cannot be read.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, PlaceError> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PlaceError::Io("look at it", error)),
        Ok(metadata) if metadata.is_symlink() => return Err(PlaceError::NotPlain("a symlink")),
        Ok(metadata) if !metadata.is_file() => return Err(PlaceError::NotPlain("not a regular file")),
        Ok(_) => {}
    }
    regular::read(path, LARGEST).map(Some).map_err(|error| PlaceError::Io("read it", error))
}

/// Makes the file at `path` what `now` says (`None`: deletes it), if it still is
/// `before`. The new file has the mode and the owner of the old one.
///
/// # Errors
/// It is not what `before` says, or cannot be changed: it stays as it is.
pub(super) fn change(path: &Path, before: Option<Vec<u8>>, now: Option<Vec<u8>>) -> Result<Made, PlaceError> {
    change_with(path, before, now, || {})
}

/// [`change`], with what happens `between` the last look and the step.
fn change_with(
    path: &Path,
    before: Option<Vec<u8>>,
    now: Option<Vec<u8>>,
    between: impl FnOnce(),
) -> Result<Made, PlaceError> {
    let hidden = path.with_file_name(HIDDEN);
    remove(&hidden).map_err(|error| PlaceError::Io("remove what an earlier change has left", error))?;
    let made = Made { path: path.to_owned(), hidden, now, before };
    made.step(between).inspect_err(|_| {
        // Until the step is made, nobody but us has that name.
        let _of_no_use = remove(&made.hidden);
    })?;
    made.sync();
    let out = if made.before.is_some() { read(&made.hidden) } else { Ok(None) };
    // What came out is what somebody put there after the last look.
    let problem = match out {
        Ok(out) if out == made.before => return Ok(made),
        Ok(_) => PlaceError::Changed,
        Err(problem) => problem,
    };
    made.step_back().map_err(|error| PlaceError::Io("give another writer its file back", error))?;
    Err(problem)
}

impl Made {
    fn step(&self, between: impl FnOnce()) -> Result<(), PlaceError> {
        if let Some(now) = &self.now {
            write(&self.path, &self.hidden, now)?;
        }
        if read(&self.path)? != self.before {
            return Err(PlaceError::Changed);
        }
        between();
        let step = match (&self.before, &self.now) {
            (None, Some(_)) => rename_new(&self.hidden, &self.path),
            (Some(_), Some(_)) => exchange(&self.hidden, &self.path),
            (Some(_), None) => rename_new(&self.path, &self.hidden),
            (None, None) => Ok(()),
        };
        step.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists if self.before.is_none() => PlaceError::Changed,
            _ => PlaceError::Io("replace it", error),
        })
    }

    /// Makes the change final.
    pub fn keep(self) {
        // What stays under the hidden name is removed by the next change.
        let _hidden = remove(&self.hidden);
        self.sync();
    }

    /// Takes the change back.
    ///
    /// # Errors
    /// Somebody has changed the file since, whose change stays, or the system refuses.
    pub fn undo(self) -> Result<(), PlaceError> {
        if read(&self.path)? != self.now {
            return Err(PlaceError::Changed);
        }
        self.step_back().map_err(|error| PlaceError::Io("take the change back", error))
    }

    fn step_back(&self) -> io::Result<()> {
        match (&self.before, &self.now) {
            (None, _) => remove(&self.path)?,
            (Some(_), None) => rename_new(&self.hidden, &self.path)?,
            (Some(_), Some(_)) => {
                exchange(&self.hidden, &self.path)?;
                remove(&self.hidden)?;
            }
        }
        self.sync();
        Ok(())
    }

    /// The change survives a power loss; where the system cannot promise that, it is
    /// made all the same.
    fn sync(&self) {
        let dir = self.path.parent().map(File::open);
        let _synced = dir.map(|dir| dir.and_then(|dir| dir.sync_all()));
    }
}

/// Writes `text` to `hidden`, with the mode and the owner of the file at `path`.
fn write(path: &Path, hidden: &Path, text: &[u8]) -> Result<(), PlaceError> {
    let failed = |error| PlaceError::Io("write beside it", error);
    let old = path.metadata().ok();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(hidden).map_err(failed)?;
    if let Some(old) = old {
        let new = file.metadata().map_err(failed)?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            fchown(&file, Some(old.uid()), Some(old.gid())).map_err(PlaceError::Owner)?;
        }
        file.set_permissions(old.permissions()).map_err(|error| PlaceError::Io("keep its mode", error))?;
    }
    file.write_all(text).and_then(|()| file.sync_all()).map_err(failed)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether a file system (NFS, FAT) cannot do such a rename.
fn is_unknown(error: Errno) -> bool {
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP].contains(&error)
}

/// Renames a file; fails if the name is taken.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(error) if is_unknown(error) => fs::hard_link(from, to).and_then(|()| fs::remove_file(from)),
        renamed => Ok(renamed?),
    }
}

/// Exchanges two files. Where that is not one step, `path` has a file all the time.
fn exchange(hidden: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, hidden, CWD, path, RenameFlags::EXCHANGE) {
        Err(error) if is_unknown(error) => {
            let other = hidden.with_extension("old");
            remove(&other)?;
            fs::hard_link(path, &other)?;
            fs::rename(hidden, path)?;
            fs::rename(&other, hidden)
        }
        exchanged => Ok(exchanged?),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn bytes(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_change_is_made_kept_or_taken_back_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        // What a killed herdsman left.
        fs::write(dir.path().join(HIDDEN), "left").unwrap();
        change(&path, None, bytes("1")).unwrap().keep();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        change(&path, bytes("1"), bytes("2")).unwrap().undo().unwrap();
        assert_eq!((read(&path).unwrap(), fs::metadata(&path).unwrap().ino()), (bytes("1"), inode));
        change(&path, bytes("1"), bytes("2")).unwrap().keep();
        assert_eq!((read(&path).unwrap(), fs::metadata(&path).unwrap().mode() & 0o777), (bytes("2"), 0o640));
        change(&path, bytes("2"), None).unwrap().undo().unwrap();
        assert_eq!(read(&path).unwrap(), bytes("2"));
        change(&path, bytes("2"), None).unwrap().keep();
        change(&path, None, bytes("3")).unwrap().undo().unwrap();
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }

    #[test]
    fn what_another_writer_wrote_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.toml");
        fs::write(&path, "theirs").unwrap();
        for (before, now) in [(None, bytes("ours")), (bytes("old"), bytes("ours")), (bytes("old"), None)] {
            assert!(matches!(change(&path, before, now), Err(PlaceError::Changed)));
        }
        let made = change(&path, bytes("theirs"), bytes("ours")).unwrap();
        fs::write(&path, "theirs again").unwrap();
        assert!(matches!(made.undo(), Err(PlaceError::Changed)));
        assert_eq!(read(&path).unwrap(), bytes("theirs again"));
    }

    #[test]
    fn what_another_writer_puts_there_after_the_last_look_stays() {
        for (before, now) in [(None, bytes("ours")), (bytes("old"), bytes("ours")), (bytes("old"), None)] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.toml");
            let with = |between: &dyn Fn()| {
                let _gone = fs::remove_file(&path);
                if let Some(before) = &before {
                    fs::write(&path, before).unwrap();
                }
                change_with(&path, before.clone(), now.clone(), between).unwrap_err()
            };
            let problem = with(&|| fs::write(&path, "theirs").unwrap());
            assert!(matches!(problem, PlaceError::Changed), "{problem}");
            assert_eq!(read(&path).unwrap(), bytes("theirs"));
            let problem = with(&|| {
                remove(&path).unwrap();
                std::os::unix::fs::symlink("elsewhere", &path).unwrap();
            });
            assert!(matches!(problem, PlaceError::NotPlain(_) | PlaceError::Changed), "{problem}");
            assert_eq!(fs::read_link(&path).unwrap(), Path::new("elsewhere"));
            assert_eq!(names(dir.path()), ["a.toml"]);
        }
    }

    #[test]
    fn each_refusal_of_the_system_has_its_own_next_step() {
        let help = |errno: Errno| PlaceError::Io("read it", errno.into()).help("ann").unwrap();
        assert!(help(Errno::ACCESS).contains("allow ann"));
        assert!(help(Errno::NOSPC).contains("free some space"));
        assert!(help(Errno::IO).contains("its disk"));
        assert!(PlaceError::Owner(Errno::PERM.into()).help("ann").unwrap().contains("chown ann"));
    }

    #[test]
    fn links_and_directories_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a.toml"), dir.path().join("b.toml"));
        fs::write(&path, "1").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(change(&link, bytes("1"), bytes("2")), Err(PlaceError::NotPlain("a symlink"))));
        assert!(matches!(read(dir.path()), Err(PlaceError::NotPlain(_))));
        assert_eq!(names(dir.path()), ["a.toml", "b.toml"]);
    }
}
