//! Reads the logs of all instances of a model as one text, and goes on in it.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{begin, files, is_written, own, read_at};
use crate::model::ModelName;
use crate::sys::regular;

/// How much is read at once.
const CHUNK: u64 = 1 << 20;

/// A line that has not ended is handed out when it is so long.
const LONGEST_LINE: usize = 64 << 10;

/// Which part of a model's logs is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything that is kept.
    Whole,
    /// What the instance before the last one wrote, as far as it is kept; or the
    /// log of all instances of an earlier version.
    Previous,
}

/// Reads lines, those of older instances first. Lines of instances that write at
/// the same time are not mixed up within a line.
///
/// It opens a file when it gets there, and closes it when no more will follow:
/// there may be more files than a process may open.
#[derive(Debug)]
pub struct LogReader {
    logs: PathBuf,
    model: String,
    /// What comes after the sources.
    unread: VecDeque<Unopened>,
    /// Files before the first line that is wanted. Their servers may go on.
    skipped: Vec<Unopened>,
    /// Those that are read now, or that more may follow in.
    sources: Vec<Source>,
    /// Files that are or were read.
    known: BTreeSet<PathBuf>,
}

/// A file that is not open.
#[derive(Debug)]
struct Unopened {
    path: PathBuf,
    /// Where to begin; `None`: with its first line.
    at: Option<u64>,
    /// Where it ended when the reader began.
    end: u64,
}

/// A file that is open.
#[derive(Debug)]
struct Source {
    file: File,
    at: u64,
    /// Up to where it is read.
    end: u64,
}

impl LogReader {
    /// Begins with the last `lines` lines (`None`: with the first) of `part`.
    /// `Ok(None)`: there is no such part, since only one instance has written.
    ///
    /// # Errors
    /// The model has no log ([`ErrorKind::NotFound`]), or it cannot be read.
    pub fn open(logs: &Path, model: &ModelName, part: Part, lines: Option<u64>) -> io::Result<Option<Self>> {
        let paths = files(logs, model.as_str())?;
        let known = paths.iter().cloned().collect();
        let is_own = paths.last().is_some_and(|last| last.parent() != Some(logs));
        let found: Vec<Option<Unopened>> = paths.into_iter().map(Unopened::find).collect::<io::Result<_>>()?;
        let mut skipped: Vec<Unopened> = found.into_iter().flatten().collect();
        if skipped.is_empty() {
            return Err(ErrorKind::NotFound.into());
        }
        if part == Part::Previous {
            let Some(previous) = skipped.len().checked_sub(2).filter(|_| is_own) else { return Ok(None) };
            skipped = vec![skipped.swap_remove(previous)];
        }
        let mut unread = VecDeque::new();
        match lines {
            None => unread.extend(skipped.drain(..)),
            Some(lines) => unread.extend(take_last(lines, &mut skipped)?),
        }
        let (logs, model) = (logs.to_owned(), model.to_string());
        Ok(Some(Self { logs, model, unread, skipped, sources: Vec::new(), known }))
    }

    /// Returns the next lines of those there were when it was opened; nothing
    /// when all were read.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(source) = self.sources.last_mut() {
                let lines = source.lines(false)?;
                if !lines.is_empty() {
                    return Ok(lines);
                }
            }
            let Some(next) = self.unread.pop_front() else { return Ok(Vec::new()) };
            self.sources.pop_if(|source| source.is_over_at(source.at));
            self.sources.extend(next.open()?);
        }
    }

    /// Returns what was written since, also by instances started since; nothing
    /// if nothing was.
    ///
    /// # Errors
    /// The log cannot be read. One that is gone has nothing new.
    pub fn read_on(&mut self) -> io::Result<Vec<u8>> {
        while !self.unread.is_empty() {
            let lines = self.read()?;
            if !lines.is_empty() {
                return Ok(lines);
            }
        }
        for skipped in std::mem::take(&mut self.skipped) {
            self.sources.extend(skipped.open()?.filter(|source| !source.is_over_at(source.at)));
        }
        for path in own(&self.logs, &self.model)? {
            if self.known.contains(&path) {
                continue;
            }
            // So that a reader that goes on for months has few files open.
            self.sources.retain(|source| !source.is_over_at(source.at));
            self.sources.extend(Source::open(&path)?);
            self.known.insert(path);
        }
        let mut lines = Vec::new();
        for source in &mut self.sources {
            source.end = u64::MAX;
            lines.extend(source.lines(false)?);
        }
        Ok(lines)
    }

    /// Returns the lines that have not ended yet, as [`LogReader::read`] leaves
    /// them, each with an end.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        for source in &mut self.sources {
            lines.extend(source.lines(true)?);
        }
        Ok(lines)
    }
}

/// Takes those of the files that hold the last `count` lines, and leaves the rest.
/// Each begins where it is to be read, or ends.
fn take_last(count: u64, files: &mut Vec<Unopened>) -> io::Result<VecDeque<Unopened>> {
    let (mut left, mut last) = (count, VecDeque::new());
    while left > 0 {
        let Some(mut file) = files.pop() else { break };
        let Some(mut source) = file.open()? else { continue };
        left -= source.begin_with_last(left)?;
        file.at = Some(source.at);
        last.push_front(file);
    }
    files.iter_mut().for_each(|file| file.at = Some(file.end));
    Ok(last)
}

impl Unopened {
    /// `None`: it is gone.
    fn find(path: PathBuf) -> io::Result<Option<Self>> {
        match path.metadata() {
            Ok(metadata) => Ok(Some(Self { path, at: None, end: metadata.len() })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `None`: it is gone.
    fn open(&self) -> io::Result<Option<Source>> {
        let opened = Source::open(&self.path)?;
        Ok(opened.map(|source| Source { at: self.at.unwrap_or(source.at), end: self.end, ..source }))
    }
}

impl Source {
    /// `None`: it is gone.
    fn open(path: &Path) -> io::Result<Option<Self>> {
        match regular::open(path) {
            Ok((file, metadata)) => Ok(Some(Self { at: begin(&file)?, end: metadata.len(), file })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next whole lines before `end`; the last one without an end, too, if it
    /// will never have one, or if it is `wanted`.
    fn lines(&mut self, wanted: bool) -> io::Result<Vec<u8>> {
        let length = self.file.metadata()?.len();
        if length < self.at {
            // Somebody emptied it.
            self.at = 0;
        }
        let mut lines = Vec::new();
        loop {
            let most = self.end.min(length).saturating_sub(self.at).min(CHUNK);
            lines.resize(usize::try_from(most).unwrap_or(0), 0);
            let read = read_at(&self.file, &mut lines, self.at)?;
            lines.truncate(read);
            if lines.is_empty() {
                return Ok(lines);
            }
            // What was freed meanwhile was read as zeros.
            let begin = begin(&self.file)?;
            if begin <= self.at {
                break;
            }
            self.at = begin;
        }
        let whole = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let read = lines.len();
        if whole > 0 || read < LONGEST_LINE && !wanted && !self.is_over_at(self.at + read as u64) {
            lines.truncate(whole);
            self.at += whole as u64;
        } else {
            self.at += read as u64;
            if read < LONGEST_LINE {
                lines.push(b'\n');
            }
        }
        Ok(lines)
    }

    /// Whether nothing follows here, and nothing will. If in doubt, something will.
    fn is_over_at(&self, position: u64) -> bool {
        let is_over = is_written(&self.file).is_ok_and(|written| !written);
        is_over && self.file.metadata().is_ok_and(|metadata| metadata.len() <= position)
    }

    /// Goes to where the last `count` lines begin, and returns how many there
    /// are. What follows the last newline is a line, too.
    fn begin_with_last(&mut self, count: u64) -> io::Result<u64> {
        let mut block = vec![0; 64 << 10];
        let (mut found, mut from) = (0, self.end);
        while from > self.at && found < count {
            let start = from.saturating_sub(block.len() as u64).max(self.at);
            let length = usize::try_from(from - start).unwrap_or(0);
            let read = read_at(&self.file, &mut block[..length], start)?;
            for (index, _) in block[..read].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                let behind = start + index as u64 + 1;
                if behind == self.end {
                    continue;
                }
                found += 1;
                if found == count {
                    self.at = behind;
                    return Ok(found);
                }
            }
            from = start;
        }
        if count == 0 {
            self.at = self.end;
            return Ok(0);
        }
        // The first line has no newline before it.
        Ok(found + u64::from(self.at < self.end))
    }
}
