//! Where bodies are kept until they have been sent: in memory, as long as all bodies
//! together fit there, and beyond that in a temporary file without a name, as long as
//! all files together are not too large.
//!
//! The alternative, to let uploads wait for each other's memory, lets one client that
//! stops sending hold up all others. A file cannot deadlock; nginx does the same.

use std::fs::{DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use hyper::body::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use super::NamingError;

/// What all bodies together may take of memory by default, bytes: four of 25 MB.
const MEMORY: u64 = 100 << 20;

/// What all bodies together may take of the disk, or `max_body` if that is more, bytes.
const DISK: u64 = 4 << 30;

/// What each body may take besides, bytes, so that small ones never touch the disk.
const FREE: u64 = 64 << 10;

/// Shorter chunks are copied together, bytes: a chunk holds the whole buffer that it
/// was read into.
const SMALL: usize = 64 << 10;

/// The most that is read from the file at once, bytes.
const READ: u64 = 256 << 10;

/// The memory that bodies share, and where the rest goes; clones share it.
#[derive(Clone, Debug)]
pub struct Spool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: u64,
    used: AtomicU64,
    most_on_disk: u64,
    used_on_disk: AtomicU64,
    dir: PathBuf,
}

#[cfg(test)]
impl Default for Spool {
    fn default() -> Self {
        Self::at(std::env::temp_dir())
    }
}

impl Spool {
    /// Returns a spool that keeps what finds no room in memory in `dir`, which is made
    /// when it is needed.
    #[must_use]
    pub fn at(dir: PathBuf) -> Self {
        Self::new(MEMORY, dir)
    }

    /// … and keeps `most` bytes in memory.
    #[must_use]
    pub fn new(most: u64, dir: PathBuf) -> Self {
        Self::limited(most, DISK, dir)
    }

    /// … and `most_on_disk` bytes in files, or one body of the largest size.
    #[must_use]
    pub(super) fn limited(most: u64, most_on_disk: u64, dir: PathBuf) -> Self {
        let (used, used_on_disk) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Shared { most, used, most_on_disk, used_on_disk, dir }))
    }

    /// Returns how many bytes of bodies are in memory, those of small ones aside.
    #[cfg(test)]
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Relaxed)
    }

    /// Returns how many bytes of bodies are in files.
    #[cfg(test)]
    #[must_use]
    pub fn used_on_disk(&self) -> u64 {
        self.0.used_on_disk.load(Relaxed)
    }
}

/// Takes `bytes` of what `used` may come to, if they are left.
fn reserve(used: &AtomicU64, bytes: u64, most: u64) -> bool {
    used.fetch_update(Relaxed, Relaxed, |used| used.checked_add(bytes).filter(|used| *used <= most)).is_ok()
}

/// Makes a file without a name, which vanishes when it is closed, however this process
/// ends.
fn nameless(dir: &Path) -> io::Result<File> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => tempfile::tempfile_in(dir),
    }
}

/// The first bytes of one body, from its beginning.
#[derive(Debug)]
pub(super) struct Kept {
    spool: Spool,
    /// What is reserved of the spool's memory.
    reserved: u64,
    /// What is reserved of its disk.
    reserved_on_disk: u64,
    /// The most bytes on disk of all bodies together.
    most_on_disk: u64,
    /// The chunks in memory, each with the place of its first byte in the body.
    chunks: Vec<(u64, Bytes)>,
    /// Small chunks, behind the others.
    tail: Vec<u8>,
    /// How many bytes are in memory.
    memory: u64,
    /// Everything behind them, once there was no memory left.
    file: Option<Arc<File>>,
    in_file: u64,
    /// A chunk on its way to the file.
    writing: Option<(JoinHandle<io::Result<Arc<File>>>, u64)>,
    /// The last chunk found no room.
    is_crowded: bool,
}

impl Kept {
    /// `largest`: the largest body that is accepted, bytes.
    pub fn new(spool: Spool, largest: Option<u64>) -> Self {
        Self {
            most_on_disk: spool.0.most_on_disk.max(largest.unwrap_or(0)),
            spool,
            reserved: 0,
            reserved_on_disk: 0,
            chunks: Vec::new(),
            tail: Vec::new(),
            memory: 0,
            file: None,
            in_file: 0,
            writing: None,
            is_crowded: false,
        }
    }

    /// How many bytes are kept.
    pub const fn length(&self) -> u64 {
        self.memory + self.in_file
    }

    /// Returns all of it if it is one chunk in memory.
    #[cfg(test)]
    pub fn whole(&self) -> Option<Bytes> {
        match self.chunks.as_slice() {
            [] if self.length() == 0 => Some(Bytes::new()),
            [(_, chunk)] if chunk.len() as u64 == self.length() => Some(chunk.clone()),
            _ => None,
        }
    }

    /// Keeps one more chunk. [`Self::poll_kept`] says when it is.
    pub fn keep(&mut self, chunk: &Bytes) {
        let length = chunk.len() as u64;
        if self.file.is_none() && self.fits(length) {
            self.memorize(chunk);
            self.memory += length;
            return;
        }
        if !reserve(&self.spool.0.used_on_disk, length, self.most_on_disk) {
            self.is_crowded = true;
            return;
        }
        self.reserved_on_disk += length;
        let (file, at, dir, chunk) = (self.file.clone(), self.in_file, self.spool.0.dir.clone(), chunk.clone());
        let write = move || {
            let file = file.map_or_else(|| nameless(&dir).map(Arc::new), Ok)?;
            file.write_all_at(&chunk, at)?;
            Ok(file)
        };
        self.writing = Some((spawn_blocking(write), length));
    }

    /// Waits until the last chunk is kept.
    pub fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NamingError>> {
        if std::mem::take(&mut self.is_crowded) {
            return Poll::Ready(Err(NamingError::Crowded(self.most_on_disk)));
        }
        let Some((write, length)) = &mut self.writing else { return Poll::Ready(Ok(())) };
        let written = std::task::ready!(std::pin::Pin::new(write).poll(cx));
        let length = *length;
        self.writing = None;
        Poll::Ready(match written.map_err(io::Error::other).flatten() {
            Ok(file) => {
                self.file = Some(file);
                self.in_file += length;
                Ok(())
            }
            Err(cause) => Err(self.no_room(cause)),
        })
    }

    /// Returns what is kept from the byte `at` on, a part of it.
    pub fn read(&self, at: u64) -> Part {
        if at >= self.memory {
            let Some(file) = self.file.clone() else { return Part::End };
            let (from, length) = (at - self.memory, self.length().saturating_sub(at).min(READ));
            if length == 0 {
                return Part::End;
            }
            return Part::Stored(spawn_blocking(move || {
                let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                file.read_exact_at(&mut bytes, from)?;
                Ok(Bytes::from(bytes))
            }));
        }
        let behind = self.memory - self.tail.len() as u64;
        let rest = |from: u64| usize::try_from(at - from).unwrap_or(usize::MAX);
        if at >= behind {
            return Part::Here(Bytes::copy_from_slice(&self.tail[rest(behind)..]));
        }
        let index = self.chunks.partition_point(|(start, _)| *start <= at) - 1;
        let (start, chunk) = &self.chunks[index];
        Part::Here(chunk.slice(rest(*start)..))
    }

    /// Says that there is no room for the body, or that it cannot be read again.
    pub fn no_room(&self, cause: io::Error) -> NamingError {
        NamingError::NoRoom { dir: self.spool.0.dir.display().to_string(), cause: Arc::new(cause) }
    }

    fn fits(&mut self, length: u64) -> bool {
        let needed = (self.memory + length).saturating_sub(FREE + self.reserved);
        let fits = needed == 0 || reserve(&self.spool.0.used, needed, self.spool.0.most);
        self.reserved += if fits { needed } else { 0 };
        fits
    }

    fn memorize(&mut self, chunk: &Bytes) {
        let is_first = self.memory == 0;
        if !is_first && chunk.len() < SMALL && self.tail.len() + chunk.len() <= SMALL {
            self.tail.extend_from_slice(chunk);
            return;
        }
        if !self.tail.is_empty() {
            let start = self.memory - self.tail.len() as u64;
            self.chunks.push((start, std::mem::take(&mut self.tail).into()));
        }
        if !is_first && chunk.len() < SMALL {
            self.tail.reserve(SMALL);
            self.tail.extend_from_slice(chunk);
        } else {
            self.chunks.push((self.memory, chunk.clone()));
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // Most bodies are small and have reserved nothing.
        for (used, reserved) in
            [(&self.spool.0.used, self.reserved), (&self.spool.0.used_on_disk, self.reserved_on_disk)]
        {
            if reserved > 0 {
                used.fetch_sub(reserved, Relaxed);
            }
        }
    }
}

/// A part of what is kept.
pub(super) enum Part {
    /// In memory.
    Here(Bytes),
    /// On its way from the file.
    Stored(JoinHandle<io::Result<Bytes>>),
    /// Nothing is kept from there on.
    End,
}
