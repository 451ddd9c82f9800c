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
    /// The answer is no event stream: it becomes one event, of any length.
    Framing(Body, Framing),
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
                    Poll::Ready(Ok(answer)) => {
                        let (head, framing) = Framing::of(&answer, self.shape);
                        self.state = State::Framing(answer.into_body(), framing);
                        return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(head)))));
                    }
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
                State::Framing(body, framing) => match ready!(Pin::new(body).poll_frame(cx)?) {
                    Some(frame) => {
                        let framed = frame.data_ref().map(|data| framing.frame(data)).unwrap_or_default();
                        if !framed.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(framed.into()))));
                        }
                    }
                    None => {
                        self.state = State::Done;
                        return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"\n\n")))));
                    }
                },
                State::Done => return Poll::Ready(None),
            }
        }
    }
}

/// How the lines of an answer become one event, while they arrive.
struct Framing {
    /// What stands in the event where a line of the answer ends: in JSON a space, because
    /// many clients parse each `data:` line alone; in any other text the next `data:`.
    between: &'static [u8],
    /// A line has ended, and nothing has followed yet.
    is_line_over: bool,
    has_begun: bool,
}

impl Framing {
    /// Returns how the event begins, and goes on.
    fn of(answer: &Answer, shape: Shape) -> (&'static [u8], Self) {
        let content_type = answer.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        let is_json = content_type.windows(4).any(|part| part.eq_ignore_ascii_case(b"json"));
        let is_error = shape == Shape::Anthropic && !answer.status().is_success();
        let head: &[u8] = if is_error { b"event: error\ndata: " } else { b"data: " };
        let between: &[u8] = if is_json { b" " } else { b"\ndata: " };
        (head, Self { between, is_line_over: false, has_begun: false })
    }

    /// Returns a part of the answer as a part of the event. Empty lines are left out, so
    /// that none ends the event.
    fn frame(&mut self, data: &[u8]) -> Vec<u8> {
        let mut framed = Vec::with_capacity(data.len());
        for line in data.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let (text, ends) = match line {
                [text @ .., b'\n' | b'\r'] => (text, true),
                text => (text, false),
            };
            if !text.is_empty() {
                if self.is_line_over && self.has_begun {
                    framed.extend_from_slice(self.between);
                }
                framed.extend_from_slice(text);
                (self.has_begun, self.is_line_over) = (true, false);
            }
            self.is_line_over |= ends;
        }
        framed
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::collections::VecDeque;

    use hyper::StatusCode;

    use super::*;

    /// A body that arrives in these parts.
    struct Parts(VecDeque<&'static str>);

    impl hyper::body::Body for Parts {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop_front().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))))
        }
    }

    /// Begins with a comment, and goes on with an answer that arrives in these parts.
    async fn commented(status: StatusCode, content_type: &str, shape: Shape, parts: &[&'static str]) -> Body {
        let mut answer = Response::new(Parts(parts.iter().copied().collect()).boxed_unsync());
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, content_type.parse().unwrap());
        let (give, awaited) = tokio::sync::oneshot::channel();
        let commented = until(Box::pin(async { Ok(awaited.await.unwrap()) }), Duration::from_millis(1), shape).await;
        let mut body = commented.into_body();
        assert_eq!(next(&mut body).await.unwrap(), ": waiting\n\n");
        give.send(answer).unwrap();
        body
    }

    async fn next(body: &mut Body) -> Option<String> {
        let data = body.frame().await?.unwrap().into_data().unwrap();
        Some(String::from_utf8(data.to_vec()).unwrap())
    }

    async fn read(status: StatusCode, content_type: &str, shape: Shape, parts: &[&'static str]) -> String {
        let mut body = commented(status, content_type, shape, parts).await;
        let mut text = String::new();
        while let Some(part) = next(&mut body).await {
            text += &part;
        }
        text
    }

    #[tokio::test]
    async fn an_answer_that_is_no_event_stream_becomes_one_event() {
        let (ok, bad, json) = (StatusCode::OK, StatusCode::BAD_REQUEST, "application/json; charset=utf-8");
        let cases = [
            (ok, json, Shape::OpenAi, &["\n{\n \"a\"", ":\n", "\n1}\n"][..], "data: {  \"a\": 1}\n\n"),
            (ok, json, Shape::OpenAi, &["{\"a\":\r\n1}"], "data: {\"a\": 1}\n\n"),
            (
                ok,
                "text/plain",
                Shape::OpenAi,
                &["one\n\n", "two\r", "\nthree"],
                "data: one\ndata: two\ndata: three\n\n",
            ),
            (bad, json, Shape::OpenAi, &["{}"], "data: {}\n\n"),
            (bad, json, Shape::Anthropic, &["{}"], "event: error\ndata: {}\n\n"),
            (ok, json, Shape::Anthropic, &[], "data: \n\n"),
        ];
        for (status, content_type, shape, parts, wanted) in cases {
            assert_eq!(read(status, content_type, shape, parts).await, wanted, "{parts:?}");
        }
    }

    #[tokio::test]
    async fn gathers_no_part_of_an_answer_that_becomes_an_event() {
        let mut body = commented(StatusCode::OK, "application/json", Shape::OpenAi, &["[1,", "2,", "3]"]).await;
        for part in ["data: ", "[1,", "2,", "3]", "\n\n"] {
            assert_eq!(next(&mut body).await.as_deref(), Some(part));
        }
        assert_eq!(next(&mut body).await, None);
    }
}
