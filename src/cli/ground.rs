//! This host under a run of passes: opened, locked and reported alike for every
//! command that changes something.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::Places;
use super::json::Document;
use super::output::complain;
use super::progress::Progress;
use crate::host::{Host, gateway};
use crate::model::ModelName;
use crate::pass::Pass;
use crate::pass::converge::Ground;
use crate::pass::next::Awaited;
use crate::state::StateDir;

/// What differs from command to command.
pub(super) trait Passes {
    /// Refuses to go on, before a pass takes the lock.
    fn check(&mut self, _state: &StateDir) -> anyhow::Result<()> {
        Ok(())
    }

    /// Opens the host, under the lock of the first pass.
    fn open(&self, places: &Places) -> anyhow::Result<Host> {
        places.open()
    }

    /// Makes a pass, under the lock.
    fn pass(&mut self, host: &mut Host, tried: &BTreeSet<ModelName>) -> anyhow::Result<Pass>;

    /// Reports a pass.
    fn made(&mut self, _pass: &Pass) -> anyhow::Result<()> {
        Ok(())
    }
}

/// A run of passes on this host.
pub(super) struct OnHost<'a, P> {
    places: &'a Places,
    lock_timeout: Duration,
    began: Instant,
    progress: Progress,
    pub passes: P,
    /// Opened by the first pass.
    pub host: Option<Host>,
    /// Everything the passes did.
    pub document: Document,
}

impl<'a, P: Passes> OnHost<'a, P> {
    /// `lock_timeout` bounds the wait for another herdsman's pass.
    pub fn new(places: &'a Places, lock_timeout: Duration, passes: P) -> Self {
        let (began, progress, document) = (Instant::now(), Progress::new(), Document::new());
        Self { places, lock_timeout, began, progress, passes, host: None, document }
    }

    /// Waits until the gateway of the watcher beside this process, if one serves, goes by
    /// what was done: who asks it next gets the answer that this command promises.
    pub fn attend(&self) {
        match gateway::attend(&self.places.state()) {
            Ok(None | Some(true)) => {}
            Ok(Some(false)) => complain("note: the watcher is busy: its gateway goes by this in a moment"),
            Err(problem) => complain(format_args!("note: the gateway may go by this only in a moment: {problem}")),
        }
    }

    /// Removes the progress display, before a result is printed.
    pub fn finish_progress(&mut self) {
        self.progress.finish();
    }
}

impl<P: Passes> Ground for OnHost<'_, P> {
    type Error = anyhow::Error;

    fn pass(&mut self, tried: &BTreeSet<ModelName>) -> anyhow::Result<Pass> {
        let state = self.places.state();
        state.create()?;
        self.passes.check(&state)?;
        let _lock = state.lock(self.lock_timeout)?;
        let host = match &mut self.host {
            Some(host) => host,
            None => self.host.insert(self.passes.open(self.places)?),
        };
        self.passes.pass(host, tried)
    }

    fn made(&mut self, pass: &Pass) -> anyhow::Result<()> {
        self.passes.made(pass)?;
        self.progress.report(pass);
        self.document.add(pass);
        Ok(())
    }

    fn wait(&mut self, awaited: &Awaited, timeout: Duration) {
        if let Some(host) = &mut self.host {
            host.wait(&awaited.instances, timeout);
        }
    }

    fn uptime(&self) -> Duration {
        self.began.elapsed()
    }
}
