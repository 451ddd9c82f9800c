//! What a herdsman says of a request that it sends on to the one that has taken over:
//! who sent it, how long ago it arrived, and where the client sent it. Only there it counts; from anyone else
//! these headers mean nothing, and no server gets them.

use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, HeaderName};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

const CALLER: HeaderName = HeaderName::from_static("herdsman-caller");
const AGE: HeaderName = HeaderName::from_static("herdsman-age-ms");
const PATH: HeaderName = HeaderName::from_static("herdsman-path");

/// When a request arrived at the herdsman before this one: an extension of it.
#[derive(Clone, Copy, Debug)]
pub struct Arrived(pub Instant);

/// The path that the client asked for, without the query: an extension of a request
/// that arrives at another one.
#[derive(Clone, Debug)]
pub struct AskedPath(pub String);

/// Whether only herdsmen say this to each other.
#[must_use]
pub fn is_passed_on(name: &HeaderName) -> bool {
    [CALLER, AGE, PATH].contains(name)
}

/// Returns what to say of a request by the owner of the key `caller` for `path`, which
/// has no query.
#[must_use]
pub fn headers(caller: Option<&str>, arrived: Instant, path: &str) -> Vec<(HeaderName, String)> {
    let caller = caller.map(|name| (CALLER, utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()));
    let age = arrived.elapsed().as_millis().to_string();
    caller.into_iter().chain([(AGE, age), (PATH, path.to_owned())]).collect()
}

/// Returns the path that the client asked for.
#[must_use]
pub fn asked_path(headers: &HeaderMap) -> Option<AskedPath> {
    headers.get(PATH)?.to_str().ok().map(|path| AskedPath(path.to_owned()))
}

/// Returns when the request arrived.
#[must_use]
pub fn arrived(headers: &HeaderMap) -> Option<Arrived> {
    let age = headers.get(AGE)?.to_str().ok()?.parse().ok()?;
    Instant::now().checked_sub(Duration::from_millis(age)).map(Arrived)
}

/// Returns the name of the key that its sender has.
pub(super) fn caller(headers: &HeaderMap) -> Option<String> {
    Some(percent_decode(headers.get(CALLER)?.as_bytes()).decode_utf8_lossy().into_owned())
}
