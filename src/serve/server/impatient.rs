//! Closes the connection of a client that takes nothing of an answer without an end.
//!
//! What writes such an answer stops when its client does not keep up. But the connection
//! would wait for as long as the client lives, with what is left to send.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection whose client may take nothing for so long, while its answer is one
/// without an end.
pub(super) struct Impatient<S> {
    stream: S,
    is_endless: Arc<AtomicBool>,
    limit: Duration,
    /// Since the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Impatient<S> {
    pub fn new(stream: S, is_endless: Arc<AtomicBool>, limit: Duration) -> Self {
        Self { stream, is_endless, limit, stalled: None }
    }

    /// Looks at what a write came to.
    fn after<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() || !self.is_endless.load(Relaxed) {
            self.stalled = None;
            return written;
        }
        let limit = self.limit;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.after(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.after(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.after(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::AsyncWriteExt;
    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    /// What becomes of writing more than a client takes, and after how long.
    fn written(is_endless: bool) -> (Option<io::ErrorKind>, Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("it has a descriptor");
        runtime.block_on(async {
            let (stream, _client) = tokio::io::duplex(16);
            let mut connection = Impatient::new(stream, Arc::new(is_endless.into()), LIMIT);
            let begun = Instant::now();
            let written = timeout(LIMIT * 4, connection.write_all(&[0; 64])).await;
            (written.ok().map(|written| written.expect_err("nobody reads").kind()), begun.elapsed())
        })
    }

    #[test]
    fn only_an_answer_without_an_end_is_cut_off() {
        let (cut, took) = written(true);
        assert_eq!(cut, Some(io::ErrorKind::TimedOut));
        assert!(took >= LIMIT, "{took:?}");
        assert_eq!(written(false).0, None, "a slow reader of an answer that ends has all the time");
    }
}
