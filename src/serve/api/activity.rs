//! `GET /api/activity`: the last requests, without their contents.

use hyper::StatusCode;
use hyper::http::request::Parts;
use serde_json::{Value, json};

use super::Api;
use crate::model::text::rfc3339;
use crate::serve::access::Caller;
use crate::serve::body::Answer;
use crate::serve::gateway::activity::{Entry, LIMIT};
use crate::serve::gateway::errors::Error;
use crate::serve::gateway::own::answers::json as answer;
use crate::serve::gateway::own::query::parameter;
use crate::serve::gateway::record::End;

/// How many there are without `?limit`.
const USUAL: usize = 100;

/// The last requests, the one that ended last first: of `?model`, `?limit` at most.
/// Who may not change what runs sees those of its key.
pub(super) fn list(api: &Api, caller: &Caller, parts: &Parts) -> Result<Answer, Error> {
    let limit = match parameter(&parts.uri, "limit") {
        None => USUAL,
        Some(text) => text.parse().map_err(|_| Error::invalid(format!("limit {text:?} is not a number")))?,
    };
    let model = parameter(&parts.uri, "model");
    let is_theirs = |entry: &Entry| caller.admin || entry.key == caller.name;
    let fits = |entry: &Entry| {
        model.as_deref().is_none_or(|model| entry.model.as_ref().is_some_and(|is| is.as_str() == model))
    };
    let all = api.gateway.activity().last(LIMIT);
    let entries = all.iter().filter(|entry| is_theirs(entry) && fits(entry)).take(limit);
    Ok(answer(StatusCode::OK, &json!({"requests": entries.map(document).collect::<Vec<_>>()})))
}

fn document(entry: &Entry) -> Value {
    let seconds = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e6;
    json!({
        "at": rfc3339(entry.at),
        "model": entry.model,
        "key": entry.key,
        "request": entry.request,
        "status": entry.status,
        "firstByte": entry.first_byte.map(seconds),
        "duration": seconds(entry.took),
        "waited": seconds(entry.waited),
        "retries": entry.retries,
        "promptTokens": entry.tokens.prompt,
        "completionTokens": entry.tokens.generated,
        "end": match entry.end {
            End::Complete => "complete",
            End::Broken => "broken",
            End::ClientLeft => "left",
        },
    })
}
