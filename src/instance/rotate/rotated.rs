//! The older parts of a log: `.log.1` (the latest) to `.log.<keep>`, and before
//! they are that, `.log.0.new` (being copied) and `.log.0` (copied).

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::RotateError;
use super::live::{Live, Part};
use crate::sys::failpoint::{Point, reach};

/// What begins that note, behind [`crate::instance::death::OWN_LINE`].
pub(super) const NOTE: &str = "older lines ";

/// The older parts of one log.
#[derive(Debug)]
pub(super) struct Rotated {
    directory: PathBuf,
    name: String,
    log: PathBuf,
}

impl Rotated {
    pub(super) fn new(directory: &Path, name: &str) -> Self {
        Self { directory: directory.to_owned(), name: name.to_owned(), log: directory.join(name) }
    }

    /// The live log.
    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// What the live log says in place of older lines.
    pub(super) fn note(&self, kept: bool) -> String {
        if kept { format!("{NOTE}are in {}.1", self.name) } else { format!("{NOTE}were dropped") }
    }

    pub(super) fn numbered(&self, number: u32) -> PathBuf {
        self.directory.join(format!("{}.{number}", self.name))
    }

    pub(super) fn unfinished(&self) -> PathBuf {
        self.directory.join(format!("{}.0.new", self.name))
    }

    /// The copy that has its name, and whose original may still be there.
    pub(super) fn pending(&self) -> Result<Option<File>, RotateError> {
        let path = self.numbered(0);
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.error("cannot open", &path)(source)),
        }
    }

    /// Copies a part to `.0.new`, onto the disk.
    pub(super) fn copy(&self, live: &Live, part: Part) -> Result<(), RotateError> {
        let path = self.unfinished();
        let copied = self.create(&path).and_then(|mut file| {
            live.copy(part, &mut file)?;
            reach(Point::RotateCopied);
            file.sync_data()?;
            reach(Point::RotateSynced);
            Ok(())
        });
        copied.map_err(|source| {
            // Half a copy on a full disk only takes space; the next one replaces it.
            let _ = std::fs::remove_file(&path);
            self.error("cannot write", &path)(source)
        })
    }

    /// `.0.new` becomes `.0`, on the disk: from here on the part may be removed.
    pub(super) fn name_copy(&self) -> Result<(), RotateError> {
        self.rename(&self.unfinished(), &self.numbered(0))?;
        reach(Point::RotateNamed);
        let synced = File::open(&self.directory).and_then(|directory| directory.sync_all());
        synced.map_err(self.error("cannot sync", &self.directory))?;
        reach(Point::RotateNameSynced);
        Ok(())
    }

    /// `.0` becomes `.1`, and each the next, up to the first number that is
    /// free; if none is, the oldest is replaced.
    pub(super) fn shift(&self, keep: u32) -> Result<(), RotateError> {
        // First, for `.0` is what says that a rotation is not over.
        self.drop_beyond(keep)?;
        let free = (1..=keep).find(|number| !self.is_there(*number)).unwrap_or(keep);
        for number in (0..free).rev() {
            self.rename(&self.numbered(number), &self.numbered(number + 1))?;
            reach(Point::RotateShifted);
        }
        Ok(())
    }

    /// Deletes what is older than `keep` parts, the oldest first: what is left
    /// after a kill has no gap and is found by the next call.
    pub(super) fn drop_beyond(&self, keep: u32) -> Result<(), RotateError> {
        let waiting = (keep == 0).then_some(0);
        let older: Vec<u32> = (keep.saturating_add(1)..).take_while(|number| self.is_there(*number)).collect();
        for path in older.into_iter().rev().chain(waiting).map(|number| self.numbered(number)) {
            remove_if_there(&path).map_err(self.error("cannot delete", &path))?;
            reach(Point::RotateDropped);
        }
        Ok(())
    }

    fn is_there(&self, number: u32) -> bool {
        self.numbered(number).symlink_metadata().is_ok()
    }

    /// Hands out an empty file beside the log that is deleted again.
    pub(super) fn with_scratch<T>(&self, use_it: impl FnOnce(&File) -> io::Result<T>) -> Result<T, RotateError> {
        let path = self.unfinished();
        let used = self.create(&path).and_then(|file| use_it(&file));
        reach(Point::RotateTried);
        let deleted = remove_if_there(&path);
        used.and_then(|used| deleted.map(|()| used)).map_err(self.error("cannot write", &path))
    }

    /// A new file for our user alone, in place of what an earlier herdsman left.
    fn create(&self, path: &Path) -> io::Result<File> {
        remove_if_there(path)?;
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), RotateError> {
        std::fs::rename(from, to).map_err(self.error("cannot rename", from))
    }

    fn error(&self, action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RotateError {
        move |source| RotateError::Io { log: self.log.clone(), action, path: path.to_owned(), source }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
