//! Decodes `Content-Encoding`: gzip, zstd, deflate, and several of them.
//!
//! Decoders pull: each call returns at most 64 KiB, however small the input that
//! stands for them, so a decompression bomb takes no memory and is noticed when it
//! passes the limit. An input that has not arrived yet looks to them like a read that
//! would block.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use hyper::body::Bytes;
use hyper::header::{CONTENT_ENCODING, HeaderMap};

use super::NamingError;
use super::zstd::Zstd;

/// The most encodings of one body: more are an attempt to make herdsman work.
const MOST: usize = 4;

/// The most that one call returns, bytes.
const CHUNK: usize = 64 << 10;

/// A decoder that is given a body in chunks.
pub(super) struct Decoder {
    encodings: String,
    /// `None`: the body is over.
    input: Option<Sender<Bytes>>,
    output: Box<dyn Read + Send>,
}

impl Decoder {
    /// Returns the decoder that these headers ask for; `None`: none is needed.
    ///
    /// # Errors
    /// An encoding is unknown, or there are too many.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, NamingError> {
        if !headers.contains_key(CONTENT_ENCODING) {
            return Ok(None);
        }
        let mut encodings = Vec::new();
        for value in headers.get_all(CONTENT_ENCODING) {
            let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
            encodings.extend(text.split(',').map(|name| name.trim().to_owned()));
        }
        encodings.retain(|name| !name.is_empty() && name != "identity");
        let all = encodings.join(", ");
        if encodings.is_empty() {
            return Ok(None);
        }
        if encodings.len() > MOST {
            return Err(NamingError::UnknownEncoding(all));
        }
        let (input, receiver) = channel();
        let mut output: Box<dyn Read + Send> = Box::new(Input { receiver, current: Bytes::new() });
        // The one that was applied last is listed last.
        for name in encodings.iter().rev() {
            let source = BufReader::new(output);
            output = match name.as_str() {
                "gzip" | "x-gzip" => Box::new(MultiGzDecoder::new(source)),
                "deflate" => Box::new(Deflate::Unknown(Some(source))),
                "zstd" => Box::new(Zstd::new(source)),
                _ => return Err(NamingError::UnknownEncoding(name.clone())),
            };
        }
        Ok(Some(Self { encodings: all, input: Some(input), output }))
    }

    /// Adds a chunk of the encoded body.
    pub fn push(&mut self, chunk: Bytes) {
        // The receiver lives in `output`.
        let _ = self.input.as_ref().map(|input| input.send(chunk));
    }

    /// Says that the encoded body is over.
    pub fn end(&mut self) {
        self.input = None;
    }

    /// Whether the encoded body is over.
    pub const fn has_ended(&self) -> bool {
        self.input.is_none()
    }

    /// Returns the next bytes of the decoded body, none at its end; `None`: more
    /// input is needed.
    ///
    /// # Errors
    /// The body is not what its headers say.
    pub fn next(&mut self) -> Result<Option<Bytes>, NamingError> {
        let mut chunk = vec![0; CHUNK];
        loop {
            match self.output.read(&mut chunk) {
                Ok(length) => {
                    chunk.truncate(length);
                    return Ok(Some(if length < CHUNK / 2 { Bytes::copy_from_slice(&chunk) } else { chunk.into() }));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.input.is_some() => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(NamingError::Undecodable { encoding: self.encodings.clone(), why: error.to_string() });
                }
            }
        }
    }
}

/// What has arrived of the encoded body.
struct Input {
    receiver: Receiver<Bytes>,
    current: Bytes,
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.try_recv() {
                Ok(chunk) => self.current = chunk,
                Err(TryRecvError::Empty) => return Err(ErrorKind::WouldBlock.into()),
                Err(TryRecvError::Disconnected) => return Ok(0),
            }
        }
        let length = into.len().min(self.current.len());
        into[..length].copy_from_slice(&self.current.split_to(length));
        Ok(length)
    }
}

type Source = BufReader<Box<dyn Read + Send>>;

/// `deflate`: zlib's format, as the standard has it, or without its header, as some
/// clients send it.
enum Deflate {
    /// Nothing has arrived yet. Never `None` between calls.
    Unknown(Option<Source>),
    Zlib(ZlibDecoder<Source>),
    Raw(DeflateDecoder<Source>),
}

impl Read for Deflate {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Self::Unknown(source) = self {
            let first = source.as_mut().map(BufRead::fill_buf).transpose()?.and_then(<[u8]>::first).copied();
            let (Some(first), Some(source)) = (first, source.take()) else { return Ok(0) };
            // zlib's header begins with the method 8 and a window of at most 2^15.
            let is_zlib = first & 0x0f == 8 && first >> 4 <= 7;
            *self = if is_zlib { Self::Zlib(ZlibDecoder::new(source)) } else { Self::Raw(DeflateDecoder::new(source)) };
        }
        match self {
            Self::Unknown(_) => Ok(0),
            Self::Zlib(decoder) => decoder.read(into),
            Self::Raw(decoder) => decoder.read(into),
        }
    }
}
