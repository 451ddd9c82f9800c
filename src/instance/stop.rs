//! Stops instances, all at once: SIGTERM, two seconds, SIGKILL, confirmed
//! gone.
//!
//! A busy server must have been drained before: SIGTERM aborts its streams
//! and then waits for the clients. Identity is checked after the pidfd was
//! opened and before the first signal, which goes through that pidfd.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Host;
use super::marker::{Environment, INSTANCE, STATE};
use super::pidfd::Pidfd;
use super::process::{self, Stat};
use crate::failpoint::{Point, reach};
use crate::model::{InstanceId, ModelName, StopTarget};

/// What SIGTERM is given: an idle server takes 3 to 16 ms.
const GRACE: Duration = Duration::from_secs(2);

/// What SIGKILL is given: a driver may hold a dying process for a while.
const KILL_TIME: Duration = Duration::from_secs(5);

/// An instance was not stopped: it must be taken to be alive.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The process has the recorded pid and start time, and not the marker.
    #[error("{model}: pid {pid} does not carry the marker of instance {instance} and was not signalled; {reason}")]
    NotConfirmed {
        /// The model.
        model: ModelName,
        /// The pid.
        pid: i32,
        /// The instance expected there.
        instance: String,
        /// What was found instead.
        reason: String,
    },
    /// The process belongs to another pid namespace of this boot.
    #[error("{model}: pid {pid} was recorded in another pid namespace (a container?); stop it from there")]
    Elsewhere {
        /// The model.
        model: ModelName,
        /// The pid there.
        pid: i32,
    },
    /// The kernel refused.
    #[error("{model}: cannot stop pid {pid}: {source}")]
    Kernel {
        /// The model.
        model: ModelName,
        /// The pid.
        pid: i32,
        /// What it said.
        source: io::Error,
    },
    /// SIGKILL did not help.
    #[error("{model}: pid {pid} is still there {} s after SIGKILL (a hanging driver or disk?); see `dmesg`", KILL_TIME.as_secs())]
    StillAlive {
        /// The model.
        model: ModelName,
        /// The pid.
        pid: i32,
    },
}

/// A target on its way out.
struct Stopping<'a> {
    target: &'a StopTarget,
    pidfd: Pidfd,
    /// `Ok(true)`: gone.
    outcome: Result<bool, StopError>,
}

impl Host {
    /// Stops every target and confirms that it is gone; takes 7 s at most, for
    /// all together. One that is gone already, or whose pid belongs to a later
    /// process, is stopped. The answers are in the order of the targets.
    ///
    /// # Errors
    /// [`StopError`] for each that may still live; the others were stopped.
    pub fn stop(&mut self, targets: &[StopTarget]) -> Vec<Result<(), StopError>> {
        let identified: Vec<_> = targets.iter().map(|target| self.identify(target)).collect();
        let (mut stopping, mut results) = (Vec::new(), Vec::new());
        for (target, identified) in targets.iter().zip(identified) {
            results.push(match identified {
                Ok(Some(pidfd)) => {
                    stopping.push(Stopping { target, pidfd, outcome: Ok(false) });
                    None
                }
                Ok(None) => Some(Ok(())),
                Err(error) => Some(Err(error)),
            });
        }
        stopping.iter_mut().for_each(|one| one.signal(if one.target.force { Signal::KILL } else { Signal::TERM }));
        wait_gone(&mut stopping, GRACE, |one| !one.target.force);
        stopping.iter_mut().filter(|one| !one.target.force).for_each(|one| one.signal(Signal::KILL));
        wait_gone(&mut stopping, KILL_TIME, |_| true);
        self.reap();

        let mut stopped = stopping.into_iter().map(Stopping::result);
        let results: Vec<Result<(), StopError>> =
            results.into_iter().map(|result| result.or_else(|| stopped.next()).unwrap_or(Ok(()))).collect();
        self.end_leftovers(targets.iter().zip(&results).filter(|(_, result)| result.is_ok()).map(|(target, _)| target));
        for (target, result) in targets.iter().zip(&results) {
            if let (Some(socket), Ok(())) = (&target.socket, result) {
                // One that stays in the way is an error of the next start.
                let _ = self.remove_stale_socket(socket);
            }
        }
        results
    }

    /// Kills what a stopped instance left in its session: a wrapper that did
    /// not `exec` llama-server leaves the server itself, with port and memory.
    /// Each is known by its session and by the instance's marker.
    fn end_leftovers<'t>(&self, gone: impl Iterator<Item = &'t StopTarget>) {
        // A session whose leader lives is not the stopped instance's: its pid,
        // which no other process gets while a session bears it, was free.
        let leads = |pid| !matches!(Stat::of(pid), Ok(stat) if stat.is_none_or(Stat::is_dead));
        let gone: BTreeMap<i32, &InstanceId> =
            gone.map(|target| (target.process.pid, &target.id)).filter(|(pid, _)| !leads(*pid)).collect();
        if gone.is_empty() {
            return;
        }
        let Ok(entries) = std::fs::read_dir("/proc").map(|entries| entries.flatten()) else { return };
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
            let Some(id) = process::session(pid).and_then(|session| gone.get(&session)) else { continue };
            let Ok(Some(stat)) = Stat::of(pid) else { continue };
            let Ok(Some(pidfd)) = Pidfd::open(pid, stat.start_ticks) else { continue };
            let marked = Environment::of(pid)
                .is_ok_and(|e| e.text(STATE) == Some(&self.state_id) && e.text(INSTANCE) == Some(&id.0));
            if marked {
                // Gone already, or not ours to signal: nothing more can be done.
                reach(Point::LeftoverKill);
                let _ = pidfd.signal(Signal::KILL);
                reach(Point::LeftoverKilled);
            }
        }
    }

    /// The target's pidfd once it is known to be the target's; `None` when it
    /// is gone.
    fn identify(&self, target: &StopTarget) -> Result<Option<Pidfd>, StopError> {
        let StopTarget { process, id, model, .. } = target;
        if process.boot_id != self.boot_id {
            return Ok(None);
        }
        if process.pid_namespace != self.pid_namespace {
            return Err(StopError::Elsewhere { model: model.clone(), pid: process.pid });
        }
        let kernel = |source| StopError::Kernel { model: model.clone(), pid: process.pid, source };
        let Some(pidfd) = Pidfd::open(process.pid, process.start_ticks).map_err(kernel)? else { return Ok(None) };
        let reason = match Environment::of(process.pid) {
            Err(error) if process::is_gone(&error) => return Ok(None),
            Err(error) => format!("its environment cannot be read: {error}"),
            // Its markers are no longer to be read; there is only its end to wait for.
            Ok(environment) if environment.is_empty() && process::is_exiting(process.pid) => return Ok(Some(pidfd)),
            Ok(environment) => match (environment.text(STATE), environment.text(INSTANCE)) {
                (Some(state), Some(instance)) if state == self.state_id && instance == id.0 => return Ok(Some(pidfd)),
                (_, found) => format!("it carries {}", found.unwrap_or("none")),
            },
        };
        Err(StopError::NotConfirmed { model: model.clone(), pid: process.pid, instance: id.0.clone(), reason })
    }
}

impl Stopping<'_> {
    fn is_pending(&self) -> bool {
        matches!(self.outcome, Ok(false))
    }

    fn fail(&mut self, source: io::Error) {
        let StopTarget { model, process, .. } = self.target;
        self.outcome = Err(StopError::Kernel { model: model.clone(), pid: process.pid, source });
    }

    fn signal(&mut self, signal: Signal) {
        if !self.is_pending() {
            return;
        }
        let kills = signal == Signal::KILL;
        reach(if kills { Point::Kill } else { Point::Terminate });
        let sent = self.pidfd.signal(signal);
        reach(if kills { Point::Killed } else { Point::Terminated });
        if let Err(error) = sent {
            self.fail(error);
        }
    }

    fn result(self) -> Result<(), StopError> {
        reach(Point::Gone);
        match self.outcome {
            Ok(true) => Ok(()),
            Ok(false) => {
                let StopTarget { model, process, .. } = self.target;
                Err(StopError::StillAlive { model: model.clone(), pid: process.pid })
            }
            Err(error) => Err(error),
        }
    }
}

/// Waits until those that `count` are gone, for `time` at most, and marks all
/// that are.
fn wait_gone(stopping: &mut [Stopping<'_>], time: Duration, count: impl Fn(&Stopping<'_>) -> bool) {
    let deadline = Instant::now() + time;
    loop {
        let mut pending: Vec<&mut Stopping<'_>> = stopping.iter_mut().filter(|one| one.is_pending()).collect();
        let left = deadline.saturating_duration_since(Instant::now());
        let wanted = pending.iter().any(|one| count(one));
        let time = if wanted { left } else { Duration::ZERO };
        let gone = Pidfd::wait_any(pending.iter().map(|one| &one.pidfd), &[], time);
        match gone {
            Ok((gone, _)) => {
                pending.iter_mut().zip(gone).filter(|(_, gone)| *gone).for_each(|(one, _)| one.outcome = Ok(true))
            }
            Err(error) => {
                let error = error.to_string();
                pending.iter_mut().for_each(|one| one.fail(io::Error::other(error.clone())));
            }
        }
        if !wanted || left.is_zero() {
            return;
        }
    }
}
