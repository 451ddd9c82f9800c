//! `?model=` in the query.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::{LONGEST_NAME, NamingError};

/// Returns the first `model` of a query, decoded.
///
/// # Errors
/// It is not a name.
pub(super) fn model(query: Option<&str>) -> Result<Option<String>, NamingError> {
    for pair in query.into_iter().flat_map(|query| query.split('&')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decoded(key).as_deref() != Some("model") || value.is_empty() {
            continue;
        }
        let name = decoded(value).ok_or(NamingError::NotAName)?;
        return if name.len() > LONGEST_NAME { Err(NamingError::LongName) } else { Ok(Some(name)) };
    }
    Ok(None)
}

/// Returns the text that a part of a query stands for, unless it is not UTF-8.
fn decoded(part: &str) -> Option<String> {
    let spaced: Cow<'_, str> = if part.contains('+') { part.replace('+', " ").into() } else { part.into() };
    percent_decode(spaced.as_bytes()).decode_utf8().ok().map(Cow::into_owned)
}
