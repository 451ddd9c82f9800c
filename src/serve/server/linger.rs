//! Ends a connection so that its client can read the last answer.
//!
//! A client that is still writing its request when it is refused often reads only once
//! it has written everything. Closing a connection that holds bytes nobody has read
//! resets it, and then the client never sees the answer. So the bytes that still come
//! are read and thrown away, for a while.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Body;
use hyper::header::EXPECT;
use hyper::{Request, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// How long a client may pause between two bytes.
const SILENCE: Duration = Duration::from_secs(1);

/// How long it may go on.
const LONGEST: Duration = Duration::from_secs(30);

/// How much it may send, bytes: twice the default of `max_body`.
const MOST: u64 = 512 << 20;

/// How much is read at once, bytes.
const PART: usize = 16 << 10;

/// Whether a connection lingers at its end: its last request was refused, and the
/// client may still be writing it. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Lingers(Arc<AtomicBool>);

impl Lingers {
    /// Notes what a request and its answer mean for the end. `is_writing`: as
    /// [`is_written_unasked`] said.
    pub fn after(&self, is_writing: bool, answer: StatusCode) {
        self.0.store(is_writing && answer.as_u16() >= 400, Relaxed);
    }
}

/// Whether the client writes the body without waiting for leave.
pub(super) fn is_written_unasked(request: &Request<impl Body>) -> bool {
    !request.body().is_end_stream() && !request.headers().contains_key(EXPECT)
}

/// A connection that lingers where [`Lingers`] says so.
pub(super) struct Lingering<S> {
    stream: S,
    lingers: Lingers,
    end: Option<End>,
}

/// How an end that lingers goes on.
struct End {
    until: Instant,
    silence: Pin<Box<Sleep>>,
    left: u64,
}

impl<S> Lingering<S> {
    pub fn new(stream: S, lingers: Lingers) -> Self {
        Self { stream, lingers, end: None }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, lingers, end } = &mut *self;
        if end.is_none() {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            if !lingers.0.load(Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let new = || End { until: Instant::now() + LONGEST, silence: Box::pin(sleep(SILENCE)), left: MOST };
        let end = end.get_or_insert_with(new);
        let mut part = [MaybeUninit::uninit(); PART];
        loop {
            let mut read = ReadBuf::uninit(&mut part);
            if Pin::new(&mut *stream).poll_read(cx, &mut read)?.is_pending() {
                ready!(end.silence.as_mut().poll(cx));
                return Poll::Ready(Ok(()));
            }
            let (length, now) = (read.filled().len() as u64, Instant::now());
            end.left = end.left.saturating_sub(length);
            if length == 0 || end.left == 0 || now >= end.until {
                return Poll::Ready(Ok(()));
            }
            end.silence.as_mut().reset(now + SILENCE);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}
