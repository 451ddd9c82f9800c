//! Finds HTTP/2 connections on which nobody asks for anything any more: HTTP/1 has a
//! time for the head of the next request, HTTP/2 only pings, which idle clients answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::serve::body::{self, Answer, BodyError};

/// How many requests of a connection are open.
#[derive(Debug, Default)]
pub(super) struct Requests(watch::Sender<usize>);

impl Requests {
    /// Counts one more, until it is dropped.
    pub fn begin(&self) -> Request {
        self.0.send_modify(|open| *open += 1);
        Request(self.0.clone())
    }

    /// Waits until none was open for so long.
    pub async fn are_over_for(&self, limit: Duration) {
        let mut open = self.0.subscribe();
        loop {
            // The sender is here.
            let _ = open.wait_for(|open| *open == 0).await;
            if timeout(limit, open.changed()).await.is_err() {
                return;
            }
        }
    }
}

/// A request that is open.
#[derive(Debug)]
pub(super) struct Request(watch::Sender<usize>);

impl Request {
    /// Returns an answer with whose body this request ends.
    pub fn ends_with(self, answer: Answer) -> Answer {
        answer.map(|body| body::Body::new(Ending { body, _request: self }))
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// A body that ends a request.
struct Ending {
    body: body::Body,
    _request: Request,
}

impl Body for Ending {
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
            let requests = Requests::default();
            let answer = requests.begin().ends_with(Answer::new(full("x")));
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
