//! `GET /api/events`: the board as it changes, as server-sent events or over a web
//! socket.
//!
//! | message | when |
//! |---|---|
//! | `{"type":"models","seq":N,"epoch":E,"problem":P,"data":[…]}` | first, and after each change: every model |
//! | `{"type":"model","seq":N,"data":{…}}`, `{"type":"removed","seq":N,"data":{…}}` | instead, with `?changes=true`, after the first |
//! | `{"type":"problem","seq":N,"problem":P}` | with `?changes=true`: what is shown may be out of date; `null`: not any more |
//! | `{"type":"heartbeat","seq":N}` | when nothing happens |
//!
//! Who comes back with `?since=N` (or `Last-Event-ID`) gets what has changed since, or
//! everything if that is too long ago. Of several messages of one change only the last
//! has the new number: who saw only some of them gets all of them again.
//!
//! A reader costs the others nothing: it takes the newest board when it can, and one
//! that takes nothing for [`PATIENCE`] is disconnected.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use serde_json::json;
use tokio::sync::watch;

use super::board::Shown;
use super::models::{may_see, visible};
use super::{Api, socket};
use crate::serve::access::Caller;
use crate::serve::body::{Answer, Endless};
use crate::serve::gateway::Gateway;
use crate::serve::gateway::errors::Error;
use crate::serve::gateway::headers::asks_for_upgrade;
use crate::serve::gateway::own::answers::answer as respond;
use crate::serve::gateway::own::query::parameter;
use crate::serve::gateway::own::stream::{Left, Writer, stream};

/// How long nothing is sent at most.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a reader may take nothing.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Answers with events until the client leaves.
pub(super) async fn answer(api: &Api, caller: &Caller, parts: &Parts, upgrade: OnUpgrade) -> Result<Answer, Error> {
    let reader = Reader::new(api, caller, parts)?;
    if asks_for_upgrade(parts) {
        return socket::begin(reader, parts, upgrade);
    }
    let (writer, body) = stream();
    tokio::spawn(write(reader, writer));
    let mut answer = respond(StatusCode::OK, "text/event-stream", body);
    answer.extensions_mut().insert(Endless);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(answer)
}

async fn write(mut reader: Reader, writer: Writer) -> Result<(), Left> {
    loop {
        let messages = tokio::select! {
            messages = reader.next() => messages,
            () = writer.left() => return Err(Left),
        };
        let Some(messages) = messages else { return Ok(()) };
        for Message { seq, text } in messages {
            let mut event = format!("id: {seq}\ndata: ").into_bytes();
            event.extend_from_slice(&text);
            event.extend_from_slice(b"\n\n");
            let written = tokio::time::timeout(PATIENCE, writer.write(event)).await;
            written.map_err(|_| Left)??;
        }
    }
}

/// One message.
#[derive(Clone, Debug)]
pub(super) struct Message {
    /// What to come back with.
    seq: u64,
    /// Its JSON.
    pub text: Bytes,
}

/// Someone who follows the board.
pub(super) struct Reader {
    board: watch::Receiver<Arc<Shown>>,
    end: watch::Receiver<()>,
    gateway: Gateway,
    caller: Caller,
    only_changes: bool,
    /// What the client has, of this watcher.
    has: Option<u64>,
    problem: Option<String>,
    /// Whether something may have changed that was not looked at.
    is_behind: bool,
}

impl Reader {
    fn new(api: &Api, caller: &Caller, parts: &Parts) -> Result<Self, Error> {
        let number = |text: &str| {
            text.parse().map_err(|_| Error::invalid(format!("since {text:?} is not the number of a message")))
        };
        let last = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok());
        let since = parameter(&parts.uri, "since");
        let since: Option<u64> = since.as_deref().or(last).filter(|text| !text.is_empty()).map(number).transpose()?;
        let only_changes = match parameter(&parts.uri, "changes").as_deref() {
            None | Some("false") => false,
            Some("" | "true") => true,
            Some(other) => return Err(Error::invalid(format!("changes {other:?}: expected true or false"))),
        };
        let board = api.board.follow();
        let has = since.filter(|since| board.borrow().changed_since(*since).is_some());
        Ok(Self {
            board,
            end: api.gateway.stream_end(),
            gateway: api.gateway.clone(),
            caller: caller.clone(),
            only_changes,
            has,
            problem: None,
            is_behind: true,
        })
    }

    /// Waits for the next messages; `None`: there are no more, the client comes back.
    pub async fn next(&mut self) -> Option<Vec<Message>> {
        loop {
            if !std::mem::take(&mut self.is_behind) {
                tokio::select! {
                    changed = self.board.changed() => changed.ok()?,
                    () = tokio::time::sleep(HEARTBEAT) => {
                        self.caller = self.gateway.access().again(&self.caller)?;
                        let seq = self.has.unwrap_or_default();
                        return Some(vec![message(seq, &json!({"type": "heartbeat", "seq": seq}))]);
                    }
                    _ = self.end.changed() => return None,
                }
            }
            // Its key may have been removed, or changed.
            self.caller = self.gateway.access().again(&self.caller)?;
            let shown = Arc::clone(&self.board.borrow_and_update());
            if !shown.is_known {
                continue;
            }
            let messages = self.news(&shown);
            self.has = Some(shown.seq);
            self.problem.clone_from(&shown.problem);
            if !messages.is_empty() {
                return Some(messages);
            }
        }
    }

    fn news(&self, shown: &Shown) -> Vec<Message> {
        let Some((before, changed)) = self.has.and_then(|has| Some((has, shown.changed_since(has)?))) else {
            return vec![all(shown, &self.caller)];
        };
        let is_news = shown.problem != self.problem;
        let concerns = || changed.iter().any(|key| self.may_see(shown, key));
        if !self.only_changes {
            return if is_news || concerns() { vec![all(shown, &self.caller)] } else { Vec::new() };
        }
        let mut news = Vec::new();
        for key in changed {
            match shown.find(key) {
                Some(model) if may_see(&self.caller, &model.store.name) => {
                    news.push(json!({"type": "model", "data": model}));
                }
                Some(_) => {}
                // Nobody says any more whose it was; a key tells nothing else.
                None => news.push(json!({"type": "removed", "data": {"key": key}})),
            }
        }
        if is_news {
            news.push(json!({"type": "problem", "problem": shown.problem}));
        }
        let last = news.len().saturating_sub(1);
        let numbered = news.into_iter().enumerate().map(|(at, mut news)| {
            let seq = if at == last { shown.seq } else { before };
            news["seq"] = json!(seq);
            message(seq, &news)
        });
        numbered.collect()
    }

    fn may_see(&self, shown: &Shown, key: &str) -> bool {
        shown.find(key).is_none_or(|model| may_see(&self.caller, &model.store.name))
    }
}

/// Every model that the caller may know of. What everybody may see is written once.
fn all(shown: &Shown, caller: &Caller) -> Message {
    let write = || {
        let data: Vec<_> = visible(&shown.models, caller).collect();
        let Shown { seq, epoch, problem, .. } = shown;
        message(*seq, &json!({"type": "models", "seq": seq, "epoch": epoch, "problem": problem, "data": data})).text
    };
    let sees_all = caller.models.iter().any(|pattern| pattern == "*");
    let text = if sees_all { shown.whole.get_or_init(write).clone() } else { write() };
    Message { seq: shown.seq, text }
}

fn message(seq: u64, value: &serde_json::Value) -> Message {
    Message { seq, text: Bytes::from(value.to_string()) }
}
