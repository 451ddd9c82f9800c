//! Answers in the shapes that clients of llama-server and llama-swap know.

use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, LOCATION};
use hyper::{Response, StatusCode};
use serde::Serialize;

use crate::serve::body::{Answer, Body, full};
use crate::serve::gateway::errors::{Error, Shape};

/// Returns an answer with this content type.
pub(in crate::serve) fn answer(status: StatusCode, content_type: &'static str, body: Body) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// Returns `value` as JSON.
pub(in crate::serve) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // Only maps with keys that are no text cannot be JSON: there are none.
    let body = serde_json::to_vec(value).unwrap_or_default();
    answer(status, "application/json; charset=utf-8", full(body))
}

/// Returns plain text.
pub(super) fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    answer(status, "text/plain; charset=utf-8", full(text.into()))
}

/// 307 to a place beside.
pub(super) fn found(place: &'static str) -> Answer {
    let mut answer = text(StatusCode::TEMPORARY_REDIRECT, "");
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static(place));
    answer
}

/// Returns an error as llama-server and its router write it.
pub(super) fn error(status: StatusCode, kind: &'static str, message: &str) -> Answer {
    Error::new(status, kind, message).answer(Shape::Llama)
}

/// 400, with what is wrong with the request.
pub(super) fn invalid(message: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, "invalid_request_error", message)
}

/// 404, with what was not found.
pub(super) fn not_found(message: &str) -> Answer {
    error(StatusCode::NOT_FOUND, "not_found_error", message)
}

/// 403: the key does not allow it.
pub(super) fn not_admin() -> Answer {
    let message = "this needs a key with `admin = true` (`[[serve.keys]]` in the owner's settings)";
    error(StatusCode::FORBIDDEN, "permission_error", message)
}

/// 405, with the methods that are allowed.
pub(super) fn wrong_method(allowed: &'static str, message: &str) -> Answer {
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}
