//! The payload: what a command reads on standard input, and a webhook in its body. Its schema is `schema/notification.v1.json`.

use serde::Serialize;
use serde_json::Value;

use super::news::{Context, News};
use crate::database::Delivery;
use crate::model::text::printable;
use crate::model::{Channel, ColumnDrift, Letter, Origin, Status, Timestamp};

/// The version of the payload: it grows when a field changes its meaning or
/// goes; new ones may appear at any time.
const FORMAT_VERSION: u32 = 1;

/// Who sends.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The name of this machine.
    pub host: String,
    /// The id of the state directory.
    pub state_id: String,
}

impl Sender {
    /// This machine, with the state directory of that id.
    #[must_use]
    pub fn here(state_id: &str) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { host, state_id: state_id.to_owned() }
    }

    /// Makes the notification about `news`, with the last lines of the log.
    #[must_use]
    pub fn letter(&self, news: &News, id: String, at: Timestamp, log: Vec<String>, channels: Vec<Channel>) -> Letter {
        let News { model, kind, about: _, reason, context } = news;
        let Context { generation, serving, origins, death, crashes, drift, log: _ } = context;
        let body = Body {
            format_version: FORMAT_VERSION,
            id: &id,
            event: kind.as_str(),
            model: model.as_str(),
            time: time(at),
            host: &self.host,
            state_id: &self.state_id,
            generation: *generation,
            serving: *serving,
            reason: printable(reason),
            details: Details {
                origins,
                cause: death.as_ref().and_then(|death| serde_json::to_value(death.cause).ok()),
                crashes: *crashes,
                drift,
                log,
            },
        };
        // Strings and numbers: serialising cannot fail.
        let body = serde_json::to_string(&body).unwrap_or_default();
        Letter { id, at, model: model.clone(), kind: *kind, body, channels }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    format_version: u32,
    id: &'a str,
    event: &'a str,
    model: &'a str,
    time: String,
    host: &'a str,
    state_id: &'a str,
    generation: Option<u32>,
    serving: Option<u32>,
    reason: String,
    details: Details<'a>,
}

#[derive(Serialize)]
struct Details<'a> {
    origins: &'a [Origin],
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Value>,
    crashes: u32,
    drift: &'a [ColumnDrift],
    log: Vec<String>,
}

/// A recorded body as it is sent: with what the model does now.
#[must_use]
pub fn sent_body(body: &str, status: Option<Status>) -> String {
    let status = status.map_or(Value::Null, |status| status.as_str().into());
    match serde_json::from_str::<Value>(body) {
        Ok(Value::Object(mut fields)) => {
            fields.insert("status".to_owned(), status);
            Value::Object(fields).to_string()
        }
        // Somebody edited the database; the receiver sees it.
        _ => body.to_owned(),
    }
}

/// What a delivery is about, for logs: `chat (rolled back)`.
pub(super) fn subject(delivery: &Delivery) -> String {
    format!("{} ({})", delivery.model, delivery.kind.in_words())
}

/// Returns an address that is safe to show: without its path, which is where
/// webhooks carry their secret.
#[must_use]
pub fn address_of(url: &reqwest::Url) -> String {
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).map(|time| time.to_string()).unwrap_or_default()
}
