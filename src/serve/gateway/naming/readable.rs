//! A body for a thread that may wait.

use std::io::{self, Read};

use hyper::body::{Buf, Bytes};
use tokio::runtime::Handle;

use super::Attempt;

/// Reads an [`Attempt`] as a file is read. Use it only on a thread that may block.
pub(super) struct Readable {
    attempt: Attempt,
    /// What has been received and not read.
    chunk: Bytes,
    runtime: Handle,
}

impl Readable {
    /// Call it within the runtime that the body arrives in.
    pub fn new(attempt: Attempt) -> Self {
        Self { attempt, chunk: Bytes::new(), runtime: Handle::current() }
    }
}

impl Read for Readable {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.runtime.block_on(self.attempt.next()) {
                Some(chunk) => self.chunk = chunk.map_err(io::Error::other)?,
                None => return Ok(0),
            }
        }
        let length = self.chunk.len().min(into.len());
        self.chunk.copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}
