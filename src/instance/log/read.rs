//! Reads the logs of all instances of a model as one text, and goes on in it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{begin, files, is_written, own, read_at};
use crate::instance::death::START_LINE;
use crate::model::ModelName;
use crate::regular;

/// How much is read at once.
const CHUNK: u64 = 1 << 20;

/// A line that has not ended is handed out when it is so long.
const LONGEST_LINE: usize = 64 << 10;

/// Which part of a model's logs is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything that is kept.
    Whole,
    /// What the instance before the last one wrote, as far as it is kept.
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

/// A file, or a part of it.
#[derive(Clone, Debug)]
struct Source {
    file: Rc<File>,
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
        let known: BTreeSet<PathBuf> = own(logs, model.as_str())?.into_iter().collect();
        let mut reader = Self { logs: logs.to_owned(), model: model.to_string(), sources: Vec::new(), known };
        let mut servers: Vec<Vec<Source>> = Vec::new();
        for path in files(logs, model.as_str())? {
            let Some(source) = Source::open(&path)? else { continue };
            reader.sources.push(source.clone());
            match part {
                Part::Whole => {}
                Part::Previous if reader.known.contains(&path) => servers.push(vec![source]),
                Part::Previous => source.split(&mut servers)?,
            }
        }
        if reader.sources.is_empty() {
            return Err(ErrorKind::NotFound.into());
        }
        if part == Part::Previous {
            let Some(previous) = servers.len().checked_sub(2) else { return Ok(None) };
            reader.sources = servers.swap_remove(previous);
        }
        let mut left = lines.unwrap_or(u64::MAX);
        for source in reader.sources.iter_mut().rev() {
            left -= source.begin_with_last(left)?;
        }
        Ok(Some(reader))
    }

    /// Returns the next lines of those there were when it was opened; nothing
    /// when all were read.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        for source in &mut self.sources {
            let lines = source.lines(source.end, is_over)?;
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
            self.sources.retain(|source| !source.is_exhausted());
            self.sources.extend(Source::open(&path)?);
            self.known.insert(path);
        }
        let mut lines = Vec::new();
        for source in &mut self.sources {
            source.end = u64::MAX;
            lines.extend(source.lines(source.end, is_over)?);
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
            lines.extend(source.lines(source.end, |_| true)?);
        }
        Ok(lines)
    }
}

/// Whether nothing will be added to a file. If in doubt, something will.
fn is_over(file: &File) -> bool {
    !is_written(file).unwrap_or(true)
}

impl Source {
    /// `None`: it is gone.
    fn open(path: &Path) -> io::Result<Option<Self>> {
        match regular::open(path) {
            Ok((file, metadata)) => Ok(Some(Self { at: begin(&file)?, end: metadata.len(), file: Rc::new(file) })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The next whole lines before `end`; the last one without an end, too, if
    /// `is_over`.
    fn lines(&mut self, end: u64, is_over: impl Fn(&File) -> bool) -> io::Result<Vec<u8>> {
        let length = self.file.metadata()?.len();
        if length < self.at {
            // Somebody emptied it.
            self.at = 0;
        }
        let mut lines = Vec::new();
        loop {
            let most = end.min(length).saturating_sub(self.at).min(CHUNK);
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
        if whole > 0 || read < LONGEST_LINE && !is_over(&self.file) {
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

    fn is_exhausted(&self) -> bool {
        is_over(&self.file) && self.file.metadata().is_ok_and(|metadata| metadata.len() <= self.at)
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

    /// Adds a file of an earlier version to what each server wrote: a server
    /// begins with herdsman's line for it. That need not begin a line, since a
    /// server may die in the middle of one.
    fn split(self, servers: &mut Vec<Vec<Self>>) -> io::Result<()> {
        let mut text = BufReader::new(&*self.file);
        text.seek(io::SeekFrom::Start(self.at))?;
        let (mut text, mut line) = (text.take(self.end.saturating_sub(self.at)), Vec::new());
        let (mut heads, mut at) = (Vec::new(), self.at);
        while text.read_until(b'\n', &mut line)? > 0 {
            let head = line.windows(START_LINE.len() + 36).position(is_head);
            heads.extend(head.map(|index| at + index as u64));
            at += line.len() as u64;
            line.clear();
        }
        let ends = heads.iter().copied().skip(1).chain([self.end]);
        let first = heads.first().copied().unwrap_or(self.end);
        if self.at < first {
            let before = Self { end: first, ..self.clone() };
            match servers.last_mut() {
                Some(server) => server.push(before),
                None => servers.push(vec![before]),
            }
        }
        servers.extend(heads.iter().zip(ends).map(|(at, end)| vec![Self { at: *at, end, ..self.clone() }]));
        Ok(())
    }
}

/// Whether this is the beginning of herdsman's line for an instance: `START_LINE`
/// and a UUID.
fn is_head(text: &[u8]) -> bool {
    let id = text.strip_prefix(START_LINE.as_bytes()).and_then(|id| std::str::from_utf8(id).ok());
    id.is_some_and(|id| uuid::Uuid::try_parse(id).is_ok())
}
