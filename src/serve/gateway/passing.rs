//! The answer of an instance on its way to the client. If it breaks off, the client
//! sees that.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Frame, SizeHint};

use super::errors::{Error, Shape};
use super::lease::Lease;
use super::record::{End, Record};
use super::upstream::{Failure, Incoming};
use crate::serve::body::{self, BodyError};

/// The body of an answer, with all that has to end with it.
pub struct Passing {
    incoming: Incoming,
    /// The instance is free for others once it has sent everything, even if the
    /// client has not read it.
    lease: Option<Lease>,
    record: Record,
    /// On an event stream, the shape of its errors.
    events: Option<Shape>,
    /// Whether the last bytes passed on end an event, or nothing was passed on yet.
    is_between_events: bool,
    broken: Option<Broken>,
}

/// The instance broke off.
struct Broken {
    failure: Failure,
    /// Whether hyper has had the time to write the error event.
    is_flushed: bool,
}

impl Passing {
    pub fn new(incoming: Incoming, lease: Option<Lease>, record: Record, events: Option<Shape>) -> Self {
        let mut passing = Self { incoming, lease, record, events, is_between_events: true, broken: None };
        passing.end_if_done();
        passing
    }

    pub fn boxed(self) -> body::Body {
        BodyExt::boxed_unsync(self)
    }

    fn end_if_done(&mut self) {
        if self.incoming.has_ended() {
            self.lease = None;
            self.record.ends(End::Complete);
        }
    }

    fn passed(&mut self, data: &Bytes) {
        self.record.passed(data);
        self.is_between_events = data.ends_with(b"\n\n") || data.ends_with(b"\r\n\r\n");
    }

    /// Returns the event that tells an event stream of its end. In the middle of an
    /// event there is no room for one: the client sees only that the stream breaks off.
    fn breaks(&mut self, failure: Failure) -> Result<Frame<Bytes>, BodyError> {
        self.lease = None;
        self.record.ends(End::Broken);
        let Some(shape) = self.events.filter(|_| self.is_between_events) else { return Err(failure.into()) };
        let message = format!("the answer is incomplete: {failure}");
        let error = Error::new(StatusCode::BAD_GATEWAY, "server_error", message).with_code("upstream_failed");
        self.broken = Some(Broken { failure, is_flushed: false });
        Ok(Frame::data(error.event(shape)))
    }
}

impl Body for Passing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(broken) = &mut self.broken {
            // hyper flushes when a body has nothing more for now, and drops what it
            // has not flushed when a body fails.
            if !std::mem::replace(&mut broken.is_flushed, true) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(self.broken.take().map(|broken| Err(broken.failure.into())));
        }
        let polled = ready!(self.incoming.poll(cx));
        self.end_if_done();
        Poll::Ready(match polled {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.passed(data);
                }
                Some(Ok(frame))
            }
            Some(Err(failure)) => Some(self.breaks(failure)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.has_ended()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
