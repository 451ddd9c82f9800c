//! What the gateway answers itself, from the routes and the demand: lists of models,
//! and the protocols of what people come from, so that moving in changes no client.
//!
//! | file | holds |
//! |---|---|
//! | [`models`] | `/v1/models` |
//! | [`router`], [`events`] | llama-server's router: `/props`, `/models/load`, `/models/unload`, `/models/sse` |
//! | [`llama_swap`], [`logs`] | llama-swap: `/running`, `/unload`, `/api/models/unload`, `/logs` |
//! | [`chat`] | `/chat/`: llama.cpp's own page |
//! | [`conversations`] | `/v1/stream`, `/v1/streams/lookup`: streams that outlive their client |
//! | [`ask`](mod@ask), [`meta`], [`builds`] | what the gateway asks servers itself |
//! | [`uses`](mod@uses) | which forwarded requests use their model |
//!
//! No GET changes anything.

pub(in crate::serve) mod answers;
mod ask;
mod builds;
mod chat;
pub mod conversations;
mod events;
mod llama_swap;
pub(in crate::serve) mod logs;
mod meta;
pub(super) mod models;
pub(in crate::serve) mod query;
mod router;
pub(in crate::serve) mod stream;
#[cfg(test)]
mod tests;
mod uses;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as HttpBody, Bytes};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::answers::{error, invalid, json, not_admin, not_found, text, wrong_method};
use self::query::{decoded, parameter};
pub use self::uses::uses;
use super::errors::Error;
use super::{Asker, Gateway, Lease};
use crate::model::ModelName;
use crate::serve::access::Caller;
use crate::serve::body::{Answer, BodyError};
use crate::state::StateDir;

/// What the gateway asks of the watcher it belongs to.
pub trait Host: Send + Sync {
    /// Starts a model by hand, for the owner of the key `by`. Returns once that is
    /// recorded; it may wait for a pass.
    ///
    /// # Errors
    /// It is refused: why, and what to do.
    fn start(&self, model: &ModelName, by: Option<&str>) -> Result<(), String>;

    /// Returns the llama-server whose web page `/chat/` shows; `None`: there is none.
    fn llama_server(&self) -> Option<PathBuf>;

    /// Reads the owner's settings again if they have changed: a key that was removed
    /// must stop working, whenever the next pass is.
    fn look_at_settings(&self) {}

    /// Returns the state directory.
    fn state(&self) -> &StateDir;

    /// Returns all metrics in Prometheus' text format.
    ///
    /// # Errors
    /// A metric cannot be rendered: a defect of herdsman.
    fn metrics(&self) -> Result<String, String>;
}

/// What this part keeps.
pub(super) struct State {
    host: OnceLock<Arc<dyn Host>>,
    /// Wakes who waits for new routes.
    changed: watch::Sender<()>,
    /// Ends the streams of events and logs.
    end: watch::Sender<()>,
    conversations: conversations::Conversations,
    page: chat::Page,
    /// Who waits because of `/models/load`.
    loads: Mutex<Vec<(ModelName, AbortHandle)>>,
    metas: meta::Metas,
    builds: builds::Builds,
}

impl Default for State {
    fn default() -> Self {
        Self {
            host: OnceLock::new(),
            changed: watch::Sender::new(()),
            end: watch::Sender::new(()),
            conversations: conversations::Conversations::default(),
            page: chat::Page::default(),
            loads: Mutex::default(),
            metas: meta::Metas::default(),
            builds: builds::Builds::default(),
        }
    }
}

impl State {
    /// New routes are there.
    pub fn published(&self) {
        self.changed.send_replace(());
    }
}

impl Gateway {
    /// Makes the watcher known: until then, what needs it answers 503. Only the first
    /// call counts.
    pub fn attach(&self, host: Arc<dyn Host>) {
        let _attached = self.0.own.host.set(host);
    }

    /// Notes that a client asked to stop an on-demand model until it is asked for
    /// again. What waits because a client asked to load it waits no longer.
    pub fn unload(&self, model: &ModelName) {
        self.loads().retain(|(of, load)| {
            let ends = of == model;
            if ends {
                load.abort();
            }
            !ends
        });
        self.0.traffics.unload(model);
        (self.0.ring)();
    }

    /// Waits for a model until it is ready or unloaded, for a client that does not. A
    /// herdsman that takes over meanwhile is asked to load it.
    fn load(&self, asker: Asker) {
        let (model, gateway) = (asker.model().clone(), self.clone());
        let load = tokio::spawn(async move {
            match asker.lease().await {
                Ok(lease) if lease.backend().is_successor() => router::load_there(&gateway, asker.model()).await,
                Ok(_) => {}
                Err(refusal) => {
                    tracing::info!("{} was asked for by /models/load and did not start: {refusal}", asker.model());
                }
            }
        });
        self.loads().push((model, load.abort_handle()));
    }

    /// Whether something waits because a client asked to load a model.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        !self.loads().is_empty()
    }

    /// Whether something waits because a client asked to load this model.
    fn is_to_load(&self, model: &ModelName) -> bool {
        self.loads().iter().any(|(of, _)| of == model)
    }

    /// The loads that still wait.
    fn loads(&self) -> MutexGuard<'_, Vec<(ModelName, AbortHandle)>> {
        let mut loads = self.0.own.loads.lock().unwrap_or_else(PoisonError::into_inner);
        loads.retain(|(_, load)| !load.is_finished());
        loads
    }

    /// Ends the streams of events and logs that are open now: they would outlast a
    /// server that finishes what it has begun. Their clients connect again.
    pub fn end_streams(&self) {
        self.0.own.end.send_replace(());
    }

    /// Returns what changes when the streams that are open now have to end.
    pub(in crate::serve) fn stream_end(&self) -> watch::Receiver<()> {
        self.0.own.end.subscribe()
    }

    /// Returns what changes whenever routes are published.
    fn changes(&self) -> watch::Receiver<()> {
        self.0.own.changed.subscribe()
    }

    pub(super) fn host(&self) -> Option<Arc<dyn Host>> {
        self.0.own.host.get().cloned()
    }
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Own<B> {
    /// It is answered.
    Answer(Answer),
    /// It goes to this instance, whatever the routes say. If that is gone,
    /// [`conversations::unknown`] is the answer.
    To(Lease, B),
    /// It is for a model: find it and forward.
    NotOurs(B),
}

/// Answers a request if it is the gateway's own. One below `/chat/` is not, but for
/// the page's files: `parts` is then without that prefix.
pub async fn answer<B>(gateway: &Gateway, caller: &Caller, parts: &mut Parts, body: B) -> Own<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    if let Some(answer) = chat::answer(gateway, parts).await {
        return Own::Answer(answer);
    }
    let parts = &*parts;
    let path = decoded(parts.uri.path());
    match &*path {
        "/v1/stream" => return conversations::stream(gateway, caller, parts, body).await,
        "/" | "/health" | "/v1/health" | "/models" | "/v1/models" | "/models/sse" => {}
        "/running" | "/unload" | "/logs" | "/logs/stream" => {}
        "/models/load" | "/models/unload" | "/v1/streams/lookup" | "/api/models/unload" => {}
        // These are a model's where one is named.
        "/metrics" | "/props" | "/tools" if parameter(&parts.uri, "model").is_none() => {}
        "/upstream" | "/upstream/" => return Own::Answer(not_found(NOTHING)),
        _ if BELOW.iter().any(|prefix| path.starts_with(prefix)) => {}
        // A browser asks for icons by itself: they are no model's.
        _ if is_api(&path) || uses::is_of_page(&path) => return Own::Answer(not_found(NOTHING)),
        _ => return Own::NotOurs(body),
    }
    Own::Answer(match parts.method {
        Method::GET | Method::HEAD => match read(gateway, caller, parts, &path).await {
            Some(answer) => answer,
            None => wrong_method("POST", &format!("no GET changes anything: use POST {path}")),
        },
        // A POST to `/props` sets properties, so it needs a model's name.
        Method::POST if path != "/props" => match write(gateway, caller, &path, body).await {
            Some(answer) => answer,
            None => wrong_method("GET, HEAD", &format!("{path} can only be read: use GET")),
        },
        Method::POST => invalid("model name is missing from the request"),
        _ => wrong_method("GET, HEAD, POST", &format!("{} is not possible here", parts.method)),
    })
}

/// What is said of a path that is neither the gateway's nor a model's.
const NOTHING: &str = "nothing is here; the chat page is at /chat/, a model's own page at /upstream/NAME/";

/// Whether a path is kept for the gateway's own API.
fn is_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// Whether what answers at this path goes on for as long as its client wants.
#[must_use]
pub fn is_endless(path: &str) -> bool {
    let path = decoded(path);
    path == "/models/sse" || path == "/logs/stream" || path.starts_with("/logs/stream/")
}

/// What names something below it.
const BELOW: [&str; 3] = ["/v1/models/", "/api/models/unload/", "/logs/stream/"];

/// Answers what can be read; `None`: this path cannot.
async fn read(gateway: &Gateway, caller: &Caller, parts: &Parts, path: &str) -> Option<Answer> {
    Some(match path {
        "/" => answers::found("chat/"),
        "/health" | "/v1/health" => json(StatusCode::OK, &json!({"status": "ok"})),
        "/models" | "/v1/models" => models::list(gateway, caller),
        "/models/sse" => events::events(gateway, caller),
        "/props" => router::props(gateway, caller),
        "/tools" => router::tools(),
        "/metrics" => metrics(gateway, caller).await,
        "/running" => llama_swap::running(gateway, caller),
        "/logs" => logs::last(gateway, caller).await,
        _ => {
            if let Some(name) = path.strip_prefix("/v1/models/") {
                models::one(gateway, caller, name)
            } else if let Some(name) = path.strip_prefix("/logs/stream") {
                let has_history = parameter(&parts.uri, "no-history").is_none();
                logs::follow(gateway, caller, name.trim_start_matches('/'), has_history)
            } else {
                return None;
            }
        }
    })
}

/// Answers what changes something, or needs a body; `None`: this path does not.
async fn write<B>(gateway: &Gateway, caller: &Caller, path: &str, body: B) -> Option<Answer>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    Some(match path {
        "/models/load" => router::load(gateway, caller, body).await,
        "/models/unload" => router::unload(gateway, caller, body).await,
        "/tools" => router::tools(),
        "/v1/streams/lookup" => conversations::lookup(gateway, caller, body).await,
        "/unload" => llama_swap::unload_all(gateway, caller, text(StatusCode::OK, "OK")),
        "/api/models/unload" => llama_swap::unload_all(gateway, caller, json(StatusCode::OK, &json!({"msg": "ok"}))),
        _ => llama_swap::unload(gateway, caller, path.strip_prefix("/api/models/unload/")?),
    })
}

async fn metrics(gateway: &Gateway, caller: &Caller) -> Answer {
    // They name every model.
    if !caller.admin || !caller.models.iter().any(|pattern| pattern == "*") {
        return not_admin();
    }
    let Some(host) = gateway.host() else {
        return error(StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", "there are no metrics yet; try again");
    };
    // A pass may be counting.
    let metrics = tokio::task::spawn_blocking(move || host.metrics()).await;
    match metrics.unwrap_or_else(|_| Err("herdsman ends".to_owned())) {
        Ok(metrics) => answers::answer(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            super::super::body::full(metrics),
        ),
        Err(why) => error(StatusCode::INTERNAL_SERVER_ERROR, "server_error", &why),
    }
}

/// Returns what llama-server's router answers where a model does not run and the
/// client asks it not to load it (`autoload=false`).
pub(super) fn not_loaded(parts: &Parts) -> Option<Error> {
    parameter(&parts.uri, "autoload").map(|_| Error::invalid("model is not loaded"))
}

/// The largest body that the gateway reads for itself, bytes.
const SMALL: usize = 1 << 20;

/// Reads a body that is for the gateway itself.
async fn small_body<B>(body: B) -> Result<Bytes, Answer>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    match Limited::new(body, SMALL).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(problem) if problem.is::<http_body_util::LengthLimitError>() => {
            let message = format!("the body is larger than {SMALL} bytes");
            Err(error(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", &message))
        }
        Err(problem) => Err(invalid(&format!("the body does not arrive: {problem}"))),
    }
}
