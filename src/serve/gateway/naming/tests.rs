#![allow(clippy::unwrap_used, reason = "tests")]

mod bodies;
mod connections;
mod encodings;
mod hostile;
mod scanners;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Request;
use hyper::body::Frame;

use super::*;

/// A body that arrives in these chunks, each after a moment.
struct Arriving {
    chunks: VecDeque<Bytes>,
    is_late: bool,
}

impl Arriving {
    fn new(chunks: impl IntoIterator<Item = impl Into<Bytes>>) -> Self {
        Self { chunks: chunks.into_iter().map(Into::into).collect(), is_late: true }
    }

    /// … of `size` bytes each.
    fn cut(body: &[u8], size: usize) -> Self {
        Self::new(body.chunks(size.max(1)).map(Bytes::copy_from_slice))
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.is_late = !self.is_late;
        if !self.is_late {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.chunks.pop_front().map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty()
    }
}

fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// Everything that goes upstream.
async fn sent(body: &ForwardBody) -> Vec<u8> {
    let (mut attempt, mut sent) = (body.attempt(), Vec::new());
    while let Some(chunk) = attempt.next().await {
        sent.extend_from_slice(&chunk.unwrap());
    }
    sent
}

/// Names a request whose body arrives in one chunk.
async fn named(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Result<Named, NamingError> {
    let body = Arriving::new((!body.is_empty()).then(|| body.to_owned()));
    name(&parts(method, target, headers), body, &Serve::default(), &Spool::default()).await
}

#[tokio::test]
async fn takes_the_model_from_the_body_and_then_from_the_query() {
    let cases = [
        ("POST", "/v1/chat/completions?model=q", r#"{"model":"b"}"#, Some("b")),
        ("POST", "/v1/chat/completions?model=q", r#"{"n":1}"#, Some("q")),
        ("POST", "/v1/chat/completions?model=q", r#"{"model":null}"#, Some("q")),
        ("POST", "/v1/chat/completions?model=q", "", Some("q")),
        ("POST", "/v1/chat/completions", "[1]", None),
        ("POST", "/v1/chat/completions", "", None),
        ("GET", "/props?a=b&model=a%2Fb+c%C3%BC", "", Some("a/b cü")),
        ("GET", "/props?mod%65l=x&model=y", "", Some("x")),
        ("GET", "/props?model=&amodel=x", "", None),
        ("GET", "/props?model", "", None),
        ("GET", "/props?model=q", r#"{"model":"b"}"#, Some("q")),
        ("DELETE", "/v1/stream?model=q", r#"{"model":"b"}"#, Some("q")),
        ("PUT", "/x?model=%ff", r#"{"model":"b"}"#, Some("b")),
    ];
    for (method, target, body, model) in cases {
        let named = named(method, target, &[], body).await.unwrap();
        assert_eq!(named.model.as_deref(), model, "{method} {target} {body}");
        assert_eq!(sent(&named.body).await, body.as_bytes());
    }
}

#[tokio::test]
async fn says_what_is_wrong_and_what_to_do() {
    let long = format!(r#"{{"model":"{}"}}"#, "x".repeat(LONGEST_NAME + 1));
    let multipart = [("content-type", "multipart/form-data")];
    type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], &'c str);
    let cases: [Case<'_>; 9] = [
        ("/", &[], r#"{"model":7}"#),
        ("/", &[], r#"{"model":{"a":1}}"#),
        ("/", &[], "{\"model\":\"a\nb\"}"),
        ("/", &[], &long),
        ("/?model=%ff", &[], "{}"),
        ("/", &multipart, "x"),
        ("/", &[("content-encoding", "br")], "x"),
        ("/", &[("content-encoding", "gzip")], "x"),
        ("/", &[("content-length", "268435457")], "x"),
    ];
    let mut said = String::new();
    for (target, headers, body) in cases {
        let error = named("POST", target, headers, body).await.unwrap_err();
        said += &format!("{} {error}\n", error.status().as_u16());
    }
    insta::assert_snapshot!(said, @"
    400 `model` must be a string with the name of a model
    400 `model` must be a string with the name of a model
    400 `model` must be a string with the name of a model
    400 `model` is longer than 1024 bytes; it must be the name of a model
    400 `model` must be a string with the name of a model
    400 `Content-Type: multipart/form-data` needs a `boundary` of at most 70 characters
    415 unknown `Content-Encoding: br`; use gzip, zstd or deflate, or send the body as it is
    400 cannot decode the request body (gzip): unexpected end of file
    413 the request body is larger than 256.0 MiB; send less, or raise `max_body` in `[serve]`
    ");
}

#[tokio::test]
async fn says_where_a_body_is_not_json() {
    let cases = [
        ("{\"messages\": [\n  1, 2,\n]}", "expected value at line 3 column 1"),
        ("{'model': 'm'}", "key must be a string at line 1 column 2"),
        ("{\"a\": 1} x", "trailing characters at line 1 column 10"),
        ("model=m", "expected value at line 1 column 1"),
        ("{\"a\": {", "EOF while parsing an object at line 1 column 7"),
        ("[1]", ""),
        ("\u{feff}{\"a\": 1}", ""),
        ("{\"model\": \"m\" x", "expected `,` or `}` at line 1 column 15"),
        ("{\"model\": \"m\", \"prompt\": \"Hi", "EOF while parsing a string at line 1 column 28"),
        ("", ""),
    ];
    for (body, flaw) in cases {
        let headers = [("content-length", &*body.len().to_string())];
        let named = named("POST", "/", &headers, body).await.unwrap();
        assert_eq!(named.flaw().await.unwrap_or_default(), flaw, "{body}");
        assert_eq!(sent(&named.body).await, body.as_bytes());
    }
    let deep = "[".repeat(60_000);
    let headers = [("content-length", "60000")];
    assert!(named("POST", "/", &headers, &deep).await.unwrap().flaw().await.is_some());
}

#[tokio::test]
async fn a_request_without_a_body_has_the_length_0() {
    let named = named("GET", "/props", &[], "").await.unwrap();
    assert_eq!((named.length, named.decoded, named.body.whole()), (Some(0), false, Some(Bytes::new())));
}

#[tokio::test]
async fn sees_whether_a_small_request_streams() {
    for (body, streams) in [
        (r#"{"model":"m","stream":true}"#, true),
        (r#"{"stream":true ,"model":"m"}"#, true),
        (r#"{"model":"m","stream":false}"#, false),
        (r#"{"model":"m","stream":"true"}"#, false),
        (r#"{"model":"m","stream":trueish}"#, false),
        (r#"{"model":"m","a":{"stream":true}}"#, false),
    ] {
        let length = body.len().to_string();
        let parts = parts("POST", "/v1/chat/completions", &[("content-length", &length)]);
        let named = name(&parts, Arriving::cut(body.as_bytes(), 5), &Serve::default(), &Spool::default()).await;
        assert_eq!(named.unwrap().streams, streams, "{body}");
    }
}
