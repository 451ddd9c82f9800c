//! Stands in for what answers herdsman's own paths.

use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::Gateway;
use super::errors::Error;
use crate::serve::access::Caller;
use crate::serve::body::Answer;

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
