//! The protocol of llama-server's router: what its clients and its web page ask of a
//! server with many models.

use std::sync::Arc;
use std::time::Instant;

use hyper::StatusCode;
use hyper::body::{Body as HttpBody, Bytes};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answers::{error, invalid, json, not_admin, not_found};
use super::ask::ask_patiently;
use super::{models, small_body};
use crate::model::ModelName;
use crate::serve::access::Caller;
use crate::serve::body::{Answer, BodyError};
use crate::serve::gateway::errors::no_model;
use crate::serve::gateway::{Gateway, Refusal, Route, Standing};

/// The body of `/models/load` and `/models/unload`.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    model: String,
}

/// `GET /props` without a model: there are many.
pub(super) fn props(gateway: &Gateway, caller: &Caller) -> Answer {
    let routes = gateway.routes();
    let value = json!({
        "role": "router",
        // As many as the list shows: the page reads both.
        "max_instances": models::visible(&routes, caller).count(),
        "models_autoload": true,
        "model_alias": "herdsman",
        "model_path": "none",
        "default_generation_settings": {"params": null, "n_ctx": 0},
        "ui_settings": {},
        "build_info": concat!("herdsman ", env!("CARGO_PKG_VERSION")),
        "cors_proxy_enabled": false,
    });
    json(StatusCode::OK, &value)
}

/// `/tools`: the router has none unless it is started with some.
pub(super) fn tools() -> Answer {
    let value = json!({"error": {"message": "this feature is disabled", "type": "feature_disabled"}});
    json(StatusCode::FORBIDDEN, &value)
}

/// `POST /models/load`: asks for an on-demand model, starts another by hand. Answers
/// before the model is ready.
pub(super) async fn load<B>(gateway: &Gateway, caller: &Caller, body: B) -> Answer
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let name = match named(body).await {
        Ok(name) => name,
        Err(answer) => return answer,
    };
    let routes = Arc::clone(&gateway.routes());
    let Some(route) = models::find(&routes, caller, &name) else {
        return not_found(&no_model(&name, models::names(&routes, caller)));
    };
    let refused = match &route.standing {
        Standing::Ready(_) | Standing::Coming => Some(invalid("model is already running")),
        Standing::OnDemand => summon(gateway, &route.model),
        Standing::Unavailable(why) if !caller.admin && route.on_demand => Some(unavailable(why)),
        Standing::Unavailable(_) if !caller.admin => Some(not_admin()),
        Standing::Unavailable(_) => start(gateway, caller, &route.model).await,
    };
    refused.unwrap_or_else(success)
}

/// Asks the herdsman that has taken over for a model that a client asked to load here.
pub(super) async fn load_there(gateway: &Gateway, model: &ModelName) {
    let Some(successor) = gateway.successor() else { return };
    // It answers after its first pass, or refuses: the model may be on its way already.
    let _: Option<Value> = ask_patiently(gateway, successor, "/models/load", Some(&json!({"model": model}))).await;
}

/// `POST /models/unload`: stops an on-demand model until it is asked for again, and ends
/// a start by hand.
pub(super) async fn unload<B>(gateway: &Gateway, caller: &Caller, body: B) -> Answer
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let name = match named(body).await {
        Ok(name) => name,
        Err(answer) => return answer,
    };
    let routes = gateway.routes();
    let Some(route) = models::find(&routes, caller, &name) else { return invalid("model is not found") };
    if !caller.admin {
        return not_admin();
    }
    if !is_wanted(gateway, route) {
        return invalid("model is not running");
    }
    if !route.unloads() {
        return invalid(&runs_for_good(&route.model));
    }
    gateway.unload(&route.model);
    success()
}

/// Whether there is anything to unload: a server, or a load or a start by hand that
/// waits.
pub(super) fn is_wanted(gateway: &Gateway, route: &Route) -> bool {
    match &route.standing {
        Standing::Ready(_) | Standing::Coming => true,
        Standing::OnDemand => gateway.is_to_load(&route.model),
        Standing::Unavailable(_) => route.unloads(),
    }
}

/// Says why a model that is not on demand cannot be unloaded.
pub(super) fn runs_for_good(model: &ModelName) -> String {
    format!(
        "{model} is not an on-demand model, so unloading it would not last; \
         stop it with `herdsman stop {model}`, or set `state = \"on_demand\"` in its definition"
    )
}

/// Asks for a model as a request does, until it is ready. Returns why it may not.
fn summon(gateway: &Gateway, model: &ModelName) -> Option<Answer> {
    match gateway.ask(model, Instant::now(), true) {
        Ok(asker) => gateway.load(asker),
        Err(Refusal::Unavailable(why)) => return Some(unavailable(&why)),
        Err(refusal) => return Some(error(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", &refusal.to_string())),
    }
    None
}

fn unavailable(why: &str) -> Answer {
    error(StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", why)
}

/// Starts a model by hand. Returns once that is recorded, or why it is refused.
async fn start(gateway: &Gateway, caller: &Caller, model: &ModelName) -> Option<Answer> {
    let Some(host) = gateway.host() else { return Some(unavailable("the watcher is not ready; try again")) };
    let (model, by) = (model.clone(), caller.name.clone());
    let started = tokio::task::spawn_blocking(move || host.start(&model, by.as_deref())).await;
    match started {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(invalid(&why)),
        Err(_) => Some(unavailable("the watcher ended; try again")),
    }
}

/// Returns the model that a body names.
async fn named<B>(body: B) -> Result<String, Answer>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let body = small_body(body).await?;
    let named: Named = serde_json::from_slice(&body)
        .map_err(|problem| invalid(&format!("the body is not {{\"model\": NAME}}: {problem}")))?;
    Ok(named.model)
}

fn success() -> Answer {
    json(StatusCode::OK, &json!({"success": true}))
}
