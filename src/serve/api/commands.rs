//! `POST /api/models/{key}/start`, `/stop`, `/restart`, `/suspend`, `/resume`: the
//! commands by hand, by way of the watcher's inbox.
//!
//! 202 says that the command is recorded; with `?wait=60s` the answer comes when the
//! model has got there or cannot: 200 and its state.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::body::{Body as HttpBody, Bytes};
use hyper::http::request::Parts;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use super::board::Shown;
use super::document::{ByHand, Document};
use super::models::{find, managed};
use super::route::Verb;
use super::{Api, duration, giver, object, require_admin, unavailable, wait};
use crate::model::{Given, ModelName, Status, Timestamp};
use crate::pass::by_hand::Asked;
use crate::plan::{Command, Refusal};
use crate::serve::access::Caller;
use crate::serve::body::{Answer, BodyError};
use crate::serve::gateway::errors::Error;
use crate::serve::gateway::own::answers::json as answer;

/// How long the answer waits for the pass that carries the command out.
const PASS: Duration = Duration::from_secs(2);

/// What a duration looks like, for the description: none of these is too long.
pub(super) const DURATION: &str = "^([0-9]{1,2}h)?([0-9]{1,4}m)?([0-9]{1,6}s)?([0-9]{1,8}ms)?$";

/// The body. None, an empty one and `{}` are the same.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    /// Why, for the history.
    #[serde(default)]
    reason: Option<String>,
    /// How long a suspension lasts, `2h`.
    #[serde(default, rename = "for")]
    #[schemars(length(min = 1), regex(pattern = DURATION))]
    lasts: Option<String>,
}

/// The body of all that is not a suspension, for the description.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct Reason {
    /// Why, for the history.
    #[schemars(default)]
    reason: Option<String>,
}

/// What became of a command.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Outcome {
    /// How far it is.
    outcome: Stage,
    /// The model now.
    model: Arc<Document>,
    /// What the next pass does to it, and what it waits for: its part of `GET /api/plan`.
    plan: Plan,
}

/// The part of a plan that is about one model.
#[derive(Debug, Default, Serialize, JsonSchema)]
struct Plan {
    actions: Vec<Value>,
    waiting: Vec<Value>,
}

impl Plan {
    /// Returns the part about `model`.
    fn of(model: &ModelName, plan: &Value) -> Self {
        let part = |name: &str| -> Vec<Value> {
            let all = plan[name].as_array().map(Vec::as_slice).unwrap_or_default();
            all.iter().filter(|one| one["model"] == model.as_str()).cloned().collect()
        };
        Self { actions: part("actions"), waiting: part("waiting") }
    }
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Stage {
    /// It is recorded.
    Accepted,
    /// It was waited for, and is not over yet.
    Waiting,
    /// The model is as the command wants it.
    Done,
    /// It will not be so until a person does something.
    Failed,
}

/// Gives a command.
pub(super) async fn give<B>(
    api: &Api,
    caller: &Caller,
    parts: &Parts,
    key: &str,
    verb: Verb,
    body: B,
) -> Result<Answer, Error>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let wait = wait(parts)?;
    let body: Body = object(body, "{\"reason\": TEXT, \"for\": DURATION}").await?;
    let model = managed(api, caller, key).await?;
    require_admin(caller)?;
    let command = command(verb, &body)?;
    let by = giver(caller);
    let at = Timestamp(jiff::Timestamp::now().as_millisecond());
    let asked = Asked { model: model.clone(), command, given: Given { by, at, because: body.reason } };
    // From before the command, so that no change after it is missed.
    let mut board = api.board.follow();
    let before = in_force(&board.borrow_and_update(), &model);
    let answered = api.ask(move |host| host.ask(asked)).await?;
    match answered {
        Some(Ok(changes)) => {
            if !changes.is_empty() {
                // The pass that has recorded it shows what it did; others show more.
                let shows_it = board.wait_for(|shown| in_force(shown, &model) != before);
                let _not_yet = tokio::time::timeout(PASS, shows_it).await;
            }
        }
        Some(Err(refusal)) => return Err(refused(&model, &refusal)),
        None => return Err(not_recorded(&mut board).await),
    }
    let until = wait.map(|wait| Instant::now() + wait);
    let mut outcome = Stage::Accepted;
    let mut document = shown(api, caller, &model)?;
    while let Some(until) = until {
        outcome = judge(&document, verb);
        if outcome != Stage::Waiting {
            break;
        }
        let left = until.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, board.changed()).await {
            Ok(Ok(())) => document = shown(api, caller, &model)?,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    let status =
        if matches!(outcome, Stage::Accepted | Stage::Waiting) { StatusCode::ACCEPTED } else { StatusCode::OK };
    // Without it, the answer still says what became of the command.
    let plan = api.ask(|host| host.plan()).await?.map(|plan| Plan::of(&model, &plan)).unwrap_or_default();
    Ok(answer(status, &Outcome { outcome, model: document, plan }))
}

/// 503: the pass that was to record a command failed; why is shown soon after.
async fn not_recorded(board: &mut watch::Receiver<Arc<Shown>>) -> Error {
    let failed = tokio::time::timeout(PASS, board.wait_for(|shown| shown.problem.is_some())).await;
    let why = failed.ok().and_then(Result::ok).and_then(|shown| shown.problem.clone());
    let why = why.as_deref().unwrap_or("the watcher's log says why");
    unavailable(&format!("the command was not recorded, so it has no effect: {why}"))
}

/// Returns what a command changes of a model: what is in force by hand, and its server.
fn in_force(shown: &Shown, model: &ModelName) -> Option<(Vec<ByHand>, Option<String>)> {
    let document = shown.models.iter().find(|document| document.store.name == model.as_str())?;
    let server = document.seen.instance.as_ref().map(|server| server.id.clone());
    Some((document.seen.by_hand.clone(), server))
}

/// Whether a model has got where the command wants it.
fn judge(model: &Document, verb: Verb) -> Stage {
    let is_ready = model.seen.instance.as_ref().is_some_and(|server| server.is_ready);
    let restarts = model.seen.by_hand.iter().any(|by_hand| by_hand.what == "restart");
    match verb {
        Verb::Stop if model.seen.instance.is_none() => Stage::Done,
        Verb::Start | Verb::Restart if is_ready && !restarts && model.store.status == Status::Running => Stage::Done,
        // There was nothing to replace, and nothing is to run now.
        Verb::Restart if !restarts && model.seen.instance.is_none() && model.seen.in_sync => Stage::Done,
        Verb::Start | Verb::Restart if has_failed(model) => Stage::Failed,
        Verb::Suspend | Verb::Resume => Stage::Done,
        _ => Stage::Waiting,
    }
}

/// Whether a model that is to run does not: until a person does something, or until the
/// next try.
fn has_failed(model: &Document) -> bool {
    let is_tried_again = model.seen.instance.is_none() && model.seen.next_try.is_some();
    model.store.status == Status::Error || model.seen.is_blocked || is_tried_again
}

fn command(verb: Verb, body: &Body) -> Result<Command, Error> {
    let lasts = body.lasts.as_deref().map(|text| duration("for", text)).transpose()?;
    if lasts.is_some() && verb != Verb::Suspend {
        return Err(Error::invalid("only a suspension has a \"for\""));
    }
    Ok(match verb {
        Verb::Start => Command::Start,
        Verb::Stop => Command::Stop,
        Verb::Restart => Command::Restart,
        Verb::Suspend => Command::Suspend(lasts),
        Verb::Resume => Command::Resume,
    })
}

fn shown(api: &Api, caller: &Caller, model: &ModelName) -> Result<Arc<Document>, Error> {
    find(&api.board.shown(), caller, model.as_str()).cloned()
}

fn refused(model: &ModelName, refusal: &Refusal) -> Error {
    let (status, kind) = match refusal {
        Refusal::Unknown => (StatusCode::NOT_FOUND, "not_found_error"),
        Refusal::Unresolved { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_request_error"),
        Refusal::Unmanaged | Refusal::Removed | Refusal::Suspended { .. } | Refusal::NotToRun => {
            (StatusCode::CONFLICT, "conflict_error")
        }
    };
    Error::new(status, kind, format!("{model}: {refusal}"))
}
