//! Zstandard, as much of it as has arrived: frame after frame, block by block.
//!
//! [`FrameDecoder`] needs a whole header or block at a time, and would take a window
//! of any size. So this file cuts the input at the borders that the format itself has
//! (RFC 8878) and refuses windows beyond those that HTTP allows (RFC 9659). Checksums
//! are read over: TCP has its own.

use std::io::{self, ErrorKind, Read};

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The largest window that HTTP allows (RFC 9659), bytes.
const LARGEST_WINDOW: u64 = 8 << 20;

/// The largest block, bytes.
const LARGEST_BLOCK: usize = 128 << 10;

/// The magic number of a frame with content.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A decoder on top of a source that may block.
pub(super) struct Zstd<R> {
    source: R,
    decoder: FrameDecoder,
    /// Encoded bytes that are not decoded yet.
    held: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a frame.
    Between,
    /// Before a block.
    Blocks { has_checksum: bool },
    /// In a frame without content, of which this many bytes are left.
    Skipping(usize),
}

impl<R: Read> Zstd<R> {
    pub fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), held: Vec::new(), state: State::Between }
    }

    /// Makes sure that `length` bytes are held. `false`: the source has ended, and
    /// holds none.
    fn hold(&mut self, length: usize) -> io::Result<bool> {
        while self.held.len() < length {
            let begun = self.held.len();
            self.held.resize(length, 0);
            let read = self.source.read(&mut self.held[begun..]);
            self.held.truncate(begun + read.as_ref().map_or(0, |read| *read));
            if read? == 0 {
                let ended = ErrorKind::UnexpectedEof;
                return if begun == 0 { Ok(false) } else { Err(io::Error::new(ended, "it ends within a frame")) };
            }
        }
        Ok(true)
    }

    /// Takes the next step; `false`: the source is over.
    fn step(&mut self) -> io::Result<bool> {
        match self.state {
            State::Between => self.header(),
            State::Blocks { has_checksum } => self.block(has_checksum).map(|()| true),
            State::Skipping(0) => {
                self.state = State::Between;
                Ok(true)
            }
            State::Skipping(left) => {
                let part = left.min(LARGEST_BLOCK);
                if !self.hold(part)? {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                self.held.clear();
                self.state = State::Skipping(left - part);
                Ok(true)
            }
        }
    }

    fn header(&mut self) -> io::Result<bool> {
        if !self.hold(4)? {
            return Ok(false);
        }
        let magic = [self.held[0], self.held[1], self.held[2], self.held[3]];
        if u32::from_le_bytes(magic) & 0xffff_fff0 == 0x184d_2a50 {
            self.hold(8)?;
            let length = u32::from_le_bytes([self.held[4], self.held[5], self.held[6], self.held[7]]);
            self.held.clear();
            self.state = State::Skipping(usize::try_from(length).unwrap_or(usize::MAX));
            return Ok(true);
        }
        if magic != MAGIC {
            return Err(invalid("it is not a zstd frame"));
        }
        self.hold(5)?;
        let descriptor = self.held[4];
        let is_single = descriptor & 0x20 != 0;
        let id = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let size = [usize::from(is_single), 2, 4, 8][usize::from(descriptor >> 6)];
        self.hold(5 + usize::from(!is_single) + id + size)?;
        let window = if is_single {
            let mut bytes = [0; 8];
            bytes[..size].copy_from_slice(&self.held[5 + id..]);
            u64::from_le_bytes(bytes) + if size == 2 { 256 } else { 0 }
        } else {
            let base = 1_u64 << (10 + (self.held[5] >> 3));
            base + base / 8 * u64::from(self.held[5] & 7)
        };
        if window > LARGEST_WINDOW {
            return Err(invalid("its window is larger than 8 MiB; compress it at level 19 or below, without --long"));
        }
        self.decoder.reset(self.held.as_slice()).map_err(invalid)?;
        self.held.clear();
        self.state = State::Blocks { has_checksum: descriptor & 4 != 0 };
        Ok(true)
    }

    fn block(&mut self, has_checksum: bool) -> io::Result<()> {
        if !self.hold(3)? {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "it ends within a frame"));
        }
        let header = u32::from_le_bytes([self.held[0], self.held[1], self.held[2], 0]);
        let (is_last, kind) = (header & 1 != 0, header >> 1 & 3);
        let size = usize::try_from(header >> 3).unwrap_or(usize::MAX);
        if size > LARGEST_BLOCK {
            return Err(invalid("a block is larger than 128 KiB"));
        }
        let content = if kind == 1 { 1 } else { size };
        self.hold(3 + content + if is_last && has_checksum { 4 } else { 0 })?;
        self.decoder.decode_blocks(self.held.as_slice(), BlockDecodingStrategy::UptoBlocks(1)).map_err(invalid)?;
        self.held.clear();
        if is_last {
            self.state = State::Between;
        }
        Ok(())
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.decoder.can_collect() == 0 {
            if !self.step()? {
                return Ok(0);
            }
        }
        self.decoder.read(into)
    }
}

fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}
