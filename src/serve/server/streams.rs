//! The requests of one HTTP/2 connection that are not over.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use hyper::Response;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};

use crate::serve::body::{Answer, Body, BodyError, Endless};

/// Counts them. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    all: AtomicUsize,
    /// Those whose answer has no end.
    endless: AtomicUsize,
}

impl Streams {
    /// Counts a request.
    pub fn begin(&self) -> Stream {
        self.0.all.fetch_add(1, Relaxed);
        Stream { counts: Arc::clone(&self.0), is_endless: false }
    }

    /// Whether nothing is left but answers without an end.
    pub fn are_all_endless(&self) -> bool {
        let endless = self.0.endless.load(Relaxed);
        endless > 0 && endless == self.0.all.load(Relaxed)
    }
}

/// A request that is not over: it is once this is dropped.
#[derive(Debug)]
pub(super) struct Stream {
    counts: Arc<Counts>,
    is_endless: bool,
}

impl Stream {
    /// Counts it until the answer is over.
    pub fn answered(mut self, answer: Answer) -> Response<Counted> {
        self.is_endless = answer.extensions().get::<Endless>().is_some();
        self.counts.endless.fetch_add(usize::from(self.is_endless), Relaxed);
        answer.map(|body| Counted { body, _stream: self })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.counts.endless.fetch_sub(usize::from(self.is_endless), Relaxed);
        self.counts.all.fetch_sub(1, Relaxed);
    }
}

/// The body of an answer, and its place in the count.
pub(super) struct Counted {
    body: Body,
    _stream: Stream,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
