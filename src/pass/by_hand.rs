//! Records commands by hand. The command itself does so while it holds the lock, or
//! the watcher before its next pass.

use super::{Read, World};
use crate::model::{Change, Given, ModelName, Observed};
use crate::plan::{Command, Known, Refusal, request};

/// A command by hand, and who gave it.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The model it is about.
    pub model: ModelName,
    /// What to do with it.
    pub command: Command,
    /// Who gave it, when and why.
    pub given: Given,
}

/// What was recorded for a command (nothing if that is already the state), or why it
/// was refused.
pub type Answer = Result<Vec<Change>, Refusal>;

/// Decides a command over what was read and observed, and records what it changes.
///
/// # Errors
/// It cannot be recorded. A refusal is an answer.
pub fn record<W: World>(world: &mut W, asked: &Asked, read: &Read, observed: &Observed) -> Result<Answer, W::Error> {
    let (desired, records) = read;
    let unread = Default::default();
    let known = Known { desired: desired.as_ref().unwrap_or(&unread), records, observed };
    let answer = request(asked.command, &asked.model, &asked.given, known);
    if let Ok(changes) = &answer
        && !changes.is_empty()
    {
        world.commit(changes)?;
    }
    Ok(answer)
}
