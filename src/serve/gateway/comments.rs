//! Comments on an event stream whose answer is not there yet, so that neither a proxy
//! nor the client gives up (`[serve] keep_alive_comments`).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use tokio::time::{Instant, Interval, interval_at, timeout};

use super::errors::{Error, Shape};
use super::headers::is_event_stream;
use crate::serve::body::{Answer, Body, BodyError};

/// An answer that is waited for.
type Awaited = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

/// Waits for the answer; after `period`, begins one with comments, in which it then
/// goes on, errors included.
pub async fn until(mut awaited: Awaited, period: Duration, shape: Shape) -> Answer {
    if let Ok(answer) = timeout(period, &mut awaited).await {
        return answer.unwrap_or_else(|error| error.answer(shape));
    }
    let ticks = interval_at(Instant::now(), period);
    let mut answer = Response::new(Commented { state: State::Waiting(awaited, ticks), shape }.boxed_unsync());
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

/// A body that begins with comments.
struct Commented {
    state: State,
    shape: Shape,
}

enum State {
    Waiting(Awaited, Interval),
    Passing(Body),
    /// The answer is no event stream: it becomes one event.
    Gathering(Body, Vec<u8>),
    Done,
}

impl hyper::body::Body for Commented {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match &mut self.state {
                State::Waiting(awaited, ticks) => match awaited.as_mut().poll(cx) {
                    Poll::Ready(Ok(answer)) if is_event_stream(answer.headers()) => {
                        self.state = State::Passing(answer.into_body());
                    }
                    Poll::Ready(Ok(answer)) => self.state = State::Gathering(answer.into_body(), Vec::new()),
                    Poll::Ready(Err(error)) => {
                        self.state = State::Done;
                        return Poll::Ready(Some(Ok(Frame::data(error.event(self.shape)))));
                    }
                    Poll::Pending => {
                        ready!(ticks.poll_tick(cx));
                        return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b": waiting\n\n")))));
                    }
                },
                State::Passing(body) => return Pin::new(body).poll_frame(cx),
                State::Gathering(body, gathered) => match ready!(Pin::new(body).poll_frame(cx)?) {
                    Some(frame) => gathered.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
                    None => {
                        let event = [b"data: ".as_slice(), gathered.trim_ascii(), b"\n\n"].concat();
                        self.state = State::Done;
                        return Poll::Ready(Some(Ok(Frame::data(event.into()))));
                    }
                },
                State::Done => return Poll::Ready(None),
            }
        }
    }
}
