//! What changed since a plan was saved, in words.

use std::fmt;

use super::compare::{Changed, Difference};
use super::fingerprint::Live;
use crate::model::ColumnDrift;
use crate::model::text::printable;
use crate::plan::Reason;

/// Differences of one definition that are told; of more, only the number.
const MOST_FIELDS: usize = 5;

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StateDirectory { made_for, here } if made_for == here => {
                write!(f, "it was made for another {} than is there now, or on another host", printable(made_for))
            }
            Self::StateDirectory { made_for, here } => {
                write!(f, "it was made for the state directory {}, this one is {here}", printable(made_for))
            }
            Self::ModelsDirectory { made_for, here } => {
                write!(f, "it was made from {}, the definitions here are {here}", printable(made_for))
            }
            Self::StrayFile { file, now: true } => {
                write!(f, "{} came, cannot be used, and may be any model's", printable(file))
            }
            Self::StrayFile { file, now: false } => {
                write!(f, "{}, which could not be used, is mended or gone", printable(file))
            }
            Self::Model(model, difference) => write!(f, "{model}: {difference}"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declared { file } => write!(f, "{} declares it now", printable(file)),
            Self::NotDeclared { file } => write!(f, "{} is gone, or declares it no longer", printable(file)),
            Self::Broken { file } => write!(f, "{} cannot be used any more", printable(file)),
            Self::Mended { file } => write!(f, "{} can be used now", printable(file)),
            Self::Definition { file, fields } if fields.is_empty() => {
                write!(f, "its definition changed: a secret's value, or its place ({})", printable(file))
            }
            Self::Definition { fields, .. } => {
                write!(f, "its definition changed: ")?;
                listed(f, fields)
            }
            Self::Recorded { generation } => write!(f, "it is recorded now (generation {generation})"),
            Self::NotRecorded => f.write_str("it is not recorded any more"),
            Self::Generation { then, now } if then == now => {
                write!(f, "its generation {now} is another one than it was")
            }
            Self::Generation { then, now } => write!(f, "its generation is {now}, it was {then}"),
            Self::Outcome { generation, failed: true } => write!(f, "its generation {generation} failed"),
            Self::Outcome { generation, failed: false } => write!(f, "its generation {generation} is tried again"),
            Self::Drift(ColumnDrift { column, recorded, found }) => {
                let (recorded, found) = (printable(recorded), printable(found));
                write!(f, "another program changed {column} in its row: {recorded} -> {found}")
            }
            Self::RowDeleted => f.write_str("another program deleted its row"),
            Self::RowRestored => f.write_str("its row was put back"),
            Self::Record => f.write_str("its record changed"),
            Self::OtherRow { id, now: true } => write!(f, "another program made row {id} with its name"),
            Self::OtherRow { id, now: false } => write!(f, "row {id} with its name is gone"),
            Self::Gone(Live { pid: Some(pid), .. }) => write!(f, "pid {pid} is gone"),
            Self::New(Live { pid: Some(pid), .. }) => write!(f, "pid {pid} is new"),
            Self::Gone(_) => f.write_str("its server, which could not be read, can be, or is gone"),
            Self::New(_) => f.write_str("its server cannot be read now"),
            Self::ByHand { what, given } => write!(f, "{what} now ({given})"),
            Self::ByHandIsOver { what, given } => write!(f, "{what} no longer (it was by {given})"),
            Self::LlamaServer => f.write_str("the llama-server it runs on changed"),
            Self::NotPossible { action, waits_for } if waits_for.is_empty() => {
                write!(f, "there is nothing to {} any more", action.as_str())
            }
            Self::NotPossible { action, waits_for } => {
                write!(f, "the {} has to wait now: {}", action.as_str(), waits_for.join("; "))
            }
            Self::Reasons { action, now } => {
                write!(f, "the {} would be for another reason now: ", action.as_str())?;
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
