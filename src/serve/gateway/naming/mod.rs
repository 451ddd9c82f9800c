//! Which model a request names, found without re-serialising its body.
//!
//! | file | holds |
//! |---|---|
//! | `json`, `multipart`, `query` | where the name may be |
//! | `encoding`, `zstd` | compressed bodies |
//! | `forward` | the body on its way: kept for another try, and streamed |
//! | `readable` | the body for a thread that may wait |
//! | `spool` | where it is kept: memory, and beyond a limit a file |
//! | `error` | why a request cannot be routed |
//!
//! A body is read until its model is known, then forwarded while it arrives. Small
//! bodies are read whole. What the body says wins over the query, as in llama.cpp's
//! router; requests without a body have only the query. Any body that is not multipart
//! is read as JSON, whatever its `Content-Type`, because llama-server does so too.

mod encoding;
mod error;
mod forward;
mod json;
mod multipart;
mod query;
mod readable;
mod spool;
#[cfg(test)]
mod tests;
mod zstd;

use hyper::Method;
use hyper::body::{Body as HttpBody, Bytes};
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;

pub use error::NamingError;
pub use forward::{Attempt, ForwardBody};
pub use spool::Spool;

use self::encoding::Decoder;
use self::json::Json;
use self::multipart::Multipart;
use self::readable::Readable;
use crate::owner::settings::serve::Serve;
use crate::serve::body::BodyError;

/// The longest name of a model that is looked for, bytes.
const LONGEST_NAME: usize = 1024;

/// Bodies up to this length are read whole before they are forwarded, bytes.
const SMALL_BODY: u64 = 64 << 10;

/// After this many chunks that needed no waiting, others get their turn.
const CHUNKS_PER_TURN: u32 = 16;

/// What a request names, and its body.
#[derive(Debug)]
pub struct Named {
    /// The model; `None`: it names none.
    pub model: Option<String>,
    /// Whether the body was read as JSON. It was not checked: [`Named::flaw`] does that.
    pub is_json: bool,
    /// Whether its `Content-Type` is that of a form, which `curl -d` sends by
    /// default, and the body begins as a JSON object. llama-server refuses forms of
    /// more than 1 MB, and reads no other.
    pub is_mislabelled: bool,
    /// Whether it says `"stream": true`. With `keep_alive_comments` this is certain;
    /// else a `stream` behind `model` in a body of more than 64 KiB may be missed.
    pub streams: bool,
    /// The body.
    pub body: ForwardBody,
    /// Whether the body was decoded: `Content-Encoding` and the request's own
    /// `Content-Length` must not be forwarded.
    pub decoded: bool,
    /// The length to send upstream, bytes; `None`: chunked. 0 for a request without a
    /// body.
    pub length: Option<u64>,
}

/// Finds the model that a request names. Bodies are kept in `spool`.
///
/// # Errors
/// [`NamingError`] says why the request cannot be routed, and its status.
pub async fn name<B>(parts: &Parts, body: B, settings: &Serve, spool: &Spool) -> Result<Named, NamingError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    let queried = query::model(parts.uri.query());
    let mut named = open(parts, body, settings, spool, true)?;
    let reads_body = !matches!(parts.method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS);
    if reads_body && named.length != Some(0) {
        let is_small = length(&parts.headers).is_some_and(|length| length <= SMALL_BODY);
        let mut scanner = Scanner::of(&parts.headers)?;
        read(&mut scanner, &named.body, is_small, settings.keep_alive_comments.is_some()).await?;
        named.is_json = matches!(scanner, Scanner::Json(_));
        named.is_mislabelled = scanner.is_object() && says_form(&parts.headers);
        (named.model, named.streams) = scanner.found();
        named.length = named.body.length();
    }
    if named.model.is_none() {
        named.model = queried?;
    }
    Ok(named)
}

impl Named {
    /// Says why the body is not JSON, and where; `None`: it is, or nobody can say.
    ///
    /// This reads all of it once more, so ask only once something has failed. It waits
    /// for what has not arrived yet.
    pub async fn flaw(&self) -> Option<String> {
        if !self.is_json || self.body.length() == Some(0) || !self.body.is_replayable() {
            return None;
        }
        let body = Readable::new(self.body.attempt());
        // It may be large, or on a slow disk.
        tokio::task::spawn_blocking(move || json::flaw(body)).await.ok().flatten()
    }
}

/// Takes a request's body as it is, without looking into it.
///
/// # Errors
/// It is larger than `max_body`.
pub fn as_it_is<B>(parts: &Parts, body: B, settings: &Serve, spool: &Spool) -> Result<Named, NamingError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    open(parts, body, settings, spool, false)
}

fn open<B>(parts: &Parts, body: B, settings: &Serve, spool: &Spool, decodes: bool) -> Result<Named, NamingError>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    let length = length(&parts.headers);
    // A compressed body that is too large already can only grow.
    if let (Some(length), Some(most)) = (length, settings.max_body)
        && length > most
    {
        return Err(NamingError::TooLarge(most));
    }
    let decoder = if decodes && !body.is_end_stream() { Decoder::of(&parts.headers)? } else { None };
    let decoded = decoder.is_some();
    let length = if decoded { None } else { length };
    let body = ForwardBody::new(body, decoder, length, settings.max_body, spool);
    Ok(Named {
        model: None,
        is_json: false,
        is_mislabelled: false,
        streams: false,
        length: body.length(),
        body,
        decoded,
    })
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the headers say that the body is a form of `name=value` pairs.
fn says_form(headers: &HeaderMap) -> bool {
    const FORM: &[u8] = b"application/x-www-form-urlencoded";
    let stated = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    stated.and_then(|stated| stated.get(..FORM.len())).is_some_and(|stated| stated.eq_ignore_ascii_case(FORM))
}

/// Reads the body until the scanner has found what matters: to its end if it is
/// small, and past the model if it must know whether the request streams.
async fn read(
    scanner: &mut Scanner,
    body: &ForwardBody,
    is_small: bool,
    must_know_streams: bool,
) -> Result<(), NamingError> {
    let mut attempt = body.attempt();
    let mut chunks = 0_u32;
    while let Some(chunk) = attempt.next().await {
        scanner.push(&chunk?)?;
        if let Some(lost) = body.lost() {
            return Err(lost);
        }
        if !is_small && scanner.knows(must_know_streams) {
            break;
        }
        chunks += 1;
        if chunks.is_multiple_of(CHUNKS_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// What looks for the model in a body.
enum Scanner {
    Json(Json),
    Multipart(Multipart),
}

impl Scanner {
    fn of(headers: &HeaderMap) -> Result<Self, NamingError> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let multipart = Multipart::of(content_type)?;
        Ok(multipart.map_or_else(|| Self::Json(Json::default()), Self::Multipart))
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), NamingError> {
        match self {
            Self::Json(json) => json.push(chunk),
            Self::Multipart(multipart) => multipart.push(chunk),
        }
    }

    /// Whether the rest of the body does not matter.
    fn knows(&self, must_know_streams: bool) -> bool {
        let (is_done, has_model) = match self {
            Self::Json(json) => (json.is_done(), json.model.is_some()),
            Self::Multipart(multipart) => (multipart.is_done(), multipart.model.is_some()),
        };
        is_done || (has_model && !must_know_streams)
    }

    /// Whether it has seen the beginning of a JSON object.
    fn is_object(&self) -> bool {
        matches!(self, Self::Json(json) if json.is_object)
    }

    /// The model, and whether the request streams.
    fn found(self) -> (Option<String>, bool) {
        let (model, streams) = match self {
            Self::Json(json) => (json.model, json.streams),
            Self::Multipart(multipart) => (multipart.model, multipart.streams),
        };
        (model, streams == Some(true))
    }
}
