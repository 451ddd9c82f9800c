//! HTTP/1.1 over a socket, for both ends: just what the stub and the driver
//! need, with as few system calls as a proxy could hope to cause.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::chunks::Chunks;

/// The most bytes that one read brings.
const BUFFER: usize = 64 * 1024;

/// A connection and what was read from it but not used yet.
pub struct Wire {
    stream: TcpStream,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// The head of a request or an answer.
pub struct Head {
    /// The words of the first line: `POST /path HTTP/1.1`, or `HTTP/1.1 200 OK`.
    words: [String; 2],
    /// Where the body ends.
    pub framing: Framing,
    /// The value of `X-Bench`: what the driver asks of the stub.
    pub asked: Option<String>,
    /// Whether the connection is to be closed after it.
    pub closes: bool,
}

/// How a body says where it ends.
#[derive(Clone, Copy)]
pub enum Framing {
    /// After this many bytes.
    Length(usize),
    /// After its last chunk.
    Chunked,
}

impl Wire {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::new(TcpStream::connect(address).await?)
    }

    /// Of an accepted connection.
    ///
    /// # Errors
    /// The socket does not take `TCP_NODELAY`.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; BUFFER].into(), start: 0, end: 0 })
    }

    /// Sends all of it.
    ///
    /// # Errors
    /// The other end is gone.
    pub async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = std::future::poll_fn(|context| Pin::new(&mut self.stream).poll_write(context, bytes)).await?;
            bytes = &bytes[sent..];
        }
        Ok(())
    }

    /// Reads the next head; `None` if the other end closed the connection before it.
    ///
    /// # Errors
    /// The connection broke, or this is not HTTP.
    pub async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            let unread = &self.buffer[self.start..self.end];
            if let Some(length) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = Head::parse(&unread[..length]).ok_or_else(|| broken("not a head of HTTP/1.1"))?;
                self.start += length + 4;
                return Ok(Some(head));
            }
            if unread.len() == BUFFER {
                return Err(broken("a head longer than 64 KiB"));
            }
            let nothing_yet = unread.is_empty();
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            match self.read().await? {
                0 if nothing_yet => return Ok(None),
                0 => return Err(broken("the connection ended within a head")),
                _ => {}
            }
        }
    }

    /// Reads a body to its end and gives its payload to `sink`, piece by piece.
    ///
    /// # Errors
    /// The body is not complete, or not framed as it should be.
    pub async fn body(&mut self, framing: Framing, mut sink: impl FnMut(&[u8])) -> io::Result<()> {
        let mut chunks = Chunks::default();
        let mut left = if let Framing::Length(length) = framing { length } else { usize::MAX };
        while left > 0 {
            if self.start == self.end {
                (self.start, self.end) = (0, 0);
                if self.read().await? == 0 {
                    return Err(broken("the connection ended within a body"));
                }
            }
            let unread = &self.buffer[self.start..self.end];
            let used = match framing {
                Framing::Length(_) => {
                    let used = unread.len().min(left);
                    sink(&unread[..used]);
                    left -= used;
                    used
                }
                Framing::Chunked => {
                    let used = chunks.decode(unread, &mut sink).ok_or_else(|| broken("a broken chunk"))?;
                    left = if chunks.ended() { 0 } else { left };
                    used
                }
            };
            self.start += used;
        }
        Ok(())
    }

    /// Reads until `text` has come, which may be part of a body.
    ///
    /// # Errors
    /// The connection ended before.
    pub async fn until(&mut self, text: &[u8]) -> io::Result<()> {
        while !self.buffer[self.start..self.end].windows(text.len()).any(|window| window == text) {
            if self.read().await? == 0 {
                return Err(broken("the connection ended before the first event"));
            }
        }
        Ok(())
    }

    /// Waits until the other end closes the connection, and reads nothing else.
    pub async fn closed(&mut self) {
        // What arrives meanwhile was not asked for.
        while matches!(self.read().await, Ok(1..)) {
            self.end = self.start;
        }
    }

    /// Reads what is there; 0 at the end.
    async fn read(&mut self) -> io::Result<usize> {
        let Self { stream, buffer, end, .. } = self;
        let read = std::future::poll_fn(|context| {
            let mut free = ReadBuf::new(&mut buffer[*end..]);
            match Pin::new(&mut *stream).poll_read(context, &mut free) {
                Poll::Ready(Ok(())) => Poll::Ready(Ok(free.filled().len())),
                Poll::Ready(Err(problem)) => Poll::Ready(Err(problem)),
                Poll::Pending => Poll::Pending,
            }
        });
        let read = read.await?;
        *end += read;
        Ok(read)
    }
}

impl Head {
    fn parse(head: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let words = [words.next()?.to_owned(), words.next()?.to_owned()];
        let (mut framing, mut asked, mut closes) = (Framing::Length(0), None, false);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                framing = Framing::Length(value.trim().parse().ok()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Framing::Chunked;
            } else if name.eq_ignore_ascii_case("x-bench") {
                asked = Some(value.trim().to_owned());
            } else if name.eq_ignore_ascii_case("connection") {
                closes = value.trim().eq_ignore_ascii_case("close");
            }
        }
        Some(Self { words, framing, asked, closes })
    }

    /// The path of a request.
    pub fn path(&self) -> &str {
        &self.words[1]
    }

    /// The status of an answer; 0 if there is none.
    pub fn status(&self) -> u16 {
        self.words[1].parse().unwrap_or(0)
    }
}

/// An error of the protocol.
pub fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
