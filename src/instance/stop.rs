//! Stops instances, all at once: SIGTERM, two seconds, SIGKILL, confirmed
//! gone. Then SIGKILL for every other process that carries their markers.
//!
//! A busy server must have drained before: SIGTERM aborts its streams and then
//! waits for the clients. Identity is checked after the pidfd was
//! opened and before the first signal, which goes through that pidfd.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Host;
use super::marker::{Environment, INSTANCE, STATE};
use super::pidfd::Pidfd;
use super::process::{self, Stat};
use super::scan;
use crate::model::{Handle, InstanceId, ModelName, StopTarget};
use crate::sys::failpoint::{Point, reach};

/// What SIGTERM is given: an idle server takes 3 to 16 ms.
const GRACE: Duration = Duration::from_secs(2);

/// What SIGKILL is given: a driver may hold a dying process for a while.
const KILL_TIME: Duration = Duration::from_secs(5);

/// An instance was not stopped: it must be taken to be alive.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The process has the recorded pid and start time, and not the marker.
    #[error("{model}: pid {pid} does not carry the marker of instance {instance}, so it was not signalled: {reason}")]
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
    /// The process survived SIGKILL.
    #[error("{model}: pid {pid} is still alive {} s after SIGKILL (a hanging driver or disk?); see `dmesg`", KILL_TIME.as_secs())]
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
    /// Stops every target and confirms that it is gone, with everything else that
    /// carries its markers or is in its session; takes 17 s at most for all
    /// together. One that is already gone, or whose pid belongs to a later process,
    /// counts as stopped. The results are in the order of the targets.
    ///
    /// # Errors
    /// [`StopError`] for each that may still live; the others were stopped.
    pub fn stop(&mut self, targets: &[StopTarget]) -> Vec<Result<(), StopError>> {
        let identified: Vec<_> = targets.iter().map(|target| self.identify(target)).collect();
        let in_session = in_sessions(targets, &identified);
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
        let mut results: Vec<Result<(), StopError>> =
            results.into_iter().map(|result| result.or_else(|| stopped.next()).unwrap_or(Ok(()))).collect();
        end_all(in_session, targets, &mut results, Instant::now() + KILL_TIME);
        self.end_others(targets, &mut results);
        for (target, result) in targets.iter().zip(&results) {
            if let (Some(socket), Ok(())) = (&target.socket, result) {
                // One that stays in the way is an error of the next start.
                let _ = self.remove_stale_socket(socket);
            }
        }
        results
    }

    /// Kills whatever else carries the markers of the stopped, and confirms that
    /// it is gone: a server whose wrapper did not `exec` it, with port and
    /// memory, or a helper, in whichever session it is. Looks again until
    /// nothing is left, for what is killed may just have started another.
    fn end_others(&self, targets: &[StopTarget], results: &mut [Result<(), StopError>]) {
        let deadline = Instant::now() + KILL_TIME;
        loop {
            let stopped: BTreeMap<&InstanceId, usize> = (targets.iter().zip(&*results).enumerate())
                .filter_map(|(index, (target, result))| result.as_ref().ok().map(|()| (&target.id, index)))
                .collect();
            let left = match scan::scan(&self.state_id) {
                _ if stopped.is_empty() => return,
                Ok(scan) => scan.ours,
                Err(error) => {
                    let error = error.to_string();
                    return stopped.into_values().for_each(|index| {
                        results[index] = Err(kernel(&targets[index], io::Error::other(error.clone())));
                    });
                }
            };
            let mut others = Vec::new();
            for other in left {
                let Some(index) = stopped.get(&other.id).copied() else { continue };
                match Pidfd::open(other.pid, other.start_ticks) {
                    Ok(Some(pidfd)) => others.push(Other { index, pid: other.pid, pidfd }),
                    Ok(None) => {}
                    Err(error) => results[index] = Err(kernel(&targets[index], error)),
                }
            }
            if others.is_empty() {
                return;
            }
            end_all(others, targets, results, deadline);
        }
    }

    /// The target's pidfd once it is known to be the target's; `None` when it
    /// is gone.
    fn identify(&self, target: &StopTarget) -> Result<Option<Pidfd>, StopError> {
        let StopTarget { handle: Handle::Process(process), id, model, .. } = target;
        if process.boot_id != self.boot_id {
            return Ok(None);
        }
        if process.pid_namespace != self.pid_namespace {
            return Err(StopError::Elsewhere { model: model.clone(), pid: process.pid });
        }
        let opened = Pidfd::open(process.pid, process.start_ticks).map_err(|source| kernel(target, source))?;
        let Some(pidfd) = opened else { return Ok(None) };
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
        self.outcome = Err(kernel(self.target, source));
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
                let StopTarget { model, handle: Handle::Process(process), .. } = self.target;
                Err(StopError::StillAlive { model: model.clone(), pid: process.pid })
            }
            Err(error) => Err(error),
        }
    }
}

fn kernel(target: &StopTarget, source: io::Error) -> StopError {
    StopError::Kernel { model: target.model.clone(), pid: target.handle.pid(), source }
}

/// A process that ends with a target.
struct Other {
    /// The target's.
    index: usize,
    pid: i32,
    pidfd: Pidfd,
}

/// The others in the sessions of those that are about to be stopped. Nobody
/// enters the session of another, so they are the instance's even if they have
/// lost its markers. Only as long as its leader lives is it known whose it is.
/// What `sudo` made another user's cannot be ended and is left.
fn in_sessions(targets: &[StopTarget], identified: &[Result<Option<Pidfd>, StopError>]) -> Vec<Other> {
    let alive = targets.iter().zip(identified).enumerate().filter(|(_, (_, found))| matches!(found, Ok(Some(_))));
    let leaders: BTreeMap<i32, usize> = alive.map(|(index, (target, _))| (target.handle.pid(), index)).collect();
    let user = rustix::process::geteuid().as_raw();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let others = pids.filter_map(|pid: i32| {
        let leader = process::session(pid).filter(|leader| *leader != pid)?;
        let index = *leaders.get(&leader)?;
        let is_ours = std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == user);
        let start_ticks = Stat::of(pid).ok()??.start_ticks;
        let pidfd = Pidfd::open(pid, start_ticks).ok()??;
        let StopTarget { handle: Handle::Process(process), .. } = &targets[index];
        let is_its = process::session(pid) == Some(leader)
            && process::is_alive(process.pid, process.start_ticks).is_ok_and(|alive| alive);
        (is_ours && is_its).then_some(Other { index, pid, pidfd })
    });
    others.collect()
}

/// Kills what is left of targets that are gone, and waits for its end.
fn end_all(others: Vec<Other>, targets: &[StopTarget], results: &mut [Result<(), StopError>], deadline: Instant) {
    let mut killed = Vec::new();
    for other in others {
        if results[other.index].is_err() {
            continue;
        }
        reach(Point::LeftoverKill);
        let sent = other.pidfd.signal(Signal::KILL);
        reach(Point::LeftoverKilled);
        match sent {
            Ok(()) => killed.push(other),
            Err(source) => results[other.index] = Err(kernel(&targets[other.index], source)),
        }
    }
    for Other { index, pid, pidfd } in killed {
        let left = deadline.saturating_duration_since(Instant::now());
        let gone = Pidfd::wait_any([&pidfd], &[], left).is_ok_and(|(gone, _)| gone == [true]);
        if !gone {
            results[index] = Err(StopError::StillAlive { model: targets[index].model.clone(), pid });
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
