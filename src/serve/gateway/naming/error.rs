//! Why a request cannot be routed.

use std::io;
use std::sync::Arc;

use hyper::StatusCode;

use crate::model::text;

/// Why no model can be found in a request, or its body not be passed on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NamingError {
    /// The body, decoded, is larger than `[serve] max_body`.
    #[error("the request body is larger than {}; send less, or raise `max_body` in `[serve]`", text::bytes(*.0))]
    TooLarge(u64),
    /// `model` is not a string.
    #[error("`model` must be a string with the name of a model")]
    NotAName,
    /// `model` is longer than a name can be.
    #[error("`model` is longer than {LONGEST} bytes; it must be the name of a model", LONGEST = super::LONGEST_NAME)]
    LongName,
    /// A multipart body without a boundary.
    #[error("`Content-Type: multipart/form-data` needs a `boundary` of at most 70 characters")]
    NoBoundary,
    /// The body is compressed in a way that herdsman does not know.
    #[error("unknown `Content-Encoding: {0}`; use gzip, zstd or deflate, or send the body as it is")]
    UnknownEncoding(String),
    /// The body is not what its `Content-Encoding` says.
    #[error("cannot decode the request body ({encoding}): {why}")]
    Undecodable {
        /// The encodings.
        encoding: String,
        /// What is wrong.
        why: String,
    },
    /// The client's connection broke within the body.
    #[error("the request body ended early: {0}")]
    Broken(String),
    /// There is no room for the body on disk.
    #[error("cannot keep the request body in {dir}: {cause}; free some space there, or try again later")]
    NoRoom {
        /// The directory.
        dir: String,
        /// Why.
        cause: Arc<io::Error>,
    },
    /// The bodies that wait have taken all room on disk that they may.
    #[error("request bodies that wait take {} on disk already; try again later", text::bytes(*.0))]
    Crowded(u64),
}

impl NamingError {
    /// The status to answer with.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnknownEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NoRoom { .. } | Self::Crowded(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NotAName | Self::LongName | Self::NoBoundary | Self::Undecodable { .. } | Self::Broken(_) => {
                StatusCode::BAD_REQUEST
            }
        }
    }
}
