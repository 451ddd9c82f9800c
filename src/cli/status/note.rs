//! The words of the last column: what a model waits for, and when that ends.

use std::time::Duration;

use crate::model::text;
use crate::model::{Given, Severity, Timestamp};
use crate::pass::Pass;
use crate::plan::WaitFor;

/// The prose of a wait, with what a person wants to know now: how long it
/// still takes, and where the problem is. The cause comes last, since a
/// terminal may have no room for it. `lives`: its server does.
pub(super) fn of_wait(wait: &WaitFor, seen: &Pass, lives: bool) -> String {
    match wait {
        WaitFor::Backoff { until, crashes, was_ready, message } => {
            let failed = WaitFor::words_of_failures(*crashes, *was_ready);
            let (left, at) = (text::duration(seen.now.until(*until)), clock(*until));
            format!("{failed}, next try in {left} (at {at}): {message}")
        }
        WaitFor::Drain { deadline, .. } => {
            format!("{wait} (at most {} more)", text::duration(seen.now.until(*deadline)))
        }
        WaitFor::Definition { file, problem } => {
            let consequence = if lives { "keeps running unchanged" } else { "left unchanged" };
            format!("{consequence}: {}: {problem}", place(file, seen))
        }
        _ => by_hand(wait, seen.now).unwrap_or_else(|| wait.to_string()),
    }
}

/// The prose of what was asked for by hand, with when; `None`: it is something
/// else.
pub(in crate::cli) fn by_hand(wait: &WaitFor, now: Timestamp) -> Option<String> {
    let who = |given: &Given| {
        let by = format!("{}, {} ago", text::printable(&given.by), text::duration(now.since(given.at)));
        let because = given.because.as_ref();
        because.map_or_else(|| by.clone(), |because| format!("{by}: {}", text::printable(because)))
    };
    match wait {
        WaitFor::Suspended { given, until, removed, missing, edited } => {
            let until = until.map_or_else(String::new, |until| {
                format!(" until {} (in {})", at(until, now), text::duration(now.until(until)))
            });
            let held_up = WaitFor::words_suspended(*removed, *missing, *edited);
            Some(format!("suspended{until} ({}){held_up}; ends with `herdsman resume`", who(given)))
        }
        WaitFor::StateByHand { given, state } => {
            let (word, back) = WaitFor::words_by_hand(*state);
            let who = who(given);
            Some(format!("{word} by hand ({who}); ends with an edit of its definition or `herdsman {back}`"))
        }
        _ => None,
    }
}

/// The file, and the line of its first error.
pub(super) fn place(file: &str, seen: &Pass) -> String {
    let diagnostics = seen.desired.iter().flat_map(|desired| &desired.diagnostics);
    let first = diagnostics.into_iter().find(|d| *d.file == *file && d.severity == Severity::Error);
    match first.and_then(|diagnostic| diagnostic.position()) {
        Some((line, _)) => format!("{file}:{line}"),
        None => file.to_owned(),
    }
}

/// A time where the reader is: with its date, if that is not today's or so.
pub(in crate::cli) fn at(at: Timestamp, now: Timestamp) -> String {
    if now.until(at) < Duration::from_secs(12 * 3600) { clock(at) } else { text::local_time(at) }
}

/// The time of day where the reader is.
pub(super) fn clock(at: Timestamp) -> String {
    let Ok(at) = jiff::Timestamp::from_millisecond(at.0) else { return "?".to_owned() };
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string()
}
