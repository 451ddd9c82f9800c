//! A wait as people read it; `tests/pure/words` pins every wording.

use std::fmt;
use std::time::Duration;

use super::WaitFor;
use crate::model::ModelName;
use crate::model::text::{duration, printable};

impl fmt::Display for WaitFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { pid, .. } => write!(f, "loading (pid {pid})"),
            Self::Drain { busy: Some(busy), .. } => {
                write!(f, "draining ({} in flight)", crate::model::text::count(*busy, "request"))
            }
            Self::Drain { busy: None, .. } => f.write_str("draining (in-flight requests unknown)"),
            Self::Answer { pid, deadline: None } => write!(f, "pid {pid} is alive but not responding"),
            Self::Answer { pid, deadline: Some(_) } => {
                write!(f, "pid {pid} is alive but not responding; will restart if this persists (unhealthy_after)")
            }
            Self::StartSlot => f.write_str("waiting for earlier starts (--parallel)"),
            Self::Weights { file, .. } => write!(f, "waiting for {file} to stay unchanged for 10 s"),
            Self::RestartSlot { model } => write!(f, "waiting for {model} to restart (--max-restarting)"),
            Self::PortOf { port, model } => write!(f, "waiting for {model} to release port {port}"),
            Self::Room { group, busy, .. } => {
                let (busy, are) = (names(busy), if busy.len() == 1 { "is" } else { "are" });
                write!(f, "waiting for room in group {} ({busy} {are} busy)", printable(group))
            }
            Self::NoRoom { group, holders } => {
                let (stop, holders) = (if holders.len() == 1 { "stops" } else { "stop" }, names(holders));
                write!(
                    f,
                    "no room in group {}: {holders} never {stop} for it; stop one or raise max_running",
                    printable(group)
                )
            }
            Self::IdleStop { after_ms, .. } => {
                write!(f, "stops after {} without requests", duration(Duration::from_millis(*after_ms)))
            }
            Self::Backoff { crashes, was_ready, message, .. } => {
                let failed = Self::words_of_failures(*crashes, *was_ready);
                write!(f, "{failed}, waiting to retry: {message}")
            }
            Self::Edit { generation, message, serving } => {
                write!(f, "generation {generation} failed: {message}; ")?;
                if let Some(serving) = serving {
                    write!(f, "generation {serving} is serving; ")?;
                }
                f.write_str("waiting for an edit (or --retry)")
            }
            Self::Sibling { model, origin } => write!(f, "not restarted: the same edit failed on {model}   {origin}"),
            Self::Port { port, holder } => {
                write!(f, "port {port} is in use by {holder}; stop it or choose another port")
            }
            Self::FreePort { range: (from, to) } => {
                write!(f, "no free port in {from}-{to}; widen --port-range or stop a model")
            }
            Self::Definition { file, problem } => write!(f, "left unchanged: {file}: {}", printable(problem)),
            Self::DeletionBlocked { file } => write!(f, "not deleted: {file} is invalid and may be its definition"),
            Self::Guard => f.write_str("refused by the mass-delete guard (--max-deletes)"),
            Self::Binary { problem, .. } => f.write_str(problem),
            Self::Policy { problem } => write!(f, "not started: {}", printable(problem)),
            Self::Accepted { message, origin } => write!(f, "left unchanged: {message}   {origin}"),
            Self::UnknownProcess { pid: Some(pid) } => {
                write!(
                    f,
                    "pid {pid} may be its server but cannot be identified (does `binary` change its environment or \
                     user?); stop it with `kill {pid}`"
                )
            }
            Self::UnknownProcess { pid: None } => {
                f.write_str("a process with an unreadable environment may be its server")
            }
            Self::ForeignInstance { pid } => {
                write!(f, "pid {pid} serves this definition for another state directory; stop it there first")
            }
            Self::OneRow { ids } => {
                let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
                write!(f, "database rows {} share this name; rename or delete all but one", ids.join(", "))
            }
            Self::BinaryUpgrade => {
                f.write_str("the llama-server binary changed on disk; restart with --upgrade-binary")
            }
            Self::Suspended { given, until, removed, missing, edited } => {
                let limit = if until.is_some() { "for a limited time or until" } else { "until" };
                write!(f, "suspended {limit} `herdsman resume` ({given})")?;
                f.write_str(Self::words_suspended(*removed, *missing, *edited))
            }
            Self::StateByHand { given, state } => {
                let (word, back) = Self::words_by_hand(*state);
                write!(f, "{word} by hand until `herdsman {back}` or an edit of its definition ({given})")
            }
        }
    }
}

impl WaitFor {
    /// Returns the cause alone, without what becomes of the model meanwhile.
    #[must_use]
    pub fn words_of_cause(&self) -> String {
        match self {
            Self::Backoff { crashes, was_ready, message, .. } => {
                format!("{}: {message}", Self::words_of_failures(*crashes, *was_ready))
            }
            Self::Definition { file, problem } => format!("{file}: {}", printable(problem)),
            Self::Policy { problem } => printable(problem).to_string(),
            Self::Accepted { message, origin } => format!("{message}   {origin}"),
            on => on.to_string(),
        }
    }
}

/// `a`, `a and b`, `a, b and c`.
fn names(models: &[ModelName]) -> String {
    match models {
        [] => "nobody".to_owned(),
        [one] => one.to_string(),
        [first @ .., last] => {
            let first: Vec<String> = first.iter().map(ToString::to_string).collect();
            format!("{} and {last}", first.join(", "))
        }
    }
}
