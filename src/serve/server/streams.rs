//! The requests of one HTTP/2 connection that are not over.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use hyper::Response;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};

use crate::serve::body::{Answer, Body, BodyError, Endless};

/// Counts those whose answer has an end. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    /// Whether one had an answer without an end: what its client has not read may stay
    /// unread for good.
    has_endless: AtomicBool,
}

impl Streams {
    /// Counts a request.
    pub fn begin(&self) -> Stream {
        self.0.open.fetch_add(1, Relaxed);
        Stream(Arc::clone(&self.0))
    }

    /// Whether nothing is left but answers without an end.
    pub fn are_endless(&self) -> bool {
        self.0.has_endless.load(Relaxed) && self.0.open.load(Relaxed) == 0
    }
}

/// A request that is not over: it is once this is dropped.
#[derive(Debug)]
pub(super) struct Stream(Arc<Counts>);

impl Stream {
    /// Counts it until its answer is over, if that has an end.
    pub fn answered(self, answer: Answer) -> Response<Counted> {
        let is_endless = answer.extensions().get::<Endless>().is_some();
        self.0.has_endless.fetch_or(is_endless, Relaxed);
        let stream = Some(self).filter(|_| !is_endless);
        answer.map(|body| Counted { body, _stream: stream })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// The body of an answer, and its place in the count.
pub(super) struct Counted {
    body: Body,
    _stream: Option<Stream>,
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
