//! `GET /models/sse`: says when a model loads, is loaded, is unloaded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use serde_json::{Value, json};

use super::answers::answer;
use super::models;
use super::stream::{Left, Writer, stream};
use crate::model::ModelName;
use crate::serve::access::Caller;
use crate::serve::body::{Answer, Endless};
use crate::serve::gateway::{Gateway, Routes, Standing};

/// How often a comment is sent when nothing happens, so that proxies in between do
/// not close the stream.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The status of each model.
type Statuses = BTreeMap<ModelName, &'static str>;

/// Answers with an event stream that lasts as long as the client wants it.
pub(super) fn events(gateway: &Gateway, caller: &Caller) -> Answer {
    let (writer, body) = stream();
    let (written, mut end) = (write(gateway.clone(), caller.clone(), writer), gateway.stream_end());
    tokio::spawn(async move {
        tokio::select! {
            _left = written => {}
            // Also in the middle of an event that the client does not read.
            _ = end.changed() => {}
        }
    });
    let mut answer = answer(StatusCode::OK, "text/event-stream", body);
    answer.extensions_mut().insert(Endless);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

async fn write(gateway: Gateway, caller: Caller, writer: Writer) -> Result<(), Left> {
    let mut changes = gateway.changes();
    let mut known = statuses(&gateway.routes(), &caller);
    // So that the client sees the headers at once.
    writer.write(": events follow\n\n").await?;
    loop {
        let changed = tokio::select! {
            changed = changes.changed() => changed.is_ok(),
            () = tokio::time::sleep(HEARTBEAT) => {
                writer.write(":\n\n").await?;
                continue;
            }
            () = writer.left() => return Err(Left),
        };
        if !changed {
            return Ok(());
        }
        let routes = Arc::clone(&gateway.routes());
        let now = statuses(&routes, &caller);
        for event in news(&gateway, &caller, &known, &now, &routes).await {
            writer.write(format!("data: {event}\n\n")).await?;
        }
        known = now;
    }
}

fn statuses(routes: &Routes, caller: &Caller) -> Statuses {
    models::visible(routes, caller).map(|route| (route.model.clone(), models::status(&route.standing))).collect()
}

/// Returns the events between two looks, in order of name.
async fn news(gateway: &Gateway, caller: &Caller, before: &Statuses, now: &Statuses, routes: &Routes) -> Vec<Value> {
    let mut events = Vec::new();
    if before.keys().ne(now.keys()) {
        // Clients ask for the list again.
        events.push(json!({"model": "*", "event": "models_reload", "data": {}}));
    }
    for (model, status) in now {
        if before.get(model).is_none_or(|before| before == status) {
            continue;
        }
        let mut data = json!({"status": status});
        match *status {
            "loaded" => {
                let Some(route) = routes.find(model.as_str()) else { continue };
                if let Standing::Ready(backend) = &route.standing {
                    gateway.learn_of(backend).await;
                }
                data["info"] = json!(models::entry(gateway, caller, route));
            }
            "unloaded" => data["exit_code"] = json!(0),
            _ => {}
        }
        events.push(json!({"model": model, "event": "status_change", "data": data}));
    }
    events
}
