//! The tables `herdsman_troubles` and `herdsman_notifications`: notifications sent
//! and pending.
//!
//! A row is written in the transaction of its event, and removed once it is
//! delivered; one that was given up is kept for [`KEPT`], to be shown.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Problem;
use super::fields::{name, time, unreadable, word};
use crate::model::{Announced, Channel, Letter, ModelName, NewsKind, Status, Telling, Timestamp, Trouble};

/// How long a given-up notification is shown.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Since when there is a receiver, in `herdsman_meta`.
const SINCE: &str = "notifies_since";

/// A notification to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its row.
    pub number: i64,
    /// The same id on every try.
    pub id: String,
    /// The model.
    pub model: String,
    /// The kind of event.
    pub kind: NewsKind,
    /// When it happened.
    pub at: Timestamp,
    /// The recorded payload.
    pub body: String,
    /// How often delivery has failed.
    pub failures: u32,
    /// When to try next.
    pub next_try: Timestamp,
    /// What the model is doing now; `None`: the model no longer exists.
    pub status: Option<Status>,
}

/// The result of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It was delivered.
    Yes,
    /// It failed, and will be retried.
    Later {
        /// The reason.
        error: String,
        /// When to retry.
        next_try: Timestamp,
    },
    /// It failed, and will not be retried.
    Never {
        /// The reason.
        error: String,
    },
}

/// What has not been delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Undelivered {
    /// How many are pending.
    pub pending: u32,
    /// How many were given up.
    #[serde(rename = "failed")]
    pub given_up: u32,
    /// The error of the last one.
    pub last_error: Option<String>,
}

pub(super) fn put(connection: &Connection, telling: &Telling, now: Timestamp) -> Result<(), Problem> {
    match telling {
        Telling::Begin => {
            let sql = "INSERT OR IGNORE INTO herdsman_meta (key, value) VALUES (?1, ?2)";
            connection.execute(sql, params![SINCE, now.0.to_string()])?;
        }
        Telling::Open { model, kind, about, at, letter } => {
            let sql = "INSERT INTO herdsman_troubles (name, kind, about, told, since) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (name, kind) DO UPDATE
                 SET about = excluded.about, told = excluded.told, since = excluded.since";
            connection.execute(sql, params![model.as_str(), kind.as_str(), about, letter.is_some(), at.0])?;
            letter.iter().try_for_each(|letter| post(connection, letter))?;
        }
        Telling::Close { model, letter } => {
            connection.execute("DELETE FROM herdsman_troubles WHERE name = ?1", [model.as_str()])?;
            letter.iter().try_for_each(|letter| post(connection, letter))?;
        }
    }
    Ok(())
}

fn post(connection: &Connection, letter: &Letter) -> Result<(), Problem> {
    let Letter { id, at, model, kind, body, channels } = letter;
    let mut statement = connection.prepare_cached(
        "INSERT INTO herdsman_notifications (id, channel, name, kind, at, body, next_try)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5)",
    )?;
    for channel in channels {
        statement.execute(params![id, channel.as_str(), model.as_str(), kind.as_str(), at.0, body])?;
    }
    Ok(())
}

pub(super) fn known(connection: &Connection) -> Result<Announced, Problem> {
    let begun = connection
        .query_row("SELECT EXISTS (SELECT 1 FROM herdsman_meta WHERE key = ?1)", [SINCE], |row| row.get(0))?;
    let mut statement = connection
        .prepare_cached("SELECT name, kind, about, told, since FROM herdsman_troubles ORDER BY name, kind")?;
    let mut rows = statement.query([])?;
    let mut troubles = BTreeMap::<_, Vec<_>>::new();
    while let Some(row) = rows.next()? {
        let (name, trouble) = trouble(row).map_err(|error| unreadable("herdsman_troubles", "?", error))?;
        troubles.entry(name).or_default().push(trouble);
    }
    Ok(Announced { begun, troubles })
}

fn trouble(row: &Row<'_>) -> rusqlite::Result<(ModelName, Trouble)> {
    let kind = word(row, 1, &NewsKind::ALL, NewsKind::as_str)?;
    Ok((name(row, 0)?, Trouble { kind, about: row.get(2)?, is_announced: row.get(3)?, since: time(row, 4)? }))
}

/// Returns the oldest notification to be delivered by `channel`, due or not: a
/// receiver hears of events in order.
pub(super) fn next(connection: &Connection, channel: Channel) -> Result<Option<Delivery>, Problem> {
    let mut statement = connection.prepare_cached(
        "SELECT n.number, n.id, n.name, n.kind, n.at, n.body, n.failures, n.next_try, m.status
         FROM herdsman_notifications n LEFT JOIN herdsman_models m ON m.name = n.name
         WHERE n.channel = ?1 AND n.given_up_at IS NULL ORDER BY n.number LIMIT 1",
    )?;
    statement
        .query_row([channel.as_str()], delivery)
        .optional()
        .map_err(|error| unreadable("herdsman_notifications", channel.as_str(), error))
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    let status = match row.get_ref(8)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(word(row, 8, &Status::ALL, Status::as_str)?),
    };
    Ok(Delivery {
        number: row.get(0)?,
        id: row.get(1)?,
        model: row.get(2)?,
        kind: word(row, 3, &NewsKind::ALL, NewsKind::as_str)?,
        at: time(row, 4)?,
        body: row.get(5)?,
        failures: row.get(6)?,
        next_try: time(row, 7)?,
        status,
    })
}

pub(super) fn settle(connection: &Connection, number: i64, how: &Delivered, now: Timestamp) -> Result<(), Problem> {
    match how {
        Delivered::Yes => connection.execute("DELETE FROM herdsman_notifications WHERE number = ?1", [number])?,
        Delivered::Later { error, next_try } => connection.execute(
            "UPDATE herdsman_notifications SET failures = failures + 1, error = ?2, next_try = ?3 WHERE number = ?1",
            params![number, error, next_try.0],
        )?,
        Delivered::Never { error } => connection.execute(
            "UPDATE herdsman_notifications SET failures = failures + 1, error = ?2, given_up_at = ?3 WHERE number = ?1",
            params![number, error, now.0],
        )?,
    };
    connection.execute("DELETE FROM herdsman_notifications WHERE given_up_at < ?1", [oldest(now).0])?;
    Ok(())
}

/// Deletes what was given up before this time.
fn oldest(now: Timestamp) -> Timestamp {
    now.shifted(-i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX))
}

pub(super) fn undelivered(connection: &Connection, now: Timestamp) -> Result<Undelivered, Problem> {
    let sql = "SELECT count(*) FILTER (WHERE given_up_at IS NULL), count(*) FILTER (WHERE given_up_at >= ?1)
         FROM herdsman_notifications";
    let counts = |row: &Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?));
    let (pending, given_up) = connection.query_row(sql, [oldest(now).0], counts)?;
    let sql = "SELECT error FROM herdsman_notifications
         WHERE error IS NOT NULL AND (given_up_at IS NULL OR given_up_at >= ?1)
         ORDER BY given_up_at IS NULL, given_up_at DESC, number DESC LIMIT 1";
    let last_error = connection.query_row(sql, [oldest(now).0], |row| row.get(0)).optional()?;
    Ok(Undelivered { pending, given_up, last_error })
}
