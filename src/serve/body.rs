//! The bodies of answers.

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::Response;
use hyper::body::Bytes;

/// Why a body ends before its end.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer: whole, or a stream. If it ends with an error, the
/// client sees an aborted transfer.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// An answer to a client.
pub type Answer = Response<Body>;

/// An answer that goes on until this process wants it to end, and whose client then
/// asks again: an extension of it.
#[derive(Clone, Copy, Debug)]
pub struct Endless;

/// Returns a body of these bytes.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Returns a body without a byte.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}
