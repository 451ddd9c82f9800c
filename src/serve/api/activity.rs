//! `GET /api/activity`: the last requests, without their contents.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::http::request::Parts;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::Api;
use super::models::may_see_all;
use crate::model::ModelName;
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
/// Who may not change what runs sees those of its key; who may, also those of others for
/// the models that it may know of.
pub(super) fn list(api: &Api, caller: &Caller, parts: &Parts) -> Result<Answer, Error> {
    let limit = match parameter(&parts.uri, "limit") {
        None => USUAL,
        Some(text) => {
            text.parse().map_err(|_| Error::invalid(format!("limit {text:?}: expected a whole number such as 100")))?
        }
    };
    let model = parameter(&parts.uri, "model");
    let may_see = |entry: &Entry| entry.model.as_ref().map_or(may_see_all(caller), |model| caller.may_use(model));
    let is_theirs = |entry: &Entry| entry.key == caller.name || (caller.admin && may_see(entry));
    let fits = |entry: &Entry| {
        model.as_deref().is_none_or(|model| entry.model.as_ref().is_some_and(|is| is.as_str() == model))
    };
    let all = api.gateway.activity().last(LIMIT);
    let entries = all.iter().filter(|entry| is_theirs(entry) && fits(entry)).take(limit);
    Ok(answer(StatusCode::OK, &json!({"requests": entries.map(Request::of).collect::<Vec<_>>()})))
}

/// Rounds to what anybody reads.
pub(super) fn tenths(speed: f64) -> f64 {
    (speed * 10.0).round() / 10.0
}

/// A request that is over. Times are seconds.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// When it arrived.
    pub at: Option<String>,
    /// Its model, once that was known.
    #[schemars(with = "Option<String>")]
    pub model: Option<ModelName>,
    /// The name of the client's key.
    pub key: Option<Arc<str>>,
    /// Its method and path.
    pub request: Arc<str>,
    /// The status of the answer; absent: the client left before there was one.
    pub status: Option<u16>,
    /// From its arrival to the head of the answer.
    pub first_byte: Option<f64>,
    /// From its arrival to its end.
    pub duration: f64,
    /// How long of that it waited for a server.
    pub waited: f64,
    /// How often it was sent again.
    pub retries: u32,
    /// Tokens of the prompt, as far as the answer says.
    pub prompt_tokens: Option<u32>,
    /// Tokens that the model generated.
    pub completion_tokens: Option<u32>,
    /// How fast the model generated them, as far as it took long enough to say.
    pub tokens_per_second: Option<f64>,
    /// How it ended: `complete`, `left` (the client), `broken` (the server).
    pub end: &'static str,
}

impl Request {
    fn of(entry: &Entry) -> Self {
        let seconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e6;
        Self {
            at: rfc3339(entry.at),
            model: entry.model.clone(),
            key: entry.key.clone(),
            request: Arc::clone(&entry.request),
            status: entry.status,
            first_byte: entry.first_byte.map(seconds),
            duration: seconds(entry.took),
            waited: seconds(entry.waited),
            retries: entry.retries,
            prompt_tokens: entry.tokens.prompt,
            completion_tokens: entry.tokens.generated,
            tokens_per_second: entry.tokens_per_second().map(tenths),
            end: match entry.end {
                End::Complete => "complete",
                End::Broken => "broken",
                End::ClientLeft => "left",
            },
        }
    }
}
