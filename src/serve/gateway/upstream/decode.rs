//! What a server answers, decoded from its bytes; it reads nothing itself.
//!
//! The head is parsed by `httparse`. Of the body, everything that has arrived becomes
//! one frame, however many chunks it came in: the client gets the same stream of bytes
//! with fewer writes.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, Method, StatusCode};

/// The most bytes of a head, or of the trailers of a body.
const LARGEST_HEAD: usize = 64 << 10;

/// The most headers of an answer.
const MOST_HEADERS: usize = 100;

/// The longest line that gives the size of a chunk: the rest of it are extensions,
/// which nobody sends.
const LONGEST_SIZE: usize = 1 << 10;

/// An answer that is not HTTP: what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server's answer is not HTTP: {0}")]
pub struct Malformed(&'static str);

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    pub status: StatusCode,
    /// All of them, those for this connection included.
    pub headers: HeaderMap,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the server takes another request on this connection.
    pub keeps: bool,
}

/// Where a body ends, and how much of it is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// It has ended.
    Done,
    /// After so many bytes.
    Length(u64),
    /// After its last chunk.
    Chunked(Chunk),
    /// With the connection.
    Close,
}

/// What comes next in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    Size,
    Data(u64),
    /// The end of the line after the data.
    DataEnd,
    Trailers,
}

/// A part of a body.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Head {
    /// Takes the head of the answer to a request with `method` from `input`; `None`:
    /// not all of it has arrived.
    pub fn take(input: &mut BytesMut, method: &Method) -> Result<Option<Self>, Malformed> {
        let mut parsed = [const { MaybeUninit::uninit() }; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let end = match config.parse_response_with_uninit_headers(&mut response, input, &mut parsed) {
            Ok(httparse::Status::Complete(end)) => end,
            Ok(httparse::Status::Partial) if input.len() > LARGEST_HEAD => {
                return Err(Malformed("its head is too long"));
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => return Err(Malformed("it has too many headers")),
            Err(_) => return Err(Malformed("its head cannot be read")),
        };
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or(Malformed("it has no status"))?;
        let mut headers = header_map(response.headers)?;
        let is_new = response.version == Some(1);
        let mut keeps = is_new && !says_close(&headers);
        let framing = framing(&headers, status, method)?;
        match framing {
            Framing::Close => keeps = false,
            // Two lengths: the chunks count, and this connection is not trusted again.
            Framing::Chunked(_) if headers.remove(CONTENT_LENGTH).is_some() || !is_new => keeps = false,
            _ => {}
        }
        input.advance(end);
        Ok(Some(Self { status, headers, framing, keeps }))
    }
}

impl Framing {
    /// Takes what has arrived of the body from `input`: all of it, in one part;
    /// `None`: nothing yet, or [`Framing::Done`].
    pub fn take(&mut self, input: &mut BytesMut) -> Result<Option<Part>, Malformed> {
        match self {
            Self::Done => Ok(None),
            Self::Chunked(_) => self.take_chunks(input),
            _ if input.is_empty() => Ok(None),
            Self::Close => Ok(Some(Part::Data(input.split().freeze()))),
            Self::Length(left) => {
                let here = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= here as u64;
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Some(Part::Data(input.split_to(here).freeze())))
            }
        }
    }

    /// Moves the data of all chunks together, to where the first one's is.
    fn take_chunks(&mut self, input: &mut BytesMut) -> Result<Option<Part>, Malformed> {
        let (mut at, mut start, mut length) = (0, 0, 0);
        while let Self::Chunked(chunk) = self {
            let rest = &input[at..];
            match chunk {
                Chunk::Size => {
                    let Some((end, size)) = chunk_size(rest)? else { break };
                    at += end;
                    *chunk = if size == 0 { Chunk::Trailers } else { Chunk::Data(size) };
                }
                Chunk::Data(_) if rest.is_empty() => break,
                Chunk::Data(left) => {
                    let here = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    *left -= here as u64;
                    if *left == 0 {
                        *chunk = Chunk::DataEnd;
                    }
                    if length == 0 {
                        start = at;
                    } else {
                        input.copy_within(at..at + here, start + length);
                    }
                    length += here;
                    at += here;
                }
                Chunk::DataEnd if rest.len() < 2 => break,
                Chunk::DataEnd if rest.starts_with(b"\r\n") => {
                    at += 2;
                    *chunk = Chunk::Size;
                }
                Chunk::DataEnd => return Err(Malformed("a chunk is longer than its size")),
                // The data goes first; the trailers are next time's part.
                Chunk::Trailers if length > 0 && !rest.starts_with(b"\r\n") => break,
                Chunk::Trailers => {
                    let Some((end, trailers)) = trailers(rest)? else { break };
                    *self = Self::Done;
                    at += end;
                    if !trailers.is_empty() {
                        input.advance(at);
                        return Ok(Some(Part::Trailers(trailers)));
                    }
                }
            }
        }
        input.advance(start);
        let data = input.split_to(length);
        input.advance(at - start - length);
        Ok((length > 0).then(|| Part::Data(data.freeze())))
    }
}

fn header_map(parsed: &[httparse::Header<'_>]) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| Malformed("a header has no name"))?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| Malformed("a header has an invalid value"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn framing(headers: &HeaderMap, status: StatusCode, method: &Method) -> Result<Framing, Malformed> {
    let has_no_body = status.is_informational() || matches!(status.as_u16(), 204 | 304);
    if *method == Method::HEAD || has_no_body {
        return Ok(Framing::Done);
    }
    let mut codings = values(headers, &TRANSFER_ENCODING);
    if let Some(coding) = codings.next() {
        let is_chunked = codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        return if is_chunked {
            Ok(Framing::Chunked(Chunk::Size))
        } else {
            Err(Malformed("it has a transfer coding other than chunked"))
        };
    }
    let mut lengths = values(headers, &CONTENT_LENGTH);
    let Some(length) = lengths.next() else { return Ok(Framing::Close) };
    let digits = length.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let parsed = digits.and_then(|text| text.parse().ok()).filter(|_| lengths.next().is_none());
    match parsed.ok_or(Malformed("its Content-Length is not one number"))? {
        0 => Ok(Framing::Done),
        length => Ok(Framing::Length(length)),
    }
}

/// The values of a header. A server sends so few headers that to look at each takes less
/// time than to hash a name.
fn values<'h>(headers: &'h HeaderMap, name: &'h HeaderName) -> impl Iterator<Item = &'h HeaderValue> {
    headers.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value)
}

fn says_close(headers: &HeaderMap) -> bool {
    let mut tokens = values(headers, &CONNECTION).flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}

fn chunk_size(input: &[u8]) -> Result<Option<(usize, u64)>, Malformed> {
    match httparse::parse_chunk_size(input) {
        Ok(httparse::Status::Complete(found)) => Ok(Some(found)),
        Ok(httparse::Status::Partial) if input.len() <= LONGEST_SIZE => Ok(None),
        _ => Err(Malformed("a chunk has an invalid size")),
    }
}

fn trailers(input: &[u8]) -> Result<Option<(usize, HeaderMap)>, Malformed> {
    let mut parsed = [httparse::EMPTY_HEADER; MOST_HEADERS];
    match httparse::parse_headers(input, &mut parsed) {
        Ok(httparse::Status::Complete((end, trailers))) => Ok(Some((end, header_map(trailers)?))),
        Ok(httparse::Status::Partial) if input.len() <= LARGEST_HEAD => Ok(None),
        _ => Err(Malformed("its trailers cannot be read")),
    }
}
