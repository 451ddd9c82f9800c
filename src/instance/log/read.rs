//! Reads the logs of all instances of a model as one text, and goes on in it.

use std::collections::BTreeSet;
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
#[derive(Debug)]
pub struct LogReader {
    logs: PathBuf,
    model: String,
    sources: Vec<Source>,
    /// Files that are or were read.
    known: BTreeSet<PathBuf>,
}

/// A file.
#[derive(Debug)]
struct Source {
    file: File,
    at: u64,
    /// Up to where it is read: where it ended when it was opened.
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
        let opened: Vec<Option<Source>> = paths.iter().map(|path| Source::open(path)).collect::<io::Result<_>>()?;
        let mut sources: Vec<Source> = opened.into_iter().flatten().collect();
        if sources.is_empty() {
            return Err(ErrorKind::NotFound.into());
        }
        if part == Part::Previous {
            let is_own = paths.last().is_some_and(|last| last.parent() != Some(logs));
            let Some(previous) = sources.len().checked_sub(2).filter(|_| is_own) else { return Ok(None) };
            sources = vec![sources.swap_remove(previous)];
        }
        let mut left = lines.unwrap_or(u64::MAX);
        for source in sources.iter_mut().rev() {
            left -= source.begin_with_last(left)?;
        }
        let known = paths.into_iter().collect();
        Ok(Some(Self { logs: logs.to_owned(), model: model.to_string(), sources, known }))
    }

    /// Returns the next lines of those there were when it was opened; nothing
    /// when all were read.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        for source in &mut self.sources {
            let lines = source.lines(false)?;
            if !lines.is_empty() {
                return Ok(lines);
            }
        }
        Ok(Vec::new())
    }

    /// Returns what was written since, also by instances started since; nothing
    /// if nothing was.
    ///
    /// # Errors
    /// The log cannot be read. One that is gone has nothing new.
    pub fn read_on(&mut self) -> io::Result<Vec<u8>> {
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
