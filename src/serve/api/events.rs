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

use std::collections::{BTreeSet, HashSet};
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
use super::document::Document;
use super::models::{may_see, may_see_all, visible};
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
    /// The problem that it has heard of last; `None`: it comes back, and nobody knows.
    heard: Option<Option<String>>,
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
            heard: None,
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
                        self.look_at_key()?;
                        if let Some(seq) = self.has {
                            return Some(vec![message(seq, "\"type\":\"heartbeat\"")]);
                        }
                    }
                    _ = self.end.changed() => return None,
                }
            }
            self.look_at_key()?;
            let shown = Arc::clone(&self.board.borrow_and_update());
            if !shown.is_known {
                continue;
            }
            let messages = self.news(&shown);
            self.has = Some(shown.seq);
            self.heard = Some(shown.problem.clone());
            if !messages.is_empty() {
                return Some(messages);
            }
        }
    }

    /// Looks at its key, which may have been removed (`None`), or be for other models
    /// than before: then the client gets everything anew.
    fn look_at_key(&mut self) -> Option<()> {
        let caller = self.gateway.access().again(&self.caller)?;
        if caller.models != self.caller.models {
            self.has = None;
        }
        self.caller = caller;
        Some(())
    }

    fn news(&self, shown: &Shown) -> Vec<Message> {
        let Some((before, changed)) = self.has.and_then(|has| Some((has, shown.changed_since(has)?))) else {
            return vec![all(shown, &self.caller)];
        };
        let is_news = self.heard.as_ref().map_or(before != shown.seq, |heard| *heard != shown.problem);
        // Who knew of none of them does not hear of their end either.
        let concerns = |(_, names): &(_, &BTreeSet<&str>)| names.iter().any(|name| may_see(&self.caller, name));
        if !self.only_changes {
            let is_one = changed.iter().any(|change| concerns(&change));
            return if is_news || is_one { vec![all(shown, &self.caller)] } else { Vec::new() };
        }
        let here: Vec<_> =
            visible(&shown.models, &self.caller).filter(|model| changed.contains_key(model.key())).collect();
        let keys: HashSet<&str> = here.iter().map(|model| model.key()).collect();
        let gone = changed.iter().filter(|change| !keys.contains(change.0) && concerns(change));
        let model = |model: &&Arc<Document>| format!("\"type\":\"model\",\"data\":{}", model.json());
        let mut news: Vec<String> = here.iter().map(model).collect();
        news.extend(gone.map(|(key, _)| format!("\"type\":\"removed\",\"data\":{}", json!({"key": key}))));
        if is_news {
            news.push(format!("\"type\":\"problem\",\"problem\":{}", json!(shown.problem)));
        }
        let last = news.len().saturating_sub(1);
        let number = |at| if at == last { shown.seq } else { before };
        news.into_iter().enumerate().map(|(at, rest)| message(number(at), &rest)).collect()
    }
}

/// Every model that the caller may know of. What everybody may see is written once.
fn all(shown: &Shown, caller: &Caller) -> Message {
    let write = || {
        let data: Vec<_> = visible(&shown.models, caller).map(|model| model.json()).collect();
        let Shown { seq, epoch, problem, .. } = shown;
        let (problem, data) = (json!(problem), data.join(","));
        let rest = format!("\"type\":\"models\",\"epoch\":{epoch},\"problem\":{problem},\"data\":[{data}]");
        message(*seq, &rest).text
    };
    let text = if may_see_all(caller) { shown.whole.get_or_init(write).clone() } else { write() };
    Message { seq: shown.seq, text }
}

/// A message of this number; `rest` is the JSON of its other members.
fn message(seq: u64, rest: &str) -> Message {
    Message { seq, text: Bytes::from(format!("{{\"seq\":{seq},{rest}}}")) }
}
