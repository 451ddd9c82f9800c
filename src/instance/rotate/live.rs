//! The log a server appends to, through a descriptor that does not append.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, SeekFrom};

use super::RotateError;
use super::removal::Removal;
use crate::instance::death::OWN_LINE;
use crate::sys::failpoint::{Point, reach};

/// How much is read at once.
const BUFFER: usize = 64 << 10;

/// How many bytes a log holds, at most: a hole at its beginning is none.
pub(super) fn size(metadata: &Metadata) -> u64 {
    // A block of stat(2) has 512 bytes, whatever the file system.
    metadata.len().min(metadata.blocks().saturating_mul(512))
}

/// A log, as it was when last looked at. It only grows meanwhile.
#[derive(Debug)]
pub(super) struct Live {
    path: PathBuf,
    file: File,
    /// Where its lines begin: behind the hole that was punched.
    begin: u64,
    length: u64,
    grain: u64,
}

/// The older part of a log, to be moved out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    begin: u64,
    /// The last block boundary before the cut; behind `begin`.
    boundary: u64,
    /// Where the part ends, behind a newline if there is one.
    cut: u64,
}

impl Part {
    pub(super) const fn length(self) -> u64 {
        self.cut - self.begin
    }

    /// Where what is not copied begins.
    pub(super) const fn cut(self) -> u64 {
        self.cut
    }
}

impl Live {
    /// `None` if there is no such log.
    pub(super) fn open(path: &Path) -> Result<Option<Self>, RotateError> {
        // A fifo is not waited for, and refused below.
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
        let file = match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(error(path, "cannot open")(source)),
        };
        let mut live = Self { path: path.to_owned(), file, begin: 0, length: 0, grain: 0 };
        live.look()?;
        Ok(Some(live))
    }

    /// Learns where the log begins and ends now.
    fn look(&mut self) -> Result<(), RotateError> {
        let metadata = self.file.metadata().map_err(self.error("cannot look at"))?;
        if !metadata.is_file() {
            return Err(self.error("cannot use")(io::Error::other("not a regular file")));
        }
        self.length = metadata.len();
        self.grain = metadata.blksize().max(1);
        self.begin =
            first_data(&self.file).map_err(self.error("cannot find the first line of"))?.unwrap_or(self.length);
        Ok(())
    }

    /// The file system's block.
    pub(super) const fn grain(&self) -> u64 {
        self.grain
    }

    /// How many bytes it held when last looked at.
    pub(super) const fn held(&self) -> u64 {
        self.length.saturating_sub(self.begin)
    }

    /// The older part, of at most `longest` bytes (at least two blocks, and less
    /// than is held). A line longer than that is split: what follows it would
    /// wait for ever otherwise.
    pub(super) fn part(&self, longest: u64) -> Result<Part, RotateError> {
        let end = self.begin + longest;
        let cut = self.last_newline(self.begin + self.grain, end).map_err(self.error("cannot read"))?;
        Ok(self.part_to(cut.unwrap_or_else(|| self.boundary(end))))
    }

    const fn part_to(&self, cut: u64) -> Part {
        part_to(self.begin, cut, self.grain)
    }

    const fn boundary(&self, cut: u64) -> u64 {
        cut - cut % self.grain
    }

    /// The place behind the last newline in `from..to`.
    fn last_newline(&self, from: u64, mut to: u64) -> io::Result<Option<u64>> {
        let mut buffer = vec![0; BUFFER];
        while to > from {
            let start = to.saturating_sub(BUFFER as u64).max(from);
            let block = read_block(&self.file, &mut buffer, start, to)?;
            if let Some(index) = block.iter().rposition(|byte| *byte == b'\n') {
                return Ok(Some(start + index as u64 + 1));
            }
            to = start;
        }
        Ok(None)
    }

    /// Copies a part to the end of another file.
    pub(super) fn copy(&self, part: Part, to: &mut File) -> io::Result<()> {
        use std::io::{Read, Seek};
        (&self.file).seek(io::SeekFrom::Start(part.begin))?;
        let copied = io::copy(&mut (&self.file).take(part.length()), to)?;
        if copied == part.length() { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    /// The part that `copy` is of, if it was not removed yet.
    pub(super) fn still_holds(&self, copy: &File) -> Result<Option<Part>, RotateError> {
        still_holds(&self.file, self.begin..self.length, self.grain, copy)
            .map_err(self.error("cannot compare the copy with"))
    }

    /// Puts a line of our own over what is copied and cannot be removed:
    /// `note`, if it fits.
    pub(super) fn blank(&self, part: Part, note: &str) -> Result<(), RotateError> {
        let length = usize::try_from(part.cut - part.boundary).unwrap_or(usize::MAX);
        let Some(width) = length.checked_sub(1) else { return Ok(()) };
        let note = format!("{OWN_LINE}{note}");
        let note = if note.len() <= width { &*note } else { "" };
        let line = format!("{note:width$}\n");
        self.file.write_all_at(line.as_bytes(), part.boundary).map_err(self.error("cannot write"))?;
        reach(Point::RotateBlanked);
        Ok(())
    }

    /// Removes the whole blocks of a part.
    pub(super) fn remove(&mut self, part: Part, removal: Removal) -> Result<(), RotateError> {
        let removed = removal.remove(&self.file, part.boundary).map_err(io::Error::from);
        removed.map_err(self.error("cannot remove the older lines of"))?;
        reach(Point::RotateRemoved);
        self.look()
    }

    fn error(&self, action: &'static str) -> impl FnOnce(io::Error) -> RotateError {
        error(&self.path, action)
    }
}

fn error(log: &Path, action: &'static str) -> impl FnOnce(io::Error) -> RotateError {
    move |source| RotateError::Io { log: log.to_owned(), action, path: log.to_owned(), source }
}

const fn part_to(begin: u64, cut: u64, grain: u64) -> Part {
    Part { begin, boundary: cut - cut % grain, cut }
}

/// The part of a log that `copy` is of, if it was not removed yet. `lines` are
/// where its lines begin and end, `grain` is the file system's block.
pub(super) fn still_holds(log: &File, lines: Range<u64>, grain: u64, copy: &File) -> io::Result<Option<Part>> {
    let part = part_to(lines.start, lines.start + copy.metadata()?.len(), grain);
    // Behind the boundary it may be blank by now.
    if part.boundary <= part.begin || part.cut > lines.end {
        return Ok(None);
    }
    Ok(is_copied(log, copy, part)?.then_some(part))
}

fn is_copied(log: &File, copy: &File, part: Part) -> io::Result<bool> {
    let (mut ours, mut theirs) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut from = part.begin;
    while from < part.boundary {
        let to = part.boundary.min(from + BUFFER as u64);
        let ours = read_block(log, &mut ours, from, to)?;
        let theirs = read_block(copy, &mut theirs, from - part.begin, to - part.begin)?;
        if ours != theirs {
            return Ok(false);
        }
        from = to;
    }
    Ok(true)
}

/// Where the first byte is that is not in a hole; `None` if there is none.
pub(super) fn first_data(file: &File) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, SeekFrom::Data(0)) {
        Ok(offset) => Ok(Some(offset)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        // The file system knows no holes, so there are none.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => Ok(Some(0)),
        Err(error) => Err(error.into()),
    }
}

/// `from..to` of a file; not more than the buffer holds.
fn read_block<'b>(file: &File, buffer: &'b mut [u8], from: u64, to: u64) -> io::Result<&'b [u8]> {
    let length = usize::try_from(to - from).unwrap_or(usize::MAX).min(buffer.len());
    let block = &mut buffer[..length];
    file.read_exact_at(block, from)?;
    Ok(block)
}
