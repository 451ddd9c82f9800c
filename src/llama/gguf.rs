//! Checks from its header alone that a file is a complete GGUF file.
//!
//! llama-server notices a text file in place of the weights, or an incomplete
//! download, only after the old server was stopped. Reading the header first costs
//! milliseconds and no memory: everything is streamed, and every count of a hostile
//! file is checked against the file's size.
//!
//! Layout (`docs/gguf.md` of ggml): magic, u32 version, u64 tensors, u64
//! key-values, the key-values, the tensor infos, padding to the alignment,
//! the data. All numbers are little-endian.

mod tensor;
#[cfg(test)]
mod tests;

use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::sys::regular;

/// The longest key that is read, bytes; longer ones are skipped.
const LONGEST_KEY: usize = 256;

/// The alignment of the data if the header sets none.
const DEFAULT_ALIGNMENT: u64 = 32;

/// The most dimensions a tensor has (`GGML_MAX_DIMS`).
const MOST_DIMENSIONS: u32 = 4;

/// Why a file cannot be loaded as weights.
#[derive(Debug, thiserror::Error)]
pub enum GgufProblem {
    /// It cannot be read at all.
    #[error("cannot read the weights {path}: {cause}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// It does not start like a GGUF file.
    #[error("{path} {looks}")]
    NotGguf {
        /// The file.
        path: String,
        /// What it is instead, and the next step.
        looks: Looks,
    },
    /// A version of the format that llama.cpp does not read.
    #[error("{path} has GGUF version {version}, but llama-server reads only 2 and 3; convert it again")]
    Version {
        /// The file.
        path: String,
        /// Its version.
        version: u32,
    },
    /// It ends too early.
    #[error("{path} is truncated: it has {size} of at least {needed} bytes; download or copy it again")]
    Truncated {
        /// The file.
        path: String,
        /// Its size, bytes.
        size: u64,
        /// The least size that fits its header, bytes.
        needed: u64,
    },
    /// Its header contradicts itself.
    #[error("{path} is damaged: {what}; download or copy it again")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// What was found instead of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Looks {
    /// Nothing.
    #[error("is empty; download or copy it again")]
    Empty,
    /// What Git keeps in place of a large file.
    #[error("is a Git LFS pointer, not the weights; run `git lfs pull` in its repository")]
    LfsPointer,
    /// What a hub sends in place of a file.
    #[error(
        "is an HTML page, not a GGUF file: the server sent a login or error page; download it again, with a token if it needs one"
    )]
    Html,
    /// Something else.
    #[error("is not a GGUF file: it starts with {0}; use the path of a .gguf file")]
    Other(&'static str),
}

/// Checks that `path` is a GGUF file, and as large as its header says.
///
/// # Errors
/// [`GgufProblem`] names the file, what is wrong and the next step.
pub fn check_gguf(path: &Path) -> Result<(), GgufProblem> {
    let shown = || path.display().to_string();
    let unreadable = |cause| GgufProblem::Unreadable { path: shown(), cause };
    let (file, metadata) = regular::open(path).map_err(unreadable)?;
    let size = metadata.len();
    match check(BufReader::with_capacity(64 * 1024, file), size) {
        Ok(()) => Ok(()),
        Err(Flaw::Unreadable(cause)) => Err(unreadable(cause)),
        Err(Flaw::NotGguf(looks)) => Err(GgufProblem::NotGguf { path: shown(), looks }),
        Err(Flaw::Version(version)) => Err(GgufProblem::Version { path: shown(), version }),
        Err(Flaw::Short { needed }) => Err(GgufProblem::Truncated { path: shown(), size, needed }),
        Err(Flaw::Damaged(what)) => Err(GgufProblem::Damaged { path: shown(), what }),
    }
}

/// A [`GgufProblem`] before the path is known.
#[derive(Debug)]
enum Flaw {
    Unreadable(io::Error),
    NotGguf(Looks),
    Version(u32),
    Short { needed: u64 },
    Damaged(&'static str),
}

fn check(input: impl Read, size: u64) -> Result<(), Flaw> {
    let mut header = Header { input, at: 0, size };
    magic(&mut header)?;
    let version = header.u32()?;
    if !(2..=3).contains(&version) {
        return Err(Flaw::Version(version));
    }
    let (tensors, key_values) = (header.u64()?, header.u64()?);
    // Even an empty key-value takes 13 bytes, and a tensor info 24.
    header.announces(key_values, 13)?;
    header.announces(tensors, 24)?;
    let mut alignment = DEFAULT_ALIGNMENT;
    for _ in 0..key_values {
        if let Some(stated) = key_value(&mut header)? {
            alignment = stated;
        }
    }
    let mut data_end = 0;
    for _ in 0..tensors {
        data_end = tensor::info_end(&mut header)?.max(data_end);
    }
    let start = header.at.checked_next_multiple_of(alignment);
    let needed = start
        .and_then(|start| start.checked_add(data_end))
        .ok_or(Flaw::Damaged("a tensor's offset is larger than any file"))?;
    // A file without tensors (a vocabulary) need not be padded.
    if tensors > 0 && needed > size { Err(Flaw::Short { needed }) } else { Ok(()) }
}

/// How many bytes of a file are enough to say what it is instead.
const TELLING: usize = 64;

fn magic(header: &mut Header<impl Read>) -> Result<(), Flaw> {
    let mut start = [0; TELLING];
    let magic = usize::try_from(header.size).map_or(4, |size| size.min(4));
    header.bytes(&mut start[..magic])?;
    if &start[..magic] == b"GGUF" {
        return Ok(());
    }
    let telling = usize::try_from(header.size).map_or(TELLING, |size| size.min(TELLING));
    header.bytes(&mut start[magic..telling])?;
    Err(Flaw::NotGguf(looks(&start[..telling])))
}

/// Says what a file that starts like this is, if not a GGUF file.
fn looks(start: &[u8]) -> Looks {
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace() || *byte == 0;
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    match start {
        [] => Looks::Empty,
        _ if start.starts_with(b"version https://git-lfs") => Looks::LfsPointer,
        [b'F', b'U', b'G', b'G', ..] => Looks::Other("the magic of a big-endian GGUF file"),
        [b'g', b'g', b'm', b'l', ..] | [b'g', b'g', b'j', b't', ..] => Looks::Other(BEFORE),
        [b'l', b'm', b'g', b'g', ..] | [b't', b'j', b'g', b'g', ..] => Looks::Other(BEFORE),
        _ if text.starts_with(b"<") => Looks::Html,
        _ if start.iter().all(|byte| *byte == 0) => {
            Looks::Other("zeros: the download reserved the space and then broke off")
        }
        _ if start.iter().all(is_text) => Looks::Other("text"),
        _ => Looks::Other("other bytes"),
    }
}

const BEFORE: &str = "the magic of GGML, the format before GGUF";

/// Skips one key-value; returns the alignment if that is what it sets.
fn key_value(header: &mut Header<impl Read>) -> Result<Option<u64>, Flaw> {
    let mut key = [0; LONGEST_KEY];
    let key = header.text(&mut key)? == b"general.alignment";
    let kind = header.u32()?;
    // llama.cpp reads the alignment as a u32 and accepts only powers of two.
    if key && kind == 4 {
        return match header.u32()? {
            alignment if alignment.is_power_of_two() => Ok(Some(u64::from(alignment))),
            _ => Err(Flaw::Damaged("its alignment is not a power of two")),
        };
    }
    match kind {
        9 => {
            let (element, count) = (header.u32()?, header.u64()?);
            values(header, element, count)?;
        }
        kind => values(header, kind, 1)?,
    }
    Ok(None)
}

/// Skips `count` values of one type other than arrays.
fn values(header: &mut Header<impl Read>, kind: u32, count: u64) -> Result<(), Flaw> {
    let width = match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        10..=12 => 8,
        8 => {
            header.announces(count, 8)?;
            for _ in 0..count {
                let length = header.u64()?;
                header.skip(length)?;
            }
            return Ok(());
        }
        _ => return Err(Flaw::Damaged("a value in its header has an unknown type")),
    };
    header.skip(count.checked_mul(width).ok_or(Flaw::Damaged("an array in its header is longer than any file"))?)
}

/// A reader that knows its position and the length of the file.
struct Header<R> {
    input: R,
    at: u64,
    size: u64,
}

impl<R: Read> Header<R> {
    /// Checks that `count` items of at least `least` bytes each still fit.
    fn announces(&self, count: u64, least: u64) -> Result<(), Flaw> {
        let needed = count.checked_mul(least).and_then(|bytes| bytes.checked_add(self.at));
        match needed {
            None => Err(Flaw::Damaged("its header claims more than any file can hold")),
            Some(needed) if needed > self.size => Err(Flaw::Short { needed }),
            Some(_) => Ok(()),
        }
    }

    fn bytes(&mut self, into: &mut [u8]) -> Result<(), Flaw> {
        let length = into.len() as u64;
        self.announces(length, 1)?;
        self.input.read_exact(into).map_err(Flaw::Unreadable)?;
        self.at += length;
        Ok(())
    }

    fn skip(&mut self, length: u64) -> Result<(), Flaw> {
        self.announces(length, 1)?;
        let skipped = io::copy(&mut self.input.by_ref().take(length), &mut io::sink()).map_err(Flaw::Unreadable)?;
        self.at += skipped;
        if skipped == length { Ok(()) } else { Err(Flaw::Unreadable(io::ErrorKind::UnexpectedEof.into())) }
    }

    fn u32(&mut self) -> Result<u32, Flaw> {
        let mut bytes = [0; 4];
        self.bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64(&mut self) -> Result<u64, Flaw> {
        let mut bytes = [0; 8];
        self.bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Reads a text that fits `into`; skips a longer one and returns it empty.
    fn text<'b>(&mut self, into: &'b mut [u8]) -> Result<&'b [u8], Flaw> {
        let length = self.u64()?;
        match usize::try_from(length).ok().and_then(|length| into.get_mut(..length)) {
            Some(text) => {
                self.bytes(text)?;
                Ok(text)
            }
            None => {
                self.skip(length)?;
                Ok(&[])
            }
        }
    }
}
