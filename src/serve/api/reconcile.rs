//! `POST /api/reconcile`: a pass now, with the limits of `reconcile`, by way of the
//! watcher's inbox. It is also the permission that a plan waits for.
//!
//! The limits hold until everything is at rest, as in one run of `reconcile`; the answer
//! comes after the first pass or, with `?wait=60s`, when everything is at rest: 200, else
//! 202. A client that waits holds no thread.

use std::time::Duration;

use hyper::StatusCode;
use hyper::body::{Body as HttpBody, Bytes};
use hyper::http::request::Parts;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Number, Value};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::{Api, giver, object, require_admin, require_all, unavailable, wait};
use crate::plan::MaxDeletes;
use crate::serve::access::Caller;
use crate::serve::body::{Answer, BodyError};
use crate::serve::gateway::errors::Error;
use crate::serve::gateway::own::answers::json as answer;
use crate::watch::permit::Permit;

/// The limits, as the options of `reconcile`. None, an empty body and `{}` are the same:
/// those that the watcher has.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Body {
    /// Retry failed generations and crashed models now.
    retry: bool,
    /// Allow this many deletions (`3`), or this share of the managed models (`"20%"`).
    #[schemars(schema_with = "most_schema")]
    max_deletes: Option<Value>,
    /// Start at most this many models at a time.
    #[schemars(range(min = 1, max = u32::MAX))]
    #[serde(deserialize_with = "whole")]
    parallel: Option<usize>,
    /// Restart at most this many models at a time.
    #[schemars(range(min = 1, max = u32::MAX))]
    #[serde(deserialize_with = "whole")]
    max_restarting: Option<usize>,
    /// Restart servers whose llama-server binary changed on disk.
    upgrade_binary: bool,
}

fn most_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": u32::MAX},
            {"type": "string", "pattern": "^(100|[0-9]{1,2})%$"},
            {"type": "null"},
        ]
    })
}

/// What became of a permit.
#[derive(Clone, Debug)]
pub enum Reconciled {
    /// Everything is at rest: the document of `reconcile --format json`.
    Over(Value),
    /// The same as far as it is.
    UnderWay(Value),
    /// The same, and its limits no longer hold: not everything came to rest in time.
    OutOfTime(Value),
    /// Another one with other limits is in force, given by this name.
    Busy(String),
    /// A pass failed: why.
    Failed(String),
}

/// Makes a pass.
pub(super) async fn reconcile<B>(api: &Api, caller: &Caller, parts: &Parts, body: B) -> Result<Answer, Error>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    const SHAPE: &str = "{\"retry\": BOOLEAN, \"max_deletes\": NUMBER or \"N%\", \"parallel\": NUMBER, \
                         \"max_restarting\": NUMBER, \"upgrade_binary\": BOOLEAN}";
    require_admin(caller)?;
    require_all(caller, "a pass acts on")?;
    let wait = wait(parts)?;
    let body: Body = object(body, SHAPE).await?;
    let by = giver(caller);
    let permit = permit(body, by)?;
    let _place = api.reconciles.take()?;
    match outcome(api.host.reconcile(permit), wait).await {
        Reconciled::Over(document) => Ok(answer(StatusCode::OK, &document)),
        Reconciled::UnderWay(document) | Reconciled::OutOfTime(document) => Ok(answer(StatusCode::ACCEPTED, &document)),
        Reconciled::Busy(by) => {
            let message = format!("a reconcile by {by} with other limits is under way; try again when it is over");
            Err(Error::new(StatusCode::CONFLICT, "conflict_error", message))
        }
        Reconciled::Failed(why) => Err(unavailable(&why)),
    }
}

/// Waits for the first pass, or for `wait` until everything is at rest.
async fn outcome(mut said: watch::Receiver<Option<Reconciled>>, wait: Option<Duration>) -> Reconciled {
    let until = Instant::now() + wait.unwrap_or_default();
    let ended = |before: &str| Reconciled::Failed(format!("the watcher ended before {before}; start it again"));
    let Ok(Some(first)) = said.wait_for(Option::is_some).await.map(|first| first.clone()) else {
        return ended("a pass was made");
    };
    if wait.is_none() {
        return first;
    }
    let is_last = |said: &Option<Reconciled>| !matches!(said, None | Some(Reconciled::UnderWay(_)));
    let last = match timeout_at(until, said.wait_for(is_last)).await {
        Ok(Ok(last)) => last.clone(),
        Ok(Err(_)) => return ended("everything was at rest"),
        Err(_) => None,
    };
    last.or_else(|| said.borrow().clone()).unwrap_or(first)
}

fn permit(body: Body, by: String) -> Result<Permit, Error> {
    let Body { retry, max_deletes, parallel, max_restarting, upgrade_binary } = body;
    for (name, limit) in [("parallel", parallel), ("max_restarting", max_restarting)] {
        if limit == Some(0) {
            return Err(Error::invalid(format!("{name} must be at least 1")));
        }
    }
    let max_deletes = max_deletes.map(|value| most(&value)).transpose()?;
    Ok(Permit { by, retry, max_deletes, parallel, max_restarting, upgrade_binary })
}

/// Returns a whole number; in JSON, 3.0 is one, too.
fn count(number: &Number) -> Option<usize> {
    let value = number.as_f64().filter(|value| value.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(value))?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole, and in range")]
    usize::try_from(value as u32).ok()
}

fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else { return Ok(None) };
    count(&number).map(Some).ok_or_else(|| de::Error::custom(format!("{number} is not a whole number")))
}

fn most(value: &Value) -> Result<MaxDeletes, Error> {
    let number = || count(value.as_number()?).map(MaxDeletes::Count);
    let share = || value.as_str()?.strip_suffix('%')?.parse().ok().filter(|share| *share <= 100);
    number().or_else(|| share().map(MaxDeletes::Percent)).ok_or_else(|| {
        Error::invalid(format!(
            "max_deletes {value}: expected a number of models such as 3, or a share such as \"20%\""
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::sync::watch::channel;

    use super::*;

    /// What comes of a wait if this is said, one after the other, and then nothing.
    async fn after(said: &[Reconciled], wait: Option<u64>) -> String {
        let (send, receive) = channel(None);
        let waits = tokio::spawn(outcome(receive, wait.map(Duration::from_secs)));
        for one in said {
            // On a runtime of one thread, it hears of each.
            tokio::task::yield_now().await;
            let _answered = send.send(Some(one.clone()));
        }
        tokio::task::yield_now().await;
        drop(send);
        format!("{:?}", waits.await)
    }

    #[tokio::test]
    async fn the_answer_is_the_first_pass_or_the_last_one_within_the_wait() {
        let (one, two) = (Reconciled::UnderWay(json!(1)), Reconciled::UnderWay(json!(2)));
        let (over, late) = (Reconciled::Over(json!(3)), Reconciled::OutOfTime(json!(3)));
        let all = [one.clone(), two, over];
        assert_eq!(after(&all, None).await, "Ok(UnderWay(Number(1)))");
        assert_eq!(after(&all, Some(600)).await, "Ok(Over(Number(3)))");
        assert_eq!(after(&[one.clone(), late], Some(600)).await, "Ok(OutOfTime(Number(3)))");
        assert!(after(&[], Some(600)).await.contains("before a pass was made"));
        assert!(after(std::slice::from_ref(&one), Some(600)).await.contains("before everything was at rest"));
        let (_send, receive) = channel(Some(one));
        assert!(matches!(outcome(receive, Some(Duration::from_millis(1))).await, Reconciled::UnderWay(_)));
    }
}
