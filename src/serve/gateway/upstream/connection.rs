//! One connection to a server: sends a request, reads the head of the answer, and
//! then whatever arrives.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::Method;
use hyper::body::Body;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::decode::{Head, Malformed};
use super::tls;
use crate::model::Address;
use crate::serve::body::BodyError;

/// How long a server on this machine may take to accept a connection: its kernel does,
/// unless its backlog is full.
const CONNECT: Duration = Duration::from_secs(10);

/// The pause before another try to connect to a unix socket whose backlog is full.
const BACKLOG_PAUSE: Duration = Duration::from_millis(5);

/// The least room to read into, and the most: a busy stream earns more.
const ROOM: std::ops::RangeInclusive<usize> = (8 << 10)..=(64 << 10);

/// How many parts of a request wait to be written: the head and a body, or the three
/// parts of a chunk. More are not taken before some of them are written.
const QUEUE: usize = 4;

/// Any stream of bytes, both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server cannot be reached, or closed the connection first.
    #[error("lost the connection to the server: {0}")]
    Gone(#[from] io::Error),
    /// It answered something else than HTTP.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The client did not send its request to the end.
    #[error("the request ended early: {0}")]
    Request(BodyError),
}

/// A request, but for its body.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r> {
    pub method: &'r Method,
    pub head: &'r Bytes,
    /// Whether its body has no length.
    pub is_chunked: bool,
}

/// A connection to a server.
pub struct Connection {
    io: Box<dyn Io>,
    /// What has arrived and is not decoded yet.
    pub buffer: BytesMut,
    room: usize,
}

impl Connection {
    /// Connects to a server of this machine.
    pub async fn open(address: &Address) -> io::Result<Self> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("not accepted within {} s", CONNECT.as_secs()));
        let io = tokio::time::timeout(CONNECT, connect(address)).await.map_err(late)??;
        Ok(Self { io, buffer: BytesMut::new(), room: *ROOM.start() })
    }

    /// Whether the server has kept the connection open, and silent, as far as is known.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut context = Context::from_waker(Waker::noop());
        let read = Pin::new(&mut self.io).poll_read(&mut context, &mut ReadBuf::new(&mut byte));
        self.buffer.is_empty() && read.is_pending()
    }

    /// Sends a request and returns the head of the answer, and whether the whole
    /// request was sent before it. Waits for as long as it takes.
    pub async fn exchange<B>(&mut self, request: Request<'_>, body: B) -> Result<(Head, bool), Failure>
    where
        B: Body<Data = Bytes, Error = BodyError> + Unpin,
    {
        let Request { method, head, is_chunked } = request;
        let mut sending = Sending { queue: VecDeque::with_capacity(QUEUE), body, is_chunked, has_ended: false };
        sending.queue.push_back(head.clone());
        let mut sent: Option<Result<(), Failure>> = None;
        poll_fn(|cx| {
            if sent.is_none()
                && let Poll::Ready(end) = sending.poll(&mut self.io, cx)
            {
                match end {
                    Err(failure @ Failure::Request(_)) => return Poll::Ready(Err(failure)),
                    end => sent = Some(end),
                }
            }
            // A server may answer, and close, before it has read everything.
            let answer = ready!(self.poll_head(method, cx));
            let answer = answer.map(|head| (head, matches!(sent, Some(Ok(())))));
            Poll::Ready(match (answer, sent.take()) {
                (Err(Failure::Gone(_)), Some(Err(first))) => Err(first),
                (answer, _) => answer,
            })
        })
        .await
    }

    fn poll_head(&mut self, method: &Method, cx: &mut Context<'_>) -> Poll<Result<Head, Failure>> {
        loop {
            if !self.buffer.is_empty()
                && let Some(head) = Head::take(&mut self.buffer, method)?
            {
                if head.status.is_informational() && head.status.as_u16() != 101 {
                    continue;
                }
                return Poll::Ready(Ok(head));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(Failure::Gone(io::ErrorKind::UnexpectedEof.into())));
            }
        }
    }

    /// Reads once into the buffer; 0: the server has closed the connection.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < self.room / 4 {
            self.buffer.reserve(self.room);
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let read = ready!(pin!(self.io.read_buf(&mut self.buffer)).poll(cx))?;
        if read == room {
            self.room = (self.room * 2).min(*ROOM.end());
        }
        Poll::Ready(Ok(read))
    }

    /// Returns the stream, and what was read of it already.
    pub fn into_parts(self) -> (Box<dyn Io>, Bytes) {
        (self.io, self.buffer.freeze())
    }
}

/// A request on its way.
struct Sending<B> {
    queue: VecDeque<Bytes>,
    body: B,
    is_chunked: bool,
    /// Whether all of the body is in the queue.
    has_ended: bool,
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Sending<B> {
    fn poll(&mut self, io: &mut Box<dyn Io>, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        loop {
            let waits = !self.has_ended && self.queue.len() < QUEUE && self.poll_body(cx)?.is_pending();
            if self.queue.is_empty() {
                ready!(Pin::new(&mut *io).poll_flush(cx))?;
                if self.has_ended {
                    return Poll::Ready(Ok(()));
                }
                if waits {
                    return Poll::Pending;
                }
                continue;
            }
            let mut slices = [IoSlice::new(&[]); 8];
            let filled = self.queue.iter().zip(&mut slices).map(|(bytes, slice)| *slice = IoSlice::new(bytes)).count();
            let written = ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices[..filled]))?;
            if written == 0 {
                return Poll::Ready(Err(Failure::Gone(io::ErrorKind::WriteZero.into())));
            }
            self.written(written);
        }
    }

    /// Moves the next part of the body into the queue.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Failure> {
        let is_chunked = self.is_chunked;
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Some(frame)) => match frame.map_err(Failure::Request)?.into_data() {
                // An empty chunk would be the last one.
                Ok(data) if data.is_empty() => {}
                Ok(data) if is_chunked => {
                    let size = Bytes::from(format!("{:x}\r\n", data.len()));
                    self.queue.extend([size, data, Bytes::from_static(b"\r\n")]);
                }
                Ok(data) => self.queue.push_back(data),
                // Trailers: llama-server reads none.
                Err(_) => {}
            },
            Poll::Ready(None) => {
                self.has_ended = true;
                if is_chunked {
                    self.queue.push_back(Bytes::from_static(b"0\r\n\r\n"));
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    fn written(&mut self, mut written: usize) {
        while let Some(front) = self.queue.front_mut() {
            let here = written.min(front.len());
            front.advance(here);
            written -= here;
            if !front.is_empty() {
                break;
            }
            self.queue.pop_front();
        }
    }
}

async fn connect(address: &Address) -> io::Result<Box<dyn Io>> {
    if let Some(path) = address.socket() {
        return Ok(Box::new(connect_unix(path).await?));
    }
    let port = address.port.ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "it has no port"))?;
    let host = match address.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "::1",
        host => host,
    };
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    if address.tls { Ok(Box::new(tls::connect(stream).await?)) } else { Ok(Box::new(stream)) }
}

/// A TCP connection waits while too many others do; one of a unix socket fails.
async fn connect_unix(path: &std::path::Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(BACKLOG_PAUSE).await,
            connected => return connected,
        }
    }
}
