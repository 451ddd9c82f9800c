//! The API: what there is to see and to do, for programs and the page.
//!
//! | file | holds |
//! |---|---|
//! | [`route`] | which paths there are |
//! | [`document`] | a model, in the store form and with what herdsman knows of it |
//! | [`board`] | what the last pass, the database and the requests say, numbered |
//! | [`models`] | the lists and one model |
//! | [`commands`] | start, stop, restart, suspend, resume |
//! | [`events`], [`socket`] | the board as it changes, by SSE or web socket |
//! | [`look`] | the plan, why, history: looks that take a moment |
//! | [`definitions`] | the definitions as they are |
//! | [`edit`], [`diagnostic`] | changing them, and what is wrong with a text |
//! | [`reconcile`] | a pass now, with limits |
//! | [`machine`] | memory, disks, llama-servers |
//! | [`activity`] | the last requests |
//! | `openapi` | the description of all this |
//!
//! Reading takes what the last pass left on the board: no request waits for a pass.
//! Writing leaves a command in the watcher's inbox: nobody else writes to the database.

pub mod activity;
pub mod board;
pub mod commands;
pub mod definitions;
pub mod diagnostic;
pub mod document;
pub mod edit;
pub mod events;
pub mod look;
pub mod machine;
pub mod models;
mod openapi;
pub mod reconcile;
pub mod route;
pub mod socket;

use std::path::PathBuf;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Bytes};
use hyper::header::{ALLOW, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use self::board::Board;
use self::edit::{Preview, Writing};
use self::reconcile::Reconciled;
use self::route::{Found, Route};
use super::access::Caller;
use super::body::{Answer, BodyError};
use super::gateway::Gateway;
use super::gateway::errors::{Error, Shape};
use super::gateway::own::answers::json;
use super::gateway::own::query::parameter;
use crate::database::ModelRow;
use crate::definition::{Edit, parse_duration};
use crate::model::ModelName;
use crate::pass::by_hand;
use crate::state::StateDir;
use crate::watch::permit::Permit;

/// The largest body that is an object, bytes.
const LARGEST_OBJECT: usize = 64 << 10;

/// The longest `?wait`.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// The most edits that wait for another one, and the most clients that wait for passes.
const MOST_WAITING: usize = 64;

/// What the API asks of the watcher it belongs to. Everything blocks, but for
/// [`Host::reconcile`] and [`Host::wake`].
pub trait Host: Send + Sync {
    /// Leaves a command for the next pass, and waits until it is recorded or refused;
    /// `None`: it could not be recorded, and the watcher's log says why.
    fn ask(&self, asked: by_hand::Asked) -> Option<by_hand::Answer>;

    /// Reads every row of the shared table, newest first.
    ///
    /// # Errors
    /// The database cannot be read: why.
    fn rows(&self) -> Result<Vec<ModelRow>, String>;

    /// Returns the document of `reconcile --dry-run --format json`.
    ///
    /// # Errors
    /// Something that it rests on cannot be read: why.
    fn plan(&self) -> Result<Value, String>;

    /// Returns the document of `why NAME --format json`.
    ///
    /// # Errors
    /// As [`Host::plan`]; nothing has the name.
    fn why(&self, model: &ModelName) -> Result<Value, String>;

    /// Returns the document of `history NAME --format json`.
    ///
    /// # Errors
    /// As [`Host::why`].
    fn history(&self, model: &ModelName) -> Result<Value, String>;

    /// Returns the directory of the definitions; `None`: they are read from Git.
    fn definitions(&self) -> Option<PathBuf>;

    /// Returns what an edit of the directory would do. Nothing is written, and no program
    /// runs.
    ///
    /// # Errors
    /// As [`Host::plan`].
    fn preview(&self, edit: Edit) -> Result<Preview, String>;

    /// Begins an edit that may be taken back: until the guard is dropped, no pass of the
    /// watcher reads the definitions.
    fn edits(&self) -> MutexGuard<'_, ()>;

    /// Has passes made under a permit, and returns what the last one says: `None` before
    /// the first. The watcher has ended if nothing more can come and it is not over.
    fn reconcile(&self, permit: Permit) -> watch::Receiver<Option<Reconciled>>;

    /// Has the watcher look again.
    fn wake(&self);

    /// Returns the state directory.
    fn state(&self) -> &StateDir;
}

/// The API of a watcher.
#[derive(Clone)]
pub struct Api {
    host: Arc<dyn Host>,
    gateway: Gateway,
    board: Board,
    writing: Writing,
    edits: Slots,
    reconciles: Slots,
}

/// Places for clients that wait.
#[derive(Clone)]
struct Slots(Arc<Semaphore>);

impl Slots {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST_WAITING)))
    }

    /// Takes a place until it is dropped.
    fn take(&self) -> Result<OwnedSemaphorePermit, Error> {
        let message = format!("{MOST_WAITING} requests like this one are under way; try again when one is over");
        let too_many = Error::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message);
        let too_many = Error { retry_after: Some(1), ..too_many.with_code("too_many_waiting") };
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| too_many)
    }
}

impl Api {
    /// Returns the API over what `board` shows.
    #[must_use]
    pub fn new(host: Arc<dyn Host>, gateway: Gateway, board: Board) -> Self {
        Self { host, gateway, board, writing: Writing::default(), edits: Slots::new(), reconciles: Slots::new() }
    }

    /// Keeps what it shows up to date until the runtime ends.
    pub async fn keep(self) {
        self.board.keep(self.host, self.gateway).await;
    }

    /// Asks the host, in a thread that may block.
    async fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&dyn Host) -> T + Send + 'static) -> Result<T, Error> {
        let host = Arc::clone(&self.host);
        let asked = tokio::task::spawn_blocking(move || ask(&*host)).await;
        asked.map_err(|_| unavailable("herdsman could not answer; its log says why"))
    }
}

/// A request to the API.
pub struct Asked<'r, B> {
    /// Who sends it.
    pub caller: &'r Caller,
    /// Its head.
    pub parts: &'r Parts,
    /// Its body.
    pub body: B,
    /// What becomes of its connection if that is to speak web socket.
    pub upgrade: OnUpgrade,
}

/// Answers a request below `/api`; gives it back if the path is not the API's.
///
/// # Errors
/// The request: it is for somebody else.
pub async fn answer<B>(api: &Api, asked: Asked<'_, B>) -> Result<Answer, (B, OnUpgrade)>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let Asked { caller, parts, body, upgrade } = asked;
    let route = match route::find(&parts.method, parts.uri.path()) {
        Found::NotOurs => return Err((body, upgrade)),
        Found::Nothing => return Ok(for_own_pages(Error::nothing_here().answer(Shape::Problem))),
        Found::WrongMethod(allowed) => return Ok(for_own_pages(wrong_method(&parts.method, allowed))),
        Found::Route(route) => route,
    };
    let answered = match route {
        Route::Models => models::list(api, caller, parts).await,
        Route::Model(key) => models::one(api, caller, parts, &key).await,
        Route::Command(key, command) => commands::give(api, caller, parts, &key, command, body).await,
        Route::Why(key) => look::why(api, caller, &key).await,
        Route::History(key) => look::history(api, caller, &key).await,
        Route::Logs(key) => look::logs(api, caller, parts, &key).await,
        Route::Plan => look::plan(api, caller).await,
        Route::Events => events::answer(api, caller, parts, upgrade).await,
        Route::Machine => machine::machine(api, caller).await,
        Route::Definitions => definitions::list(api, caller).await,
        Route::Definition(file) => definitions::one(api, caller, &file).await,
        Route::WriteDefinition(file) => edit::put(api, caller, parts, &file, body).await,
        Route::DeleteDefinition(file) => edit::delete(api, caller, parts, &file).await,
        Route::Reconcile => reconcile::reconcile(api, caller, parts, body).await,
        Route::Description => Ok(json(StatusCode::OK, &openapi::document())),
        Route::Activity => activity::list(api, caller, parts),
    };
    Ok(for_own_pages(answered.unwrap_or_else(|error| error.answer(Shape::Problem))))
}

/// Keeps an answer from pages of other sites: they cannot read it, and must not load it
/// as a script or an image either.
fn for_own_pages(mut answer: Answer) -> Answer {
    let headers = [("x-content-type-options", "nosniff"), ("cross-origin-resource-policy", "same-origin")];
    let headers = headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    answer.headers_mut().extend(headers);
    answer
}

fn wrong_method(method: &Method, allowed: &'static str) -> Answer {
    let message = format!("{method} is not possible here; use {allowed}");
    let error = Error::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message);
    let mut answer = error.answer(Shape::Problem);
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

/// Checks that the caller may change what runs.
fn require_admin(caller: &Caller) -> Result<(), Error> {
    let denied = |denied: super::access::Denied| {
        Error::new(StatusCode::FORBIDDEN, "permission_error", denied.to_string()).with_code("not_admin")
    };
    caller.require_admin().map_err(denied)
}

/// Checks that the caller may know of every model: `what` names them all.
fn require_all(caller: &Caller, what: &str) -> Result<(), Error> {
    if models::may_see_all(caller) {
        return Ok(());
    }
    let message = format!("{what} every model, and this key may not use all; use one with `models = [\"*\"]`");
    Err(Error::new(StatusCode::FORBIDDEN, "permission_error", message))
}

/// Returns who gives a command or a permit, for the history.
fn giver(caller: &Caller) -> String {
    caller.name.as_deref().unwrap_or("the API").to_owned()
}

/// 503, with why.
fn unavailable(why: &str) -> Error {
    Error::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", why)
}

/// Reads a body of at most so many bytes.
async fn collect<B>(body: B, most: usize) -> Result<Bytes, Error>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let collected = Limited::new(body, most).collect().await;
    Ok(collected.map_err(|problem| too_large_or_broken(problem, most))?.to_bytes())
}

fn too_large_or_broken(problem: BodyError, most: usize) -> Error {
    if !problem.is::<LengthLimitError>() {
        return Error::from_body(problem);
    }
    let message = format!("the body is larger than {most} bytes");
    Error::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
}

/// Reads a body that is a JSON object of this `shape`. None, an empty one and `{}` are
/// the same.
async fn object<T, B>(body: B, shape: &str) -> Result<T, Error>
where
    T: DeserializeOwned + Default,
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let bytes = collect(body, LARGEST_OBJECT).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    // Through an object: serde takes an array for a struct, too.
    let object = serde_json::from_slice::<Map<String, Value>>(&bytes);
    let read = object.and_then(|object| serde_json::from_value(object.into()));
    read.map_err(|problem| Error::invalid(format!("the body is not {shape}: {problem}")))
}

/// Reads `?wait=60s`.
fn wait(parts: &Parts) -> Result<Option<Duration>, Error> {
    let wait = parameter(&parts.uri, "wait").filter(|text| !text.is_empty());
    let wait = wait.map(|text| duration("wait", &text)).transpose()?;
    Ok(wait.map(|wait| wait.min(LONGEST_WAIT)))
}

fn duration(name: &str, text: &str) -> Result<Duration, Error> {
    parse_duration(text)
        .map_err(|problem| Error::invalid(format!("{name} {text:?}: {problem}; use a duration such as 30s or 2h")))
}

/// Reads a parameter of the query that is true or false; there without a value, it is true.
fn flag(parts: &Parts, name: &str) -> Result<bool, Error> {
    match parameter(&parts.uri, name).as_deref() {
        None | Some("false") => Ok(false),
        Some("" | "true") => Ok(true),
        Some(other) => Err(Error::invalid(format!("{name} {other:?}: expected true or false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_too_many_may_try_again_once_another_one_is_gone() {
        let slots = Slots::new();
        let mut taken: Vec<_> = (0..MOST_WAITING).map(|_| slots.take()).collect();
        assert!(taken.iter().all(Result::is_ok));
        let refused = slots.take().map(drop);
        assert!(matches!(&refused, Err(error) if error.status == 429 && error.retry_after.is_some()), "{refused:?}");
        taken.pop();
        assert!(slots.take().is_ok());
    }
}
