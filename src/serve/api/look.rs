//! `GET /api/plan`, and `/why`, `/history`, `/logs` of a model: the documents of the
//! commands of these names. Each looks for itself, which takes a moment.

use hyper::StatusCode;
use hyper::http::request::Parts;
use serde_json::Value;

use super::models::managed;
use super::{Api, Host, flag, require_admin, require_all, unavailable};
use crate::model::ModelName;
use crate::serve::access::Caller;
use crate::serve::body::Answer;
use crate::serve::gateway::errors::Error;
use crate::serve::gateway::own::answers::json as answer;
use crate::serve::gateway::own::logs as own_logs;
use crate::serve::gateway::own::query::parameter;

/// How many lines of a log there are without `?lines`.
const LINES: u64 = 100;

/// The dry run. It names every model, so it is for who may see all.
pub(super) async fn plan(api: &Api, caller: &Caller) -> Result<Answer, Error> {
    require_all(caller, "the plan names")?;
    let plan = api.ask(|host| host.plan()).await?.map_err(|why| unavailable(&why))?;
    Ok(answer(StatusCode::OK, &plan))
}

/// Why a model is as it is.
pub(super) async fn why(api: &Api, caller: &Caller, key: &str) -> Result<Answer, Error> {
    of_model(api, caller, key, |host, model| host.why(model)).await
}

/// What happened to a model.
pub(super) async fn history(api: &Api, caller: &Caller, key: &str) -> Result<Answer, Error> {
    of_model(api, caller, key, |host, model| host.history(model)).await
}

/// What its server writes.
pub(super) async fn logs(api: &Api, caller: &Caller, parts: &Parts, key: &str) -> Result<Answer, Error> {
    let model = managed(api, caller, key).await?;
    require_admin(caller)?;
    let lines = match parameter(&parts.uri, "lines") {
        None => LINES,
        Some(text) => {
            text.parse().map_err(|_| Error::invalid(format!("lines {text:?}: expected a whole number such as 100")))?
        }
    };
    let follows = flag(parts, "follow")?;
    Ok(own_logs::of_model(&api.gateway, api.host.state().logs(), &model, lines, follows).await)
}

async fn of_model(
    api: &Api,
    caller: &Caller,
    key: &str,
    look: fn(&dyn Host, &ModelName) -> Result<Value, String>,
) -> Result<Answer, Error> {
    let model = managed(api, caller, key).await?;
    let document = api.ask(move |host| look(host, &model)).await?.map_err(|why| unavailable(&why))?;
    Ok(answer(StatusCode::OK, &document))
}
