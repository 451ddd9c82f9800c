//! The edge of effects: the one trait through which a pass touches anything.
//!
//! `host::Host` is this machine. A test may put a world in memory behind it,
//! and fail or kill herdsman between any two calls.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::model::{
    Change, Death, Desired, Launch, ModelName, Observed, ProcessId, Provenance, Records, StopTarget, Timestamp,
};
use crate::plan::{Answers, Limits, Question};
use crate::reconcile::{Goal, Pass};

/// What a pass is made from: definitions (`None`: everything is to be stopped)
/// and records. Shared, for most of it is the same from pass to pass.
pub type Read = (Option<Arc<Desired>>, Arc<Records>);

/// Everything a pass reads and does.
pub trait World {
    /// A failure that ends the pass: nothing can be read, or nothing recorded.
    type Error;

    /// The time.
    fn now(&self) -> Timestamp;

    /// Bytes no earlier pass was given.
    fn seed(&mut self) -> [u8; 16];

    /// Reads the definitions.
    ///
    /// # Errors
    /// The directory cannot be read. A definition that cannot be is no error.
    fn load(&mut self) -> Result<Arc<Desired>, Self::Error>;

    /// Reads the records.
    ///
    /// # Errors
    /// The database cannot be read.
    fn records(&mut self) -> Result<Arc<Records>, Self::Error>;

    /// Looks at the processes.
    ///
    /// # Errors
    /// They cannot be listed at all.
    fn observe(&mut self, records: &Records) -> Result<Observed, Self::Error>;

    /// Reads definitions (unless everything is to be stopped) and records. The
    /// two do not depend on each other: a world may read them side by side.
    ///
    /// # Errors
    /// As [`World::load`] and [`World::records`].
    fn read(&mut self, goal: Goal) -> Result<Read, Self::Error> {
        let desired = match goal {
            Goal::Definitions => Some(self.load()?),
            Goal::Down => None,
        };
        Ok((desired, self.records()?))
    }

    /// Answers what the planner asks.
    ///
    /// # Errors
    /// As [`World::observe`]. What cannot be told is an answer.
    fn answer(&mut self, questions: &[Question], observed: &Observed, answers: &mut Answers)
    -> Result<(), Self::Error>;

    /// What others are to be told of a plan: changes that are recorded together
    /// with its bookkeeping. None, where there is nobody to tell.
    ///
    /// # Errors
    /// What they were told before cannot be read.
    fn tell(&mut self, _plan: &Pass, _limits: &Limits) -> Result<Vec<Change>, Self::Error> {
        Ok(Vec::new())
    }

    /// Which commit these definitions were read from, by the file of each (one
    /// that was deleted, too). Asked only by a pass that is about to record
    /// something new. Left out is what is not in Git, or not known for certain.
    fn provenance(&mut self, _sources: &BTreeMap<ModelName, &Path>) -> BTreeMap<ModelName, Provenance> {
        BTreeMap::new()
    }

    /// Records facts, in one transaction.
    ///
    /// # Errors
    /// Nothing was recorded.
    fn commit(&mut self, changes: &[Change]) -> Result<(), Self::Error>;

    /// Starts a process.
    ///
    /// # Errors
    /// It could not be executed; there is no process.
    fn spawn(&mut self, launch: &Launch) -> Result<ProcessId, Death>;

    /// Stops processes, all at once, and waits until they are gone (seconds at
    /// most). The results are in the order of `targets`.
    fn stop(&mut self, targets: &[StopTarget]) -> Vec<Result<(), String>>;
}
