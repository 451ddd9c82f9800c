//! The parts of a request's address.

use std::borrow::Cow;

use hyper::Uri;
use percent_encoding::percent_decode_str;

/// Returns the value of a parameter of the query, decoded; a key without `=` has an
/// empty one.
pub(in crate::serve) fn parameter<'u>(uri: &'u Uri, name: &str) -> Option<Cow<'u, str>> {
    let pairs = uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let value = pairs.into_iter().find(|(key, _)| decoded(key) == name)?.1;
    Some(match value.contains('+') {
        true => Cow::Owned(decoded(&value.replace('+', " ")).into_owned()),
        false => decoded(value),
    })
}

/// Decodes `%2F` and the like.
pub(in crate::serve) fn decoded(text: &str) -> Cow<'_, str> {
    // As most are: there is nothing to decode.
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    percent_decode_str(text).decode_utf8_lossy()
}
