//! What changed since a plan was saved, in words.

use std::fmt;

use super::compare::{Changed, Difference};
use super::fingerprint::Live;
use crate::model::ColumnDrift;
use crate::model::text::printable;
use crate::plan::Reason;

/// The most differences of one definition to list; of more, only the number.
const MOST_FIELDS: usize = 5;

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateDirectory { made_for, here } if made_for == here => {
                write!(f, "it was made for another state directory at {}, or on another host", printable(made_for))
            }
            Self::StateDirectory { made_for, here } => {
                write!(f, "it was made for the state directory {}, not for {here}", printable(made_for))
            }
            Self::ModelsDirectory { made_for, here } => {
                write!(f, "it was made from {}, not from {here}", printable(made_for))
            }
            Self::StrayFile { file, now: true } => {
                write!(f, "{} is new and invalid, and may stand for any model", printable(file))
            }
            Self::StrayFile { file, now: false } => {
                write!(f, "{} was invalid, and is now fixed or gone", printable(file))
            }
            Self::Model(model, difference) => write!(f, "{model}: {difference}"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declared { file } => write!(f, "{} now defines it", printable(file)),
            Self::NotDeclared { file } => write!(f, "{} is gone or no longer defines it", printable(file)),
            Self::Broken { file } => write!(f, "{} is now invalid", printable(file)),
            Self::Fixed { file } => write!(f, "{} is now valid", printable(file)),
            Self::Definition { file, fields } if fields.is_empty() => {
                write!(f, "its definition changed: a secret's value or location ({})", printable(file))
            }
            Self::Definition { fields, .. } => {
                write!(f, "its definition changed: ")?;
                listed(f, fields)
            }
            Self::Recorded { generation } => write!(f, "it now has a record (generation {generation})"),
            Self::NotRecorded => f.write_str("its record is gone"),
            Self::Generation { then, now } if then == now => {
                write!(f, "its generation {now} is not the same as before")
            }
            Self::Generation { then, now } => write!(f, "its generation is now {now}, was {then}"),
            Self::Outcome { generation, failed: true } => write!(f, "its generation {generation} failed"),
            Self::Outcome { generation, failed: false } => write!(f, "herdsman retries its generation {generation}"),
            Self::Drift(ColumnDrift { column, recorded, found }) => {
                let (recorded, found) = (printable(recorded), printable(found));
                write!(f, "another program changed {column} in its row: {recorded} -> {found}")
            }
            Self::RowDeleted => f.write_str("another program deleted its row"),
            Self::RowRestored => f.write_str("its row was restored"),
            Self::Record => f.write_str("its record changed"),
            Self::OtherRow { id, now: true } => write!(f, "another program added row {id} with its name"),
            Self::OtherRow { id, now: false } => write!(f, "row {id} with its name is gone"),
            Self::Gone(Live { pid: Some(pid), .. }) => write!(f, "pid {pid} is gone"),
            Self::New(Live { pid: Some(pid), .. }) => write!(f, "pid {pid} is new"),
            Self::Gone(_) => f.write_str("its server could not be read before, and is now readable or gone"),
            Self::New(_) => f.write_str("its server is no longer readable"),
            Self::ByHand { what, given } => write!(f, "it is now {what} ({given})"),
            Self::ByHandIsOver { what, given } => write!(f, "it is no longer {what} ({given})"),
            Self::LlamaServer => f.write_str("its llama-server binary changed"),
            Self::NotPossible { action, waits_for } if waits_for.is_empty() => {
                write!(f, "there is nothing left to {}", action.as_str())
            }
            Self::NotPossible { action, waits_for } => {
                write!(f, "the {} now has to wait: {}", action.as_str(), waits_for.join("; "))
            }
            Self::Reasons { action, now } => {
                write!(f, "the {} now has another reason: ", action.as_str())?;
                listed(f, now)
            }
        }
    }
}

fn listed(f: &mut fmt::Formatter<'_>, reasons: &[Reason]) -> fmt::Result {
    for (index, reason) in reasons.iter().take(MOST_FIELDS).enumerate() {
        write!(f, "{}{}", if index > 0 { "; " } else { "" }, reason.to_string().trim_end())?;
    }
    match reasons.len().saturating_sub(MOST_FIELDS) {
        0 => Ok(()),
        more => write!(f, "; and {more} more"),
    }
}
