//! What makes the watcher look again.

use std::collections::BTreeSet;
use std::fmt;

use crate::model::ModelName;

/// Something that may have changed what is to be done. It only says "look
/// again": nothing is decided from it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The watcher started.
    Started,
    /// SIGHUP.
    Hangup,
    /// Something in or around the directory of definitions changed.
    Files,
    /// Another process wrote to the database: another program, or herdsman's
    /// own commands.
    Database,
    /// Someone left a command in the inbox.
    Command,
    /// Clients ask for a model that does not run, or no longer ask for one.
    Demand,
    /// A server exited.
    Exited(ModelName),
    /// The answer of a loading server changed.
    Answered(ModelName),
    /// A llama-server printed its options, or ran out of time for it.
    LlamaServer,
    /// The pass before changed something.
    Changed,
    /// Requests in flight may have ended.
    Draining,
    /// A time that the plan waits for has come.
    Deadline,
    /// A server whose answers are to be watched may have fallen silent.
    Health,
    /// The pass before failed.
    Failed,
    /// The machine could not be looked at while waiting.
    Blind,
    /// It is time to look at everything.
    Resync,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("watch started"),
            Self::Hangup => f.write_str("SIGHUP"),
            Self::Files => f.write_str("files changed"),
            Self::Database => f.write_str("database changed by another process"),
            Self::Command => f.write_str("command"),
            Self::Demand => f.write_str("requests"),
            Self::Exited(model) => write!(f, "server of {model} exited"),
            Self::Answered(model) => write!(f, "health of {model} changed"),
            Self::LlamaServer => f.write_str("a llama-server responded"),
            Self::Changed => f.write_str("changes made by the last pass"),
            Self::Draining => f.write_str("draining"),
            Self::Deadline => f.write_str("deadline"),
            Self::Health => f.write_str("health check"),
            Self::Failed => f.write_str("retry of a failed pass"),
            Self::Blind => f.write_str("waiting failed"),
            Self::Resync => f.write_str("resync"),
        }
    }
}

/// All causes of one pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Causes(pub BTreeSet<Cause>);

/// How many causes are written out; of more, only the number.
const SHOWN: usize = 4;

impl fmt::Display for Causes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, cause) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{cause}", if index == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn causes_read_as_one_line_however_many_there_are() {
        let exited = |name: &str| Cause::Exited(ModelName::parse(name).unwrap());
        let causes = |causes: &[Cause]| Causes(causes.iter().cloned().collect()).to_string();
        assert_eq!(causes(&[Cause::Resync, Cause::Files]), "files changed, resync");
        assert_eq!(
            causes(&["a", "b", "c", "d", "e", "f"].map(exited)),
            "server of a exited, server of b exited, server of c exited, server of d exited and 2 more"
        );
    }
}
