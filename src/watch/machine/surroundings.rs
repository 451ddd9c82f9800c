//! What a watcher needs around it, on this machine.

use std::path::Path;
use std::time::{Duration, Instant};

use super::LONGEST_WAIT;
use super::Machine;
use super::files::Files;
use crate::host::{Host, HostError};
use crate::notify::courier::Couriers;
use crate::pass::Pass;
use crate::pass::next::Awaited;
use crate::state::{Lock, Reads};
use crate::watch::{Cause, Causes, Inbox, Surroundings, Woken};

impl Surroundings for Machine {
    type World = Host;
    type Lock = Lock;

    fn world(&mut self) -> &mut Host {
        &mut self.host
    }

    fn models_dir(&self) -> &Path {
        &self.models_dir
    }

    fn uptime(&self) -> Duration {
        self.began.elapsed()
    }

    fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    fn prepare(&mut self, causes: &Causes) {
        self.pass_began = Instant::now();
        self.service.live();
        self.polled = None;
        if causes.0.contains(&Cause::Hangup) {
            self.service.reloading();
        }
        if let Some(Err(why)) = self.files.as_mut().map(Files::arm) {
            self.fall_back(&why);
        }
    }

    fn files_changed(&self) -> bool {
        !self.host.definitions_are_as_read()
    }

    fn lock(&mut self) -> Result<Lock, HostError> {
        if self.state.restore(self.host.state_id())? {
            self.watch_lock = self.state.watch_lock(&Reads::new(self.models_dir.clone(), self.host.revision()))?;
            tracing::warn!(
                "{} was removed; created it again, and its servers keep running",
                self.state.path().display()
            );
        }
        let lock = self.state.lock(self.settings.lock_timeout)?;
        self.pass_looked = Instant::now();
        Ok(lock)
    }

    fn done(&mut self, pass: Result<&Pass, &HostError>, unread: Option<&str>, status: String) {
        self.tell_commit();
        let (looked, took) = (self.pass_looked, self.pass_began.elapsed());
        let why = pass.err().map(ToString::to_string).unwrap_or_default();
        for observer in &self.observers {
            observer.unread(unread);
            observer.passed(pass.map_err(|_| &*why), looked, took);
        }
        self.tell();
        self.host.take_notices().iter().for_each(|notice| tracing::warn!("{notice}"));
        self.service.passed(status);
    }

    fn wait(&mut self, awaited: &Awaited, timeout: Duration) -> Woken {
        self.watched.set(&awaited.instances, |instance| awaited.loading.contains(&instance.model));
        // A clock cannot be asked for any time in the future.
        let deadline = Instant::now() + timeout.min(LONGEST_WAIT);
        loop {
            let now = Instant::now();
            let look = self.database_look.map_or(deadline, |(at, _)| at);
            let delivery = self.couriers.as_ref().and_then(Couriers::look).unwrap_or(deadline);
            let until = deadline.min(self.next_tick).min(look).min(delivery);
            let mut woken = self.wait_once(until.saturating_duration_since(now));
            if self.couriers.as_ref().and_then(Couriers::look).is_some_and(|at| at <= Instant::now()) {
                self.tell();
            }
            woken.causes.extend(self.look_at_database());
            if Instant::now() >= self.next_tick {
                woken.causes.extend(self.tick());
            }
            if woken.stop || !woken.causes.is_empty() || Instant::now() >= deadline {
                return woken;
            }
        }
    }
}
