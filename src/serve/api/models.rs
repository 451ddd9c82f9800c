//! `GET /api/models` and `GET /api/models/{key}`.

use hyper::header::{ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

use std::sync::Arc;

use super::board::Shown;
use super::document::Document;
use super::{Api, unavailable};
use crate::model::{ModelName, ModelType, Status};
use crate::serve::access::Caller;
use crate::serve::body::{Answer, empty};
use crate::serve::gateway::errors::Error;
use crate::serve::gateway::own::answers::json as answer;
use crate::serve::gateway::own::query::parameter;

/// The answer of the list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct List {
    /// The number of what is shown: the same as in the events.
    pub seq: u64,
    /// Why it may be out of date.
    pub problem: Option<String>,
    /// The models: rows newest first, then what has no row, by name.
    pub models: Vec<Arc<Document>>,
}

/// The list. `status` and `type` are exact, `name` is a part, ignoring case.
pub(super) async fn list(api: &Api, caller: &Caller, parts: &Parts) -> Result<Answer, Error> {
    let status = word(parts, "status", &Status::ALL.map(Status::as_str))?;
    let model_type = word(parts, "type", &ModelType::ALL.map(ModelType::as_str))?;
    let name = parameter(&parts.uri, "name").map(|part| part.to_lowercase());
    let shown = api.board.newest(&api.gateway).await;
    let fits = |model: &&Arc<Document>| {
        let store = &model.store;
        status.as_deref().is_none_or(|word| store.status.as_str() == word)
            && model_type.as_deref().is_none_or(|word| store.model_type.as_str() == word)
            && name.as_deref().is_none_or(|part| store.name.to_lowercase().contains(part))
    };
    let models = visible(&shown.models, caller).filter(fits).cloned().collect();
    Ok(tagged(parts, shown.seq, &List { seq: shown.seq, problem: shown.problem.clone(), models }))
}

/// One model.
pub(super) async fn one(api: &Api, caller: &Caller, parts: &Parts, key: &str) -> Result<Answer, Error> {
    let shown = api.board.newest(&api.gateway).await;
    let model = find(&shown, caller, key)?;
    Ok(tagged(parts, shown.seq, &**model))
}

/// Returns the models that a caller may know of. What is no name of a model only who
/// may use all sees.
pub(super) fn visible<'m>(
    models: &'m [Arc<Document>],
    caller: &'m Caller,
) -> impl Iterator<Item = &'m Arc<Document>> + 'm {
    models.iter().filter(|model| may_see(caller, &model.store.name))
}

/// Whether a caller may know of a model.
pub(super) fn may_see(caller: &Caller, name: &str) -> bool {
    match ModelName::parse(name) {
        Ok(name) => caller.may_use(&name),
        Err(_) => may_see_all(caller),
    }
}

/// Whether a caller may know of every model, also of later ones.
pub(super) fn may_see_all(caller: &Caller) -> bool {
    caller.models.iter().any(|pattern| pattern == "*")
}

/// Returns the model of this name, or else of this id.
///
/// # Errors
/// There is none that the caller may know of; or nobody knows, because what is shown may
/// be out of date.
pub(super) fn find<'m>(shown: &'m Shown, caller: &'m Caller, key: &str) -> Result<&'m Arc<Document>, Error> {
    let visible = || visible(&shown.models, caller);
    let by_name = visible().find(|model| model.store.name == key);
    let by_alias = || visible().find(|model| model.seen.aliases.iter().any(|alias| alias == key));
    let found = by_name.or_else(|| visible().find(|model| model.store.id.as_deref() == Some(key))).or_else(by_alias);
    found.ok_or_else(|| match &shown.problem {
        Some(problem) => unavailable(&format!("herdsman does not know whether there is a model {key:?}: {problem}")),
        None => Error::unknown(key, visible().map(|model| model.store.name.as_str())),
    })
}

/// Returns the value of a filter; a word that there is not is a typing error, not
/// "no models".
fn word(parts: &Parts, name: &str, known: &[&str]) -> Result<Option<String>, Error> {
    let Some(word) = parameter(&parts.uri, name).filter(|word| !word.is_empty()) else { return Ok(None) };
    if known.contains(&&*word) {
        return Ok(Some(word.into_owned()));
    }
    Err(Error::invalid(format!("{name} {word:?}: expected one of {}", known.join(", "))))
}

/// Returns the name of the model of a key, if that is a name that a definition may have.
pub(super) async fn managed(api: &Api, caller: &Caller, key: &str) -> Result<ModelName, Error> {
    let shown = api.board.newest(&api.gateway).await;
    let document = find(&shown, caller, key)?;
    ModelName::parse(&document.store.name).map_err(|problem| {
        Error::new(StatusCode::CONFLICT, "conflict_error", format!("{key:?} is not managed: {problem}"))
    })
}

/// Returns 200 with what is shown under `seq`, or 304 if the client has it.
fn tagged(parts: &Parts, seq: u64, body: &impl Serialize) -> Answer {
    let tag = format!("\"{seq}\"");
    let known = parts.headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|value| value.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    });
    let mut response = if is_known {
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        answer(StatusCode::OK, body)
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("authorization, x-api-key"));
    response
}
