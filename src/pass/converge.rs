//! Repeats passes until nothing is left to wait for.
//!
//! ```text
//!   pass --- did something -----------------------+
//!    ^  \--- waits for something that goes on ----+--> wait (without the lock)
//!    |   \-- neither: at rest                     |
//!    +--------------------------------------------+
//! ```
//!
//! The lock is free between two passes, so nobody queues behind a loading model.
//! `reconcile`, `down` and the commands by hand end at rest. The watcher carries on
//! and decides when to look again in the same way ([`super::next`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Pass;
use super::next::{Awaited, Look, awaits_llama_server, looks, waits};
use crate::model::ModelName;
use crate::plan::{ActionKind, Found, WaitKind, Waiting};

/// Passes that each change something and never come to rest mean that another
/// program undoes them; better to say so than to fight it.
const MOST_BUSY: usize = 100;

/// How many passes in a row may fail in every action: the cause may be gone by the
/// next.
const MOST_FUTILE: usize = 2;

/// A model that fails to start so often in one run is left to the next: its third
/// try may take as long as the first two, and so on. One failure may be made good
/// by a rollback.
const MOST_FAILED_STARTS: u32 = 2;

/// The longest time between two looks, for changes that send no signal.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long to go on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// One pass; what loads or drains is left to the next run.
    pub no_wait: bool,
    /// Stop waiting after this time; `None`: never.
    pub timeout: Option<Duration>,
    /// End with the first action that fails: trying it again is left to a person.
    pub ends_at_failure: bool,
}

/// What a convergence needs around it.
pub trait Ground {
    /// Why a pass fails.
    type Error;

    /// Makes a pass under the lock. `tried` are the models that this run has already
    /// retried (`--retry`).
    ///
    /// # Errors
    /// The pass failed: the run ends.
    fn pass(&mut self, tried: &BTreeSet<ModelName>) -> Result<Pass, Self::Error>;

    /// Reports a pass that was made, the first one too.
    ///
    /// # Errors
    /// It cannot be reported: the run ends.
    fn made(&mut self, pass: &Pass) -> Result<(), Self::Error>;

    /// Blocks until something about `awaited` may have changed, `timeout` at most.
    fn wait(&mut self, awaited: &Awaited, timeout: Duration);

    /// Returns a time that only goes forward, since some moment.
    fn uptime(&self) -> Duration;
}

/// How a run ended.
#[derive(Debug)]
pub struct Converged {
    /// Its last pass.
    pub last: Pass,
    /// Something is left to do or to wait for.
    pub is_unfinished: bool,
    /// The time ran out while models were still waiting.
    pub is_out_of_time: bool,
}

/// Makes passes until nothing is left to wait for, or `patience` ends.
///
/// # Errors
/// As [`Ground::pass`] and [`Ground::made`].
pub fn converge<G: Ground>(ground: &mut G, patience: Patience) -> Result<Converged, G::Error> {
    let began = ground.uptime();
    let mut run = Run::default();
    loop {
        let pass = ground.pass(&run.tried)?;
        run.note(&pass);
        ground.made(&pass)?;
        let left = patience.timeout.map(|timeout| timeout.saturating_sub(ground.uptime().saturating_sub(began)));
        let is_out_of_time = left == Some(Duration::ZERO);
        if run.ends_with(&pass, patience, is_out_of_time) {
            let progressing = waits(&pass, WaitKind::Progressing);
            return Ok(Converged {
                is_unfinished: progressing || !pass.outcomes.is_empty(),
                is_out_of_time: is_out_of_time && progressing,
                last: pass,
            });
        }
        if pass.outcomes.is_empty() {
            let looks = looks(&pass).filter(|(look, _)| *look != Look::Health).map(|(_, after)| after);
            ground.wait(&Awaited::progressing(&pass), looks.chain(left).fold(LONGEST_WAIT, Duration::min));
        }
    }
}

/// What the next pass must know of those before it.
#[derive(Debug, Default)]
pub struct Run {
    tried: BTreeSet<ModelName>,
    /// Passes in a row that did something.
    busy: usize,
    /// Passes in a row in which nothing worked.
    futile: usize,
    /// Failed starts, by model.
    failed: BTreeMap<ModelName, u32>,
}

impl Run {
    /// Returns the models that were started, which `--retry` does not try again.
    #[must_use]
    pub const fn tried(&self) -> &BTreeSet<ModelName> {
        &self.tried
    }

    /// Takes in a pass.
    pub fn note(&mut self, pass: &Pass) {
        let is_futile = !pass.outcomes.is_empty() && pass.outcomes.iter().all(|outcome| outcome.result.is_err());
        self.busy = if pass.outcomes.is_empty() { 0 } else { self.busy + 1 };
        self.futile = if is_futile { self.futile + 1 } else { 0 };
        // `--retry` means once, not until it works.
        let started = pass.outcomes.iter().filter(|o| matches!(o.kind, ActionKind::Start | ActionKind::Restart));
        self.tried.extend(started.map(|outcome| outcome.model.clone()));
        for finding in pass.plan.findings.iter().filter(|finding| matches!(finding.what, Found::StartFailed(_))) {
            *self.failed.entry(finding.model.clone()).or_default() += 1;
        }
    }

    /// Whether the run goes on for this model.
    fn is_for(&self, model: &ModelName) -> bool {
        self.failed.get(model).is_none_or(|failed| *failed < MOST_FAILED_STARTS)
    }

    /// Whether `pass`, which it has taken in, is the last one.
    #[must_use]
    pub fn ends_with(&self, pass: &Pass, patience: Patience, is_out_of_time: bool) -> bool {
        let did_nothing = pass.outcomes.iter().all(|outcome| !self.is_for(&outcome.model));
        let is_awaited = |waiting: &Waiting| waiting.on.kind() == WaitKind::Progressing && self.is_for(&waiting.model);
        let progressing = pass.plan.waiting.iter().any(is_awaited);
        // Out of time it ends with a pass that only looked: what it did last
        // is not known to have worked.
        patience.no_wait && !awaits_llama_server(pass)
            || patience.ends_at_failure && pass.outcomes.iter().any(|outcome| outcome.result.is_err())
            || did_nothing && (!progressing || is_out_of_time)
            || self.busy > MOST_BUSY
            || self.futile >= MOST_FUTILE
    }
}
