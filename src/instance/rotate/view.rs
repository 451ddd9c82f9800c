//! All parts of a log as one text, while another process may rotate it.
//!
//! ```text
//!   .log.3 | .log.2 | .log.1 | .log.0 | .log
//!   oldest                       └ a rotation is not over    newest
//! ```
//!
//! Nothing is locked: a pass must not wait for a reader. Instead whatever was
//! read counts only if a second look finds the same parts where they were
//! ([`consistent`]); a rotation gives the log another newest part, or another
//! beginning. The line that a rotation leaves at the beginning of the log
//! belongs to no server and is left out.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use super::live::{first_data, still_holds};
use super::rotated::{NOTE, Rotated};
use crate::instance::death::OWN_LINE;
use crate::sys::regular;

/// How much is read at once.
const BLOCK: u64 = 64 << 10;

/// How much of the log's beginning tells it from what it was before a rotation.
const HEAD: u64 = 4 << 10;

/// Device and inode.
pub(super) type FileId = (u64, u64);

/// A file of which a part of the text is.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// Open, so that its inode is not another file's one day.
    pub file: Rc<File>,
    /// A part keeps it when it is renamed.
    pub id: FileId,
    /// The bytes of it that count.
    pub bytes: Range<u64>,
}

/// The text, as it was at one moment. Positions count its bytes from the
/// oldest on.
#[derive(Debug)]
pub(super) struct View {
    /// Oldest first; the last one is the log itself, if there is one.
    pub segments: Vec<Segment>,
    /// The first bytes of the log, to notice its rotation.
    head: Vec<u8>,
}

/// What `read` reads of a log, all of it of one moment. What is older than the
/// part `oldest` is not looked at, if that is still there.
///
/// # Errors
/// There is no log, it cannot be read, or it is rotated all the time.
pub(super) fn consistent<T>(
    log: &Path,
    oldest: Option<FileId>,
    read: impl Fn(&View) -> io::Result<T>,
) -> io::Result<T> {
    const TRIES: usize = 500;
    const PAUSE: Duration = Duration::from_millis(5);
    let read_once = || -> io::Result<Option<T>> {
        let view = View::look(log, oldest)?;
        let result = read(&view)?;
        Ok(View::look(log, oldest)?.is_later(&view).then_some(result))
    };
    for _ in 0..TRIES {
        match read_once() {
            // It became shorter while it was looked at.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            Ok(None) => {}
            Ok(Some(result)) => return Ok(result),
            Err(error) => return Err(error),
        }
        thread::sleep(PAUSE);
    }
    Err(io::Error::other("it is rotated faster than it can be read"))
}

impl View {
    fn look(log: &Path, oldest: Option<FileId>) -> io::Result<Self> {
        let (Some(directory), Some(name)) = (log.parent(), log.file_name().and_then(|name| name.to_str())) else {
            return Err(ErrorKind::NotFound.into());
        };
        let rotated = Rotated::new(directory, name);
        let pending = opened(&rotated.numbered(0))?;
        let mut segments = Vec::new();
        let mut missing = 0;
        // Amid a rotation one number may be free.
        for number in 1.. {
            match opened(&rotated.numbered(number))? {
                Some(file) => segments.push(Segment::part(file)?),
                None => missing += 1,
            }
            if missing == 2 || segments.last().is_some_and(|segment: &Segment| Some(segment.id) == oldest) {
                break;
            }
        }
        segments.reverse();
        let mut view = Self { segments, head: Vec::new() };
        view.take_live(pending, opened(log)?)?;
        if view.segments.is_empty() { Err(ErrorKind::NotFound.into()) } else { Ok(view) }
    }

    /// Adds the log, and before it the copy of its older lines that may still
    /// be in it.
    fn take_live(&mut self, pending: Option<File>, live: Option<File>) -> io::Result<()> {
        let mut copied_to = 0;
        if let Some(copy) = pending {
            if let Some(live) = &live {
                let metadata = live.metadata()?;
                let lines = first_data(live)?.unwrap_or(metadata.len())..metadata.len();
                let part = still_holds(live, lines, metadata.blksize().max(1), &copy)?;
                copied_to = part.map_or(0, |part| part.cut());
            }
            self.segments.push(Segment::part(copy)?);
        }
        let Some(live) = live else { return Ok(()) };
        let length = live.metadata()?.len();
        let begin = first_data(&live)?.unwrap_or(length);
        self.head = read_up_to(&live, begin..length.min(begin + HEAD))?;
        let mut live = Segment::of(live, begin..length)?;
        live.bytes.start = if copied_to > 0 { copied_to } else { live.behind_note()? };
        self.segments.push(live);
        Ok(())
    }

    /// Whether this is the same as `earlier` but for what was appended since.
    fn is_later(&self, earlier: &Self) -> bool {
        let places = |view: &Self| -> Vec<_> { view.segments.iter().map(|s| (s.id, s.bytes.start)).collect() };
        let ends = self.segments.iter().zip(&earlier.segments).all(|(now, then)| now.bytes.end >= then.bytes.end);
        places(self) == places(earlier) && ends && self.head.starts_with(&earlier.head)
    }

    /// How long the text is.
    pub fn length(&self) -> u64 {
        self.segments.iter().map(Segment::length).sum()
    }

    /// Where the segment with this index begins.
    pub fn begin_of(&self, index: usize) -> u64 {
        self.segments[..index].iter().map(Segment::length).sum()
    }

    /// A part of the text.
    pub fn read(&self, wanted: Range<u64>) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        let mut begin = 0;
        for segment in &self.segments {
            let end = begin + segment.length();
            let (from, to) = (wanted.start.max(begin), wanted.end.min(end));
            if from < to {
                let at = segment.bytes.start + (from - begin);
                let before = text.len();
                text.resize(before + usize::try_from(to - from).unwrap_or(usize::MAX), 0);
                segment.file.read_exact_at(&mut text[before..], at)?;
            }
            begin = end;
        }
        Ok(text)
    }

    /// The last place in `within` where `pattern` stands and `is_it` says so of
    /// its position.
    pub fn last(
        &self,
        pattern: &[u8],
        within: Range<u64>,
        is_it: impl Fn(u64) -> io::Result<bool>,
    ) -> io::Result<Option<u64>> {
        let overlap = (pattern.len() as u64).saturating_sub(1);
        let mut end = within.end;
        while end > within.start {
            let start = end.saturating_sub(BLOCK).max(within.start);
            // What begins in this block may end in the next.
            let text = self.read(start..(end + overlap).min(within.end))?;
            let found = text.windows(pattern.len()).enumerate().rev().filter(|(_, window)| *window == pattern);
            for (index, _) in found {
                let position = start + index as u64;
                if is_it(position)? {
                    return Ok(Some(position));
                }
            }
            end = start;
        }
        Ok(None)
    }

    /// Where the last `count` lines of `within` begin. What follows the last
    /// newline is a line, too.
    pub fn last_lines(&self, count: u64, within: Range<u64>) -> io::Result<u64> {
        let mut left = count;
        let mut end = within.end;
        while end > within.start && count > 0 {
            let start = end.saturating_sub(BLOCK).max(within.start);
            let block = self.read(start..end)?;
            for (index, _) in block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                let behind = start + index as u64 + 1;
                if behind == within.end {
                    continue;
                }
                left -= 1;
                if left == 0 {
                    return Ok(behind);
                }
            }
            end = start;
        }
        Ok(if count == 0 { within.end } else { within.start })
    }
}

impl Segment {
    /// A part that was rotated out of the log.
    fn part(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let mut part = Self::of(file, 0..length)?;
        part.bytes.start = part.behind_note()?;
        Ok(part)
    }

    fn of(file: File, bytes: Range<u64>) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { id: (metadata.dev(), metadata.ino()), file: Rc::new(file), bytes })
    }

    fn length(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }

    /// Where it goes on behind the line that a rotation put at its beginning:
    /// the note, or blanks where that had no room. It fills less than a block.
    fn behind_note(&self) -> io::Result<u64> {
        let Range { start, end } = self.bytes;
        let block = self.file.metadata()?.blksize().max(1);
        let head = read_up_to(&self.file, start..end.min(start + block))?;
        let Some(newline) = head.iter().position(|byte| *byte == b'\n') else { return Ok(start) };
        let note = format!("{OWN_LINE}{NOTE}");
        let is_note = head.starts_with(note.as_bytes()) || head[..newline].iter().all(|byte| *byte == b' ');
        Ok(if is_note { start + newline as u64 + 1 } else { start })
    }
}

/// `None`: there is no such file.
fn opened(path: &Path) -> io::Result<Option<File>> {
    match regular::open(path) {
        Ok((file, _)) => Ok(Some(file)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// As much of `range` as there is: the file may have become shorter.
fn read_up_to(file: &File, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], range.start + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
