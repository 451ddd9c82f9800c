//! The edge of effects: the three traits through which a pass touches anything.
//!
//! ```text
//!   Source   DESIRED    definitions
//!   Ledger   RECORDED   records, commit, notifications
//!   Fleet    OBSERVED   site, observe, demand, answer, start, withdraw, stop
//! ```
//!
//! `host::Host` is this machine. The simulated world of the tests implements
//! them in memory, and fails or kills herdsman between any two calls.

use std::sync::Arc;

use super::Pass;
use crate::model::{Change, Demand, Desired, Handle, InstanceId, Launch, Observed, Records, StopTarget, Timestamp};
use crate::plan::{Answers, Limits, Question, Site};

/// How the outside fails: a failure ends the pass, for nothing can be read, or
/// nothing recorded.
pub trait Fallible {
    /// Says what failed, and where.
    type Error;
}

/// Where definitions come from.
pub trait Source: Fallible {
    /// Reads the definitions. A pass reads them before the records.
    ///
    /// # Errors
    /// They cannot be read at all. A single definition that cannot be read is
    /// no error: it is unresolved.
    fn definitions(&mut self) -> Result<Arc<Desired>, Self::Error>;
}

/// Where records are kept.
pub trait Ledger: Fallible {
    /// Reads the records.
    ///
    /// # Errors
    /// They cannot be read.
    fn records(&mut self) -> Result<Arc<Records>, Self::Error>;

    /// Records changes in one transaction. Without any, only checks that it could.
    ///
    /// # Errors
    /// Nothing was recorded.
    fn commit(&mut self, changes: &[Change]) -> Result<(), Self::Error>;

    /// Returns the notifications that a pass gives rise to, as changes to record
    /// with its bookkeeping. Without a recipient there are none.
    ///
    /// # Errors
    /// Earlier notifications cannot be read.
    fn notifications(&mut self, _pass: &Pass, _limits: &Limits) -> Result<Vec<Change>, Self::Error> {
        Ok(Vec::new())
    }
}

/// Where instances run.
pub trait Fleet: Fallible {
    /// Returns the time.
    fn now(&self) -> Timestamp;

    /// Returns bytes that no earlier pass was given, for new ids.
    fn seed(&mut self) -> [u8; 16];

    /// Returns what instances are given here: ports, places for logs and downloads.
    fn site(&self) -> Site;

    /// Looks at the instances.
    ///
    /// # Errors
    /// They cannot be listed at all.
    fn observe(&mut self, records: &Records) -> Result<Observed, Self::Error>;

    /// Answers what the planner asks.
    ///
    /// # Errors
    /// As [`Fleet::observe`]. "Unknown" is an answer.
    fn answer(&mut self, questions: &[Question], observed: &Observed, answers: &mut Answers)
    -> Result<(), Self::Error>;

    /// Returns what clients ask for; `None` if no gateway of this process serves.
    fn demand(&self) -> Option<Demand> {
        None
    }

    /// Takes instances out of rotation: once this returns, the gateway sends them no
    /// request that has not begun. It sends requests again to one that a later pass
    /// finds ready and not draining.
    ///
    /// # Errors
    /// A gateway serves and does not confirm: nothing may be stopped.
    fn withdraw(&mut self, _instances: &[InstanceId]) -> Result<(), String> {
        Ok(())
    }

    /// Takes a withdrawal back: the gateway sends these instances requests again. Only
    /// for those whose server stays as it was before the withdrawal.
    ///
    /// # Errors
    /// A gateway serves and does not confirm: the next pass that succeeds does it.
    fn readmit(&mut self, _instances: &[InstanceId]) -> Result<(), String> {
        Ok(())
    }

    /// Starts an instance.
    ///
    /// # Errors
    /// Says why it could not be started; there is nothing to stop.
    fn start(&mut self, launch: &Launch) -> Result<Handle, String>;

    /// Stops instances, all at once, and waits until they are gone (seconds at
    /// most). The results are in the order of `targets`.
    fn stop(&mut self, targets: &[StopTarget]) -> Vec<Result<(), String>>;
}

/// Everything a pass reads and does.
pub trait World: Source + Ledger + Fleet {}

impl<W: Source + Ledger + Fleet> World for W {}
