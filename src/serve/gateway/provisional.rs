//! Stands in for the modules that find the model of a request and answer herdsman's
//! own paths.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::Gateway;
use super::errors::Error;
use crate::owner::settings::serve::Serve;
use crate::serve::access::Caller;
use crate::serve::body::{Answer, BodyError};

/// A request whose model was looked for.
pub struct Named {
    pub model: Option<String>,
    /// Whether the answer is an event stream (`"stream": true`).
    pub stream: bool,
    pub body: ForwardBody,
}

/// The body of a request on its way to an instance: the beginning in memory, the
/// rest as it arrives.
pub struct ForwardBody {
    buffered: VecDeque<Bytes>,
    at: usize,
    rest: Option<Incoming>,
    /// Whether a part of `rest` was passed on.
    has_begun: bool,
    length: Option<u64>,
    is_chunked: bool,
}

impl ForwardBody {
    /// `Content-Length`; `None`: chunked, or no body at all.
    pub const fn length(&self) -> Option<u64> {
        self.length
    }

    pub const fn is_chunked(&self) -> bool {
        self.is_chunked
    }

    /// Begins again; `false`: a part of it is gone.
    pub fn rewind(&mut self) -> bool {
        self.at = 0;
        !self.has_begun
    }

    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(bytes) = self.buffered.get(self.at) {
            self.at += 1;
            return Poll::Ready(Some(Ok(bytes.clone())));
        }
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        loop {
            match ready!(std::pin::Pin::new(&mut *rest).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.has_begun = true;
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    }
}

/// Finds the model in a JSON body, which it reads whole, or in `?model=`.
pub async fn name(parts: &Parts, mut body: Incoming, settings: &Serve) -> Result<Named, Error> {
    let is_json =
        parts.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let has_body = parts.headers.contains_key(CONTENT_LENGTH) || parts.headers.contains_key(TRANSFER_ENCODING);
    let query = parts.uri.query().unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("model="));
    let mut named = Named {
        model: query.map(str::to_owned),
        stream: false,
        body: ForwardBody {
            buffered: VecDeque::new(),
            at: 0,
            rest: None,
            has_begun: false,
            length: body.size_hint().exact().filter(|_| has_body),
            is_chunked: has_body && body.size_hint().exact().is_none(),
        },
    };
    if !is_json || query.is_some() || parts.method == Method::GET {
        named.body.rest = has_body.then_some(body);
        return Ok(named);
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::invalid(format!("the request ended early: {error}")))?;
        whole.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if settings.max_body.is_some_and(|most| whole.len() as u64 > most) {
            return Err(Error::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", "the body is too large"));
        }
    }
    if let Ok(json) = serde_json::from_slice::<serde_json::Value>(&whole) {
        named.model = json["model"].as_str().map(str::to_owned);
        named.stream = json["stream"].as_bool().unwrap_or_default();
    }
    named.body.length = Some(whole.len() as u64);
    named.body.is_chunked = false;
    named.body.buffered.push_back(whole.into());
    Ok(named)
}

/// Answers a path of herdsman's own; `None`: it is none.
pub async fn own(gateway: &Gateway, _caller: &Caller, parts: &Parts) -> Option<Answer> {
    let _ = gateway;
    let is_ours = matches!(parts.uri.path(), "/" | "/health" | "/metrics" | "/api" | "/chat");
    let none = || Error::new(StatusCode::NOT_FOUND, "not_found_error", "nothing is here yet");
    is_ours.then(|| none().answer(super::errors::Shape::OpenAi))
}

/// Whether a request is a use of its model, and not a poll.
pub fn is_use(parts: &Parts) -> bool {
    parts.method == Method::POST
}
