//! Errors of the gateway, in the shape that the client's API expects.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::lease::Refusal;
use super::naming::NamingError;
use crate::serve::body::{Answer, BodyError, full};

/// Whose errors a client expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{"error": {"message", "type", "code"}}`
    OpenAi,
    /// The same, with the status for a code, as llama-server and its router write it.
    Llama,
    /// `{"type": "error", "error": {"type", "message"}}`
    Anthropic,
    /// RFC 9457: `{"type", "title", "status", "detail", "code"}`
    Problem,
}

impl Shape {
    /// Returns the shape for a path (and query) below an instance's root.
    pub fn of(path: &str) -> Self {
        let is_messages =
            path.strip_prefix("/v1/messages").is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        let is_api = path == "/api" || path.starts_with("/api/") && !path.starts_with("/api/models/unload");
        match () {
            () if is_messages => Self::Anthropic,
            () if is_api => Self::Problem,
            () => Self::OpenAi,
        }
    }
}

/// The code of the error that a request names no model.
pub const MODEL_MISSING: &str = "model_missing";

/// Why a request fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The status of the answer.
    pub status: StatusCode,
    /// `type`, in OpenAI's words.
    pub kind: &'static str,
    /// `code`, for programs.
    pub code: Option<&'static str>,
    /// What happened, and what to do.
    pub message: String,
    /// When to try again, seconds.
    pub retry_after: Option<u32>,
}

impl Error {
    /// Returns an error without a code.
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, code: None, message: message.into(), retry_after: None }
    }

    /// The request itself is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// The server gave no answer that can be passed on.
    pub fn upstream(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "server_error", message).with_code("upstream_failed")
    }

    /// There is nothing at a path.
    pub fn nothing_here() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found_error",
            "nothing is at this path; GET /api/openapi.json lists those of the API",
        )
    }

    /// Adds a code.
    pub const fn with_code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// There is no model `asked` among `names`.
    pub fn unknown<'n>(asked: &str, names: impl Iterator<Item = &'n str>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", no_model(asked, names)).with_code("model_not_found")
    }

    /// The body is not JSON: `flaw` says why, and where.
    pub fn not_json(flaw: &str) -> Self {
        Self::invalid(format!("the request body is not valid JSON: {flaw}"))
    }

    /// Says why a request did not arrive whole.
    pub fn from_body(error: BodyError) -> Self {
        match error.downcast::<NamingError>() {
            Ok(error) => (*error).into(),
            Err(error) => Self::invalid(format!("the request body ended early: {error}")),
        }
    }

    const fn after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Says that the first pass has not succeeded yet.
    pub fn no_models_yet() -> Self {
        let message = "herdsman has not found out which models there are; its log says why";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message).with_code("not_ready").after(10)
    }

    /// Says why a request for `asked` gets no instance.
    pub fn refused(asked: &str, refusal: &Refusal) -> Self {
        let unavailable = |code| Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", "").with_code(code);
        let error = match refusal {
            Refusal::Unknown(_) => {
                return Self::new(StatusCode::NOT_FOUND, "invalid_request_error", refusal.to_string())
                    .with_code("model_not_found");
            }
            Refusal::Unavailable(_) => unavailable("model_unavailable").after(10),
            Refusal::NotRunning => unavailable("model_not_running").after(10),
            Refusal::TimedOut(_) => {
                Self::new(StatusCode::GATEWAY_TIMEOUT, "server_error", "").with_code("model_not_ready").after(10)
            }
            Refusal::TooMany(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", "").with_code("too_many_waiting").after(1)
            }
        };
        Self { message: format!("model {asked:?}: {refusal}"), ..error }
    }

    /// Returns the answer to the client.
    pub fn answer(&self, shape: Shape) -> Answer {
        let mut answer = Response::new(full(self.json(shape)));
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        let content_type = match shape {
            Shape::Problem => "application/problem+json",
            Shape::OpenAi | Shape::Llama | Shape::Anthropic => "application/json; charset=utf-8",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }

    /// Returns the event for a stream that has begun.
    pub fn event(&self, shape: Shape) -> Bytes {
        let name = if shape == Shape::Anthropic { "event: error\n" } else { "" };
        Bytes::from(format!("{name}data: {}\n\n", self.json(shape)))
    }

    fn json(&self, shape: Shape) -> String {
        let Self { message, kind, code, .. } = self;
        match shape {
            Shape::OpenAi => json!({"error": {"message": message, "type": kind, "param": null, "code": code}}),
            Shape::Llama => json!({"error": {"code": self.status.as_u16(), "message": message, "type": kind}}),
            Shape::Anthropic => json!({"type": "error", "error": {"type": self.anthropic(), "message": message}}),
            Shape::Problem => json!({
                "type": "about:blank",
                "title": self.status.canonical_reason(),
                "status": self.status.as_u16(),
                "detail": message,
                "code": code,
            }),
        }
        .to_string()
    }

    /// Anthropic's word for the status.
    fn anthropic(&self) -> &'static str {
        match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            503 => "overloaded_error",
            504 => "timeout_error",
            _ => "api_error",
        }
    }
}

impl From<NamingError> for Error {
    fn from(error: NamingError) -> Self {
        let status = error.status();
        let kind = if status.is_server_error() { "server_error" } else { "invalid_request_error" };
        let refused = Self::new(status, kind, error.to_string());
        match error {
            NamingError::TooLarge(_) => refused.with_code("request_too_large"),
            NamingError::NoRoom { .. } | NamingError::Crowded(_) => refused.with_code("no_room").after(10),
            _ => refused,
        }
    }
}

/// Says that there is no model `asked` among `names`, and which may be meant.
pub fn no_model<'n>(asked: &str, names: impl Iterator<Item = &'n str>) -> String {
    let help = match nearest(asked, names).as_slice() {
        [] => "GET /v1/models lists the models".to_owned(),
        near => format!("did you mean {}?", near.join(", ")),
    };
    format!("there is no model {asked:?}; {help}")
}

/// Returns the names that `asked` most likely means, the nearest first: at most a third
/// of it is mistyped, or it is a part of the name.
fn nearest<'n>(asked: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    const MOST: usize = 3;
    /// Longer ones are no mistyped names, and comparing them takes time and memory.
    const LONGEST: usize = 200;
    if asked.len() > LONGEST {
        return Vec::new();
    }
    let asked = asked.to_lowercase();
    let mut near: Vec<_> = names
        .filter_map(|name| {
            let lower = name.to_lowercase();
            let distance = strsim::damerau_levenshtein(&asked, &lower);
            let longest = asked.chars().count().max(lower.chars().count());
            let is_near = distance <= longest.div_ceil(3) || (!asked.is_empty() && lower.contains(&asked));
            is_near.then_some((distance, name))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(MOST).map(|(_, name)| name).collect()
}
