//! The prose of a wait for a person who reads it now: how long it will take, who asked
//! for it and when, and which line is wrong. Where there is no clock, the `Display` of
//! the wait is the prose.

use std::time::Duration;

use super::{Invalid, ModelView};
use crate::model::text::{self, clock, local_time, printable};
use crate::model::{Given, Timestamp};
use crate::plan::WaitFor;

/// Returns what `model` waits for. The cause comes last, because a terminal may
/// have no room for it.
#[must_use]
pub fn wait(on: &WaitFor, model: &ModelView<'_>, now: Timestamp) -> String {
    match on {
        WaitFor::Backoff { until, crashes, was_ready, message } => {
            let failed = WaitFor::words_of_failures(*crashes, *was_ready);
            let (left, at) = (text::duration(now.until(*until)), clock(*until));
            format!("{failed}, next try in {left} (at {at}): {message}")
        }
        WaitFor::Drain { deadline, .. } => {
            format!("{on}, at most {} more", text::duration(now.until(*deadline)))
        }
        WaitFor::Room { deadline: Some(deadline), .. } => {
            format!("{on}, until {} at the latest", clock(*deadline))
        }
        WaitFor::IdleStop { until, .. } => {
            format!("{on}, in {} unless one comes", text::duration(now.until(*until)))
        }
        WaitFor::Definition { file, problem } => {
            let consequence = if model.live.is_some() { "keeps running unchanged" } else { "left unchanged" };
            let place = model.invalid.filter(|invalid| invalid.file == file);
            let place = place.as_ref().map_or_else(|| file.clone(), Invalid::place);
            format!("{consequence}: {place}: {problem}")
        }
        _ => wait_at(on, now),
    }
}

/// Returns what keeps `model` from starting when a request asks for it.
#[must_use]
pub fn on_request(on: &WaitFor, model: &ModelView<'_>, now: Timestamp) -> String {
    match on {
        WaitFor::Backoff { until, crashes, was_ready, message } => {
            let failed = WaitFor::words_of_failures(*crashes, *was_ready);
            let (left, at) = (text::duration(now.until(*until)), clock(*until));
            format!("{failed}, can start again in {left} (at {at}): {message}")
        }
        WaitFor::Definition { file, problem } => {
            let place = model.invalid.filter(|invalid| invalid.file == file);
            format!("{}: {problem}", place.as_ref().map_or_else(|| file.clone(), Invalid::place))
        }
        on => on.words_of_cause(),
    }
}

/// Returns what a model waits for, with the age of an override.
#[must_use]
pub fn wait_at(on: &WaitFor, now: Timestamp) -> String {
    by_hand(on, now).unwrap_or_else(|| on.to_string())
}

/// Returns the override and its age; `None`: the wait is for something else.
#[must_use]
pub fn by_hand(on: &WaitFor, now: Timestamp) -> Option<String> {
    let who = |given: &Given| {
        let by = format!("{}, {}", printable(&given.by), text::ago(now.since(given.at)));
        given.because.as_ref().map_or_else(|| by.clone(), |because| format!("{by}: {}", printable(because)))
    };
    match on {
        WaitFor::Suspended { given, until, removed, missing, edited } => {
            let until = until.map_or_else(String::new, |until| {
                format!("{} (in {}) or ", at(until, now), text::duration(now.until(until)))
            });
            let held_up = WaitFor::words_suspended(*removed, *missing, *edited);
            Some(format!("suspended until {until}`herdsman resume` ({}){held_up}", who(given)))
        }
        WaitFor::StateByHand { given, state } => {
            let (word, back) = WaitFor::words_by_hand(*state);
            Some(format!("{word} by hand until `herdsman {back}` or an edit of its definition ({})", who(given)))
        }
        _ => None,
    }
}

/// Returns a time where the reader is, with its date unless it is within half a day.
#[must_use]
pub fn at(at: Timestamp, now: Timestamp) -> String {
    if now.until(at) < Duration::from_secs(12 * 3600) { clock(at) } else { local_time(at) }
}
