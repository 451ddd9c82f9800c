//! Where bodies are kept until they have been sent: in memory, as long as all bodies
//! together fit there, and beyond that in a temporary file without a name.
//!
//! The alternative, to let uploads wait for each other's memory, lets one client that
//! stops sending hold up all others. A file cannot deadlock; nginx does the same.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use hyper::body::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use super::NamingError;

/// What all bodies together may take of memory by default, bytes: four of 25 MB.
const MEMORY: u64 = 100 << 20;

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
    dir: PathBuf,
}

impl Default for Spool {
    fn default() -> Self {
        Self::new(MEMORY, std::env::temp_dir())
    }
}

impl Spool {
    /// Returns a spool that keeps `most` bytes in memory and the rest in `dir`.
    #[must_use]
    pub fn new(most: u64, dir: PathBuf) -> Self {
        Self(Arc::new(Shared { most, used: AtomicU64::new(0), dir }))
    }

    /// Returns how many bytes of bodies are in memory, those of small ones aside.
    #[cfg(test)]
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Relaxed)
    }

    fn reserve(&self, bytes: u64) -> bool {
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= self.0.most);
        self.0.used.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }
}

/// The first bytes of one body, from its beginning.
#[derive(Debug)]
pub(super) struct Kept {
    spool: Spool,
    /// What is reserved of the spool.
    reserved: u64,
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
}

impl Kept {
    pub fn new(spool: Spool) -> Self {
        Self {
            spool,
            reserved: 0,
            chunks: Vec::new(),
            tail: Vec::new(),
            memory: 0,
            file: None,
            in_file: 0,
            writing: None,
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
        let (file, at, dir, chunk) = (self.file.clone(), self.in_file, self.spool.0.dir.clone(), chunk.clone());
        let write = move || {
            let file = file.map_or_else(|| tempfile::tempfile_in(dir).map(Arc::new), Ok)?;
            file.write_all_at(&chunk, at)?;
            Ok(file)
        };
        self.writing = Some((spawn_blocking(write), length));
    }

    /// Waits until the last chunk is kept.
    pub fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), NamingError>> {
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
        let fits = needed == 0 || self.spool.reserve(needed);
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
        self.spool.0.used.fetch_sub(self.reserved, Relaxed);
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
