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
            Self::Group { name, then: Some(then), now: Some(now) } => {
                write!(f, "group {}: max_running is now {now}, was {then}", printable(name))
            }
            Self::Group { name, then: None, .. } => write!(f, "group {} now has a model of the plan", printable(name)),
            Self::Group { name, .. } => write!(f, "group {} no longer has a model of the plan", printable(name)),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::model::{FieldChange, Given, InstanceId, ModelName, Origin, Timestamp};
    use crate::plan::{ActionKind, Impact};

    fn changed(field: &str) -> Reason {
        let change = FieldChange { field: field.into(), old: Some("1".into()), new: Some("2".into()) };
        Reason::FieldChanged { change, impact: Impact::Restart, origin: Origin::new("models.d/m.toml", 3) }
    }

    /// The words of every difference stand here; other tests check what leads to it.
    #[test]
    fn every_difference_in_words() {
        let file = || "models.d/m.toml".to_owned();
        let live = |pid| Live { pid, id: InstanceId("i".into()) };
        let drift = ColumnDrift { column: "ctx_size".into(), recorded: "512".into(), found: "7".into() };
        let given = || Given { by: "ann".into(), at: Timestamp(0), because: Some("tests".into()) };
        let (what, action) = ("stopped by hand", ActionKind::Restart);
        let differences = [
            Difference::Declared { file: file() },
            Difference::NotDeclared { file: file() },
            Difference::Broken { file: file() },
            Difference::Fixed { file: file() },
            Difference::Definition { file: file(), fields: Vec::new() },
            Difference::Definition { file: file(), fields: ["a", "b", "c", "d", "e", "f"].map(changed).into() },
            Difference::Recorded { generation: 1 },
            Difference::NotRecorded,
            Difference::Generation { then: 1, now: 1 },
            Difference::Generation { then: 1, now: 2 },
            Difference::Outcome { generation: 2, failed: true },
            Difference::Outcome { generation: 2, failed: false },
            Difference::Drift(drift),
            Difference::RowDeleted,
            Difference::RowRestored,
            Difference::Record,
            Difference::OtherRow { id: 7, now: true },
            Difference::OtherRow { id: 7, now: false },
            Difference::Gone(live(Some(42))),
            Difference::New(live(Some(42))),
            Difference::Gone(live(None)),
            Difference::New(live(None)),
            Difference::ByHand { what, given: given() },
            Difference::ByHandIsOver { what, given: given() },
            Difference::LlamaServer,
            Difference::NotPossible { action, waits_for: Vec::new() },
            Difference::NotPossible { action, waits_for: vec!["port 8101 is in use".into()] },
            Difference::Reasons { action, now: vec![changed("a")] },
        ];
        let model = ModelName::parse("m").unwrap();
        let mut lines: Vec<String> =
            differences.map(|difference| Changed::Model(model.clone(), difference).to_string()).into();
        let places = || ("/srv/a".to_owned(), "/srv/b".to_owned());
        let (made_for, here) = places();
        lines.push(Changed::StateDirectory { here: made_for.clone(), made_for }.to_string());
        let (made_for, _) = places();
        lines.push(Changed::StateDirectory { made_for: made_for.clone(), here: here.clone() }.to_string());
        lines.push(Changed::ModelsDirectory { made_for, here }.to_string());
        lines.extend([true, false].map(|now| Changed::StrayFile { file: file(), now }.to_string()));
        let limits = [(Some(1), Some(2)), (None, Some(1)), (Some(1), None)];
        lines.extend(limits.map(|(then, now)| Changed::Group { name: "chat".into(), then, now }.to_string()));
        insta::assert_snapshot!(lines.join("\n"), @"
        m: models.d/m.toml now defines it
        m: models.d/m.toml is gone or no longer defines it
        m: models.d/m.toml is now invalid
        m: models.d/m.toml is now valid
        m: its definition changed: a secret's value or location (models.d/m.toml)
        m: its definition changed: a 1 -> 2   models.d/m.toml:3; b 1 -> 2   models.d/m.toml:3; c 1 -> 2   models.d/m.toml:3; d 1 -> 2   models.d/m.toml:3; e 1 -> 2   models.d/m.toml:3; and 1 more
        m: it now has a record (generation 1)
        m: its record is gone
        m: its generation 1 is not the same as before
        m: its generation is now 2, was 1
        m: its generation 2 failed
        m: herdsman retries its generation 2
        m: another program changed ctx_size in its row: 512 -> 7
        m: another program deleted its row
        m: its row was restored
        m: its record changed
        m: another program added row 7 with its name
        m: row 7 with its name is gone
        m: pid 42 is gone
        m: pid 42 is new
        m: its server could not be read before, and is now readable or gone
        m: its server is no longer readable
        m: it is now stopped by hand (ann: tests)
        m: it is no longer stopped by hand (ann: tests)
        m: its llama-server binary changed
        m: there is nothing left to restart
        m: the restart now has to wait: port 8101 is in use
        m: the restart now has another reason: a 1 -> 2   models.d/m.toml:3
        it was made for another state directory at /srv/a, or on another host
        it was made for the state directory /srv/a, not for /srv/b
        it was made from /srv/a, not from /srv/b
        models.d/m.toml is new and invalid, and may stand for any model
        models.d/m.toml was invalid, and is now fixed or gone
        group chat: max_running is now 2, was 1
        group chat now has a model of the plan
        group chat no longer has a model of the plan
        ");
    }
}
