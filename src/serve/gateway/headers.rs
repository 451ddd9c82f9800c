//! Which headers pass: all but those that concern one connection only, and the
//! client's key.

use bytes::{BufMut, Bytes, BytesMut};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap,
    HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, Version};

use super::naming::Named;
use super::routes::Backend;
use crate::serve::access::passed_on::is_passed_on;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Whether a header of an answer concerns one connection only.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    static THOSE: [HeaderName; 7] =
        [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, PROXY_AUTHENTICATE, TE, TRANSFER_ENCODING, UPGRADE];
    THOSE.contains(name)
}

/// Whether herdsman writes this header of a request itself, or not at all. hyper has
/// answered `Expect` by now.
fn is_ours(name: &HeaderName) -> bool {
    static THOSE: [HeaderName; 6] = [HOST, CONTENT_LENGTH, EXPECT, AUTHORIZATION, PROXY_AUTHORIZATION, X_API_KEY];
    THOSE.contains(name) || is_passed_on(name)
}

/// The headers that `Connection` names.
fn options(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter();
    let tokens = values.flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    let names = tokens.filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok());
    // What says where the body ends is no option of a connection.
    names.filter(|name| *name != CONTENT_LENGTH).collect()
}

/// Whether a request asks to use its connection for another protocol.
pub fn asks_for_upgrade(parts: &Parts) -> bool {
    parts.headers.contains_key(UPGRADE) && options(&parts.headers).contains(&UPGRADE)
}

/// Whether a request asks for an event stream.
pub fn accepts_events(parts: &Parts) -> bool {
    parts.headers.get_all(ACCEPT).iter().any(is_events)
}

/// Whether an answer is an event stream that can be read.
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(is_events) && !headers.contains_key(CONTENT_ENCODING)
}

fn is_events(value: &HeaderValue) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    value.as_bytes().get(..EVENTS.len()).is_some_and(|start| start.eq_ignore_ascii_case(EVENTS))
}

/// Writes the head of the request to an instance. `target` is the path and the query,
/// as the client sent them; `more`: further headers.
pub fn request(parts: &Parts, target: &str, backend: &Backend, named: &Named, more: &[(HeaderName, String)]) -> Bytes {
    let mut head = BytesMut::with_capacity(1024);
    for part in [parts.method.as_str(), " ", &backend.address.prefix, target, " HTTP/1.1\r\nhost: "] {
        head.put_slice(part.as_bytes());
    }
    host(&mut head, backend);
    head.put_slice(b"\r\n");
    let dropped = options(&parts.headers);
    let is_decoded = |name: &HeaderName| named.decoded && *name == CONTENT_ENCODING;
    let cookies = split_cookies(parts);
    let is_split = |name: &HeaderName| cookies.is_some() && *name == COOKIE;
    let is_replaced = |name: &HeaderName| named.is_mislabelled && *name == CONTENT_TYPE;
    let is_dropped =
        |name: &HeaderName| is_decoded(name) || is_split(name) || is_replaced(name) || dropped.contains(name);
    let passes = |name: &HeaderName| !is_hop_by_hop(name) && !is_ours(name) && !is_dropped(name);
    for (name, value) in parts.headers.iter().filter(|(name, _)| passes(name)) {
        header(&mut head, name.as_str(), value.as_bytes());
    }
    if let Some(cookies) = &cookies {
        header(&mut head, "cookie", cookies);
    }
    if named.is_mislabelled {
        header(&mut head, "content-type", b"application/json");
    }
    if asks_for_upgrade(parts) {
        header(&mut head, "connection", b"upgrade");
        for value in parts.headers.get_all(UPGRADE) {
            header(&mut head, "upgrade", value.as_bytes());
        }
    }
    for (name, value) in more {
        header(&mut head, name.as_str(), value.as_bytes());
    }
    if let Some(key) = &backend.api_key {
        header(&mut head, "authorization", format!("Bearer {}", key.0).as_bytes());
    }
    match named.length {
        None => header(&mut head, "transfer-encoding", b"chunked"),
        // A request without a body need not say so, but may.
        Some(0) if !sends_body(parts) => {}
        Some(length) => header(&mut head, "content-length", itoa::Buffer::new().format(length).as_bytes()),
    }
    head.put_slice(b"\r\n");
    head.freeze()
}

/// Joins the cookies of a request whose client may send one header for each: HTTP/1.1
/// has one for all (RFC 9113, 8.2.3).
fn split_cookies(parts: &Parts) -> Option<Vec<u8>> {
    if parts.version != Version::HTTP_2 {
        return None;
    }
    let cookies: Vec<&[u8]> = parts.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    (cookies.len() > 1).then(|| cookies.join(b"; ".as_slice()))
}

fn sends_body(parts: &Parts) -> bool {
    parts.headers.contains_key(CONTENT_LENGTH)
        || parts.headers.contains_key(TRANSFER_ENCODING)
        || matches!(parts.method, Method::POST | Method::PUT | Method::PATCH)
}

fn header(head: &mut BytesMut, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.put_slice(part);
    }
}

fn host(head: &mut BytesMut, backend: &Backend) {
    let address = &backend.address;
    let Some(port) = address.port.filter(|_| address.socket().is_none()) else {
        head.put_slice(b"localhost");
        return;
    };
    let is_ipv6 = address.host.contains(':');
    for part in if is_ipv6 { ["[", &address.host, "]:"] } else { ["", &address.host, ":"] } {
        head.put_slice(part.as_bytes());
    }
    head.put_slice(itoa::Buffer::new().format(port).as_bytes());
}

/// Removes from an answer what concerns the connection to the instance.
pub fn clean(headers: &mut HeaderMap) {
    // Most answers have none, so it is cheaper to look for them than to remove each.
    let those: Vec<HeaderName> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    if those.is_empty() {
        return;
    }
    for name in options(headers).into_iter().chain(those) {
        headers.remove(name);
    }
}

/// Prepares the answer that ends HTTP on a connection.
pub fn switched(headers: &mut HeaderMap) {
    let protocols: Vec<HeaderValue> = headers.get_all(UPGRADE).iter().cloned().collect();
    clean(headers);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    for protocol in protocols {
        headers.append(UPGRADE, protocol);
    }
}
