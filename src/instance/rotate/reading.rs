//! Reading a log on and on, across rotations: no line is lost, none comes twice.
//!
//! A reader knows where it is by the newest part it has read to its end, and
//! how many bytes it has read behind that. Parts never change, and rotation
//! only makes new ones of the beginning of the log, so that place stays what it
//! is however often the log is rotated. Where parts are dropped (`--log-keep`),
//! or somebody empties the log, the last bytes that were read tell it; if even
//! they are gone, lines are, and reading goes on with the oldest there are.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::view::{FileId, Segment, View, consistent};
use crate::instance::death::START_LINE;

/// How much is read at once.
const CHUNK: u64 = 1 << 20;

/// How many of the last bytes are remembered.
const REMEMBERED: u64 = 512;

/// Which part of a log is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything that is kept.
    Whole,
    /// What the instance before the last one wrote, as far as it is kept.
    Previous,
}

/// Reads a log with its older parts, oldest lines first.
#[derive(Debug)]
pub struct LogReader {
    log: PathBuf,
    place: Place,
    /// How many bytes there are to its end, when it was begun.
    left: u64,
}

/// A place in the text.
#[derive(Clone, Debug)]
struct Place {
    /// The part that ends before it; `None`: it is in the oldest.
    after: Option<(Rc<File>, FileId)>,
    /// Bytes behind the end of that part.
    bytes: u64,
    /// What stands before it.
    before: Vec<u8>,
}

impl LogReader {
    /// Begins with the last `lines` lines (`None`: with the first) of `part`.
    /// `Ok(None)`: there is no such part, since only one instance has written.
    ///
    /// # Errors
    /// There is no log at this path ([`io::ErrorKind::NotFound`]), or it cannot
    /// be read.
    pub fn open(log: &Path, part: Part, lines: Option<u64>) -> io::Result<Option<Self>> {
        consistent(log, None, |view| {
            let within = match part {
                Part::Whole => 0..view.length(),
                Part::Previous => match previous(view)? {
                    Some(within) => within,
                    None => return Ok(None),
                },
            };
            let begin = match lines {
                Some(lines) => view.last_lines(lines, within.clone())?,
                None => within.start,
            };
            Ok(Some(Self { log: log.to_owned(), place: Place::at(view, begin)?, left: within.end - begin }))
        })
    }

    /// The next bytes up to where the wanted part ended when it was opened;
    /// empty at that end.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        let bytes = self.read_most(self.left.min(CHUNK))?;
        self.left = if bytes.is_empty() { 0 } else { self.left - bytes.len() as u64 };
        Ok(bytes)
    }

    /// What was written since; empty if nothing was.
    ///
    /// # Errors
    /// The log cannot be read. One that is gone has nothing new.
    pub fn read_on(&mut self) -> io::Result<Vec<u8>> {
        match self.read_most(CHUNK) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    fn read_most(&mut self, most: u64) -> io::Result<Vec<u8>> {
        if most == 0 {
            return Ok(Vec::new());
        }
        let oldest = self.place.after.as_ref().map(|(_, id)| *id);
        let (bytes, place) = consistent(&self.log, oldest, |view| {
            let begin = self.place.find(view)?;
            let end = view.length().min(begin + most);
            Ok((view.read(begin..end)?, Place::at(view, end)?))
        })?;
        self.place = place;
        Ok(bytes)
    }
}

impl Place {
    fn at(view: &View, position: u64) -> io::Result<Self> {
        let is_before = |index: &usize| view.begin_of(index + 1) <= position;
        // The log itself is no part: it does not end.
        let last = (0..view.segments.len().saturating_sub(1)).take_while(is_before).last();
        let bytes = position - last.map_or(0, |index| view.begin_of(index + 1));
        let after = last.map(|index| &view.segments[index]).map(|Segment { file, id, .. }| (Rc::clone(file), *id));
        Ok(Self { after, bytes, before: view.read(position.saturating_sub(REMEMBERED)..position)? })
    }

    /// Where it is now.
    fn find(&self, view: &View) -> io::Result<u64> {
        let after = match &self.after {
            None => Some(0),
            Some((_, id)) => view.segments.iter().position(|s| s.id == *id).map(|index| view.begin_of(index + 1)),
        };
        if let Some(position) = after.map(|after| after + self.bytes)
            && self.is_before(view, position)?
        {
            return Ok(position);
        }
        let known = (self.before.len() as u64).min(view.length());
        if !self.before.is_empty()
            && let Some(found) = view.last(&self.before, 0..view.length(), |_| Ok(true))?
        {
            return Ok(found + known);
        }
        // The log was emptied, or dropped lines that were not read; the parts that
        // were read are those up to `after`.
        let is_known = self.after.is_some() && after.is_some();
        Ok(if is_known { view.begin_of(view.segments.len().saturating_sub(1)) } else { 0 })
    }

    /// Whether what was read last stands before this position. The oldest of
    /// it may have been dropped.
    fn is_before(&self, view: &View, position: u64) -> io::Result<bool> {
        if position > view.length() {
            return Ok(false);
        }
        let there = view.read(position.saturating_sub(self.before.len() as u64)..position)?;
        Ok(self.before.ends_with(&there) && (self.before.is_empty() || !there.is_empty() || self.bytes == 0))
    }
}

/// What the instance before the last one wrote: from the line that heads it, or
/// that was rotated away, to the line that heads the last one.
fn previous(view: &View) -> io::Result<Option<Range<u64>>> {
    let head = |end: u64| view.last(START_LINE.as_bytes(), 0..end, |position| is_head(view, position));
    let Some(last) = head(view.length())?.filter(|last| *last > 0) else { return Ok(None) };
    Ok(Some(head(last)?.unwrap_or(0)..last))
}

/// Whether herdsman's line for an instance begins here. It need not begin a
/// line: a server may die in the middle of one.
fn is_head(view: &View, position: u64) -> io::Result<bool> {
    const UUID: u64 = 36;
    let id = position + START_LINE.len() as u64;
    let id = view.read(id..id + UUID)?;
    Ok(std::str::from_utf8(&id).is_ok_and(|id| uuid::Uuid::try_parse(id).is_ok()))
}
