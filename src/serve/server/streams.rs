//! The requests of one HTTP/2 connection that are not over, to find two kinds of
//! connection:
//!
//! - idle ones: HTTP/1 has a time limit for the head of the next request, HTTP/2 only
//!   pings, which idle clients answer;
//! - those with nothing left but answers without an end, which a handover closes.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Response;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::serve::body::{Answer, Body, BodyError, Endless};

/// Counts the requests.
#[derive(Debug, Default)]
pub(super) struct Streams(watch::Sender<Counts>);

#[derive(Debug, Default)]
struct Counts {
    open: usize,
    /// Those among them whose answer has an end, or is not there yet.
    ending: usize,
    /// Whether one had an answer without an end: what its client has not read may stay
    /// unread for good.
    had_endless: bool,
}

impl Streams {
    /// Counts a request.
    pub fn begin(&self) -> Stream {
        self.0.send_modify(|counts| (counts.open, counts.ending) = (counts.open + 1, counts.ending + 1));
        Stream { counts: self.0.clone(), is_endless: false }
    }

    /// Whether nothing is left but answers without an end.
    pub fn are_endless(&self) -> bool {
        let counts = self.0.borrow();
        counts.had_endless && counts.ending == 0
    }

    /// Waits until no request was open for `limit`.
    pub async fn are_over_for(&self, limit: Duration) {
        let mut counts = self.0.subscribe();
        loop {
            // The sender is in `self`.
            let _ = counts.wait_for(|counts| counts.open == 0).await;
            if timeout(limit, counts.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// A request that is not over: it is once this is dropped.
#[derive(Debug)]
pub(super) struct Stream {
    counts: watch::Sender<Counts>,
    is_endless: bool,
}

impl Stream {
    /// Counts it until the body of its answer is dropped.
    pub fn answered(mut self, answer: Answer) -> Response<Counted> {
        if answer.extensions().get::<Endless>().is_some() {
            self.is_endless = true;
            self.counts.send_modify(|counts| (counts.ending, counts.had_endless) = (counts.ending - 1, true));
        }
        answer.map(|body| Counted { body, _stream: self })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.counts.send_modify(|counts| {
            counts.open -= 1;
            counts.ending -= usize::from(!self.is_endless);
        });
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::serve::body::full;

    #[test]
    fn a_connection_is_idle_once_no_body_was_open_for_the_limit() {
        const LIMIT: Duration = Duration::from_millis(50);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("it has a descriptor");
        runtime.block_on(async {
            let requests = Streams::default();
            let answer = requests.begin().answered(Answer::new(full("x")));
            let is_idle = timeout(LIMIT * 4, requests.are_over_for(LIMIT)).await.is_ok();
            assert!(!is_idle, "its answer is open");
            let begun = Instant::now();
            let (idle, ()) = tokio::join!(requests.are_over_for(LIMIT), async {
                tokio::time::sleep(LIMIT / 2).await;
                drop(answer);
                drop(requests.begin());
            });
            let () = idle;
            assert!(begun.elapsed() >= LIMIT + LIMIT / 2, "it counts from the end of the last");
        });
    }
}
