//! `/logs` and `/logs/stream[/NAME]`: what the servers write, as text.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::answers::{error, invalid, not_admin, text};
use super::models;
use super::stream::{Left, Writer, stream};
use crate::instance::{LogPart, LogReader};
use crate::model::ModelName;
use crate::serve::access::Caller;
use crate::serve::body::{Answer, Endless};
use crate::serve::gateway::Gateway;

/// How many of the last lines of each model come first.
const LINES: u64 = 100;

/// How often to look for new lines, while someone reads them.
const POLL: Duration = Duration::from_millis(500);

/// Which models' logs: one, or all that the caller may use, also later ones.
enum Whose {
    One(ModelName),
    All(Caller),
}

/// `GET /logs`: the last lines of every model.
pub(super) async fn last(gateway: &Gateway, caller: &Caller) -> Answer {
    match Follower::new(gateway, caller, "", true) {
        Ok(mut follower) => {
            let read = tokio::task::spawn_blocking(move || follower.last()).await;
            text(StatusCode::OK, String::from_utf8_lossy(&read.unwrap_or_default()))
        }
        Err(answer) => *answer,
    }
}

/// `GET /logs/stream[/NAME]`: the last lines if `history` is wanted, then new ones
/// as they come.
pub(super) fn follow(gateway: &Gateway, caller: &Caller, name: &str, history: bool) -> Answer {
    let follower = match Follower::new(gateway, caller, name, history) {
        Ok(follower) => follower,
        Err(answer) => return *answer,
    };
    followed(follower)
}

fn followed(follower: Follower) -> Answer {
    let (writer, body) = stream();
    tokio::spawn(write(follower, writer));
    let mut answer = super::answers::answer(StatusCode::OK, "text/plain; charset=utf-8", body);
    answer.extensions_mut().insert(Endless);
    answer.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    answer.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

/// The last `lines` of one model's log and, to follow it, what comes.
pub(in crate::serve) async fn of_model(
    gateway: &Gateway,
    logs: PathBuf,
    model: &ModelName,
    lines: u64,
    follows: bool,
) -> Answer {
    let whose = Whose::One(model.clone());
    let (gateway, lines) = (gateway.clone(), Some(lines));
    let mut follower = Follower { gateway, logs, whose, lines, readers: BTreeMap::new() };
    if follows {
        return followed(follower);
    }
    let read = tokio::task::spawn_blocking(move || follower.last()).await;
    text(StatusCode::OK, String::from_utf8_lossy(&read.unwrap_or_default()))
}

async fn write(mut follower: Follower, writer: Writer) -> Result<(), Left> {
    let mut end = follower.gateway.stream_end();
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let lines = follower.next();
            (follower, lines)
        });
        // The runtime ends.
        let Ok((again, lines)) = read.await else { return Ok(()) };
        follower = again;
        if !lines.is_empty() {
            tokio::select! {
                written = writer.write(lines) => written?,
                _ = end.changed() => return Ok(()),
            }
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            _ = end.changed() => return Ok(()),
            () = writer.left() => return Err(Left),
        }
    }
}

/// Reads logs as they grow.
struct Follower {
    gateway: Gateway,
    logs: PathBuf,
    whose: Whose,
    /// How many of the last lines of a log that is new to it; `None`: all.
    lines: Option<u64>,
    readers: BTreeMap<ModelName, LogReader>,
}

impl Follower {
    /// `name`: a model; empty or `upstream` (llama-swap's word): all of them.
    fn new(gateway: &Gateway, caller: &Caller, name: &str, history: bool) -> Result<Self, Box<Answer>> {
        if !caller.admin {
            return Err(Box::new(not_admin()));
        }
        let Some(host) = gateway.host() else {
            return Err(Box::new(error(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable_error",
                "there are no logs yet; try again",
            )));
        };
        let whose = match name {
            "" | "upstream" => Whose::All(caller.clone()),
            name => match models::find(&gateway.routes(), caller, name) {
                Some(route) => Whose::One(route.model.clone()),
                None => {
                    let message = format!("there is no log {name:?}: use a model's name, or none for all");
                    return Err(Box::new(invalid(&message)));
                }
            },
        };
        let lines = Some(if history { LINES } else { 0 });
        let logs = host.state().logs();
        Ok(Self { gateway: gateway.clone(), logs, whose, lines, readers: BTreeMap::new() })
    }

    /// Returns what was written since the last call.
    fn next(&mut self) -> Vec<u8> {
        self.look_for_logs();
        let prefixed = matches!(self.whose, Whose::All(_));
        let mut all = Vec::new();
        for (model, reader) in &mut self.readers {
            // A log that cannot be read now may be readable later.
            let lines = reader.read_on().unwrap_or_default();
            add(&mut all, &lines, prefixed.then_some(model));
        }
        all
    }

    /// Returns the last lines, and those that have not ended.
    fn last(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let lines = self.next();
            if lines.is_empty() {
                break;
            }
            all.extend(lines);
        }
        let prefixed = matches!(self.whose, Whose::All(_));
        for (model, reader) in &mut self.readers {
            add(&mut all, &reader.rest().unwrap_or_default(), prefixed.then_some(model));
        }
        all
    }

    fn look_for_logs(&mut self) {
        let models: Vec<ModelName> = match &self.whose {
            Whose::One(model) => vec![model.clone()],
            Whose::All(caller) => {
                let routes = self.gateway.routes();
                routes.all().map(|route| route.model.clone()).filter(|model| caller.may_use(model)).collect()
            }
        };
        self.readers.retain(|model, _| models.contains(model));
        for model in models {
            if !self.readers.contains_key(&model)
                && let Some(reader) = open(&self.logs, &model, self.lines)
            {
                self.readers.insert(model, reader);
            }
        }
        // A log that appears later is new from its first line.
        self.lines = None;
    }
}

/// `None`: it has no log yet.
fn open(logs: &Path, model: &ModelName, lines: Option<u64>) -> Option<LogReader> {
    LogReader::open(logs, model, LogPart::Whole, lines).ok().flatten()
}

/// Adds lines, each with its model if there are several.
fn add(all: &mut Vec<u8>, lines: &[u8], model: Option<&ModelName>) {
    let Some(model) = model else { return all.extend_from_slice(lines) };
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        all.extend_from_slice(format!("[{model}] ").as_bytes());
        all.extend_from_slice(line);
    }
}
