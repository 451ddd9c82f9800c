//! Waits between passes until another look is worth it.

use std::time::{Duration, Instant};

use super::endpoint::{Endpoint, Target, listening_for};
use super::observe::endpoint;
use super::pidfd::{Bell, Pidfd};
use super::socket::{Listening, sockets_of};
use super::{Host, HostError, drain, process};
use crate::model::{Handle, Health, Instance, ModelName, ProcessId};

/// The first pause between two questions: a tiny model is ready in 31 ms.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Later pauses are this part of the time that the wait has taken: what waits for a
/// model gets it hardly later than it is ready, and a long load is not asked all along.
const SHARE: u32 = 50;

/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// The instances that waits are about. A handle on each process is kept from
/// one wait to the next, so that no exit is missed in between.
#[derive(Debug, Default)]
pub struct Watched(Vec<Watch>);

#[derive(Debug)]
struct Watch {
    model: ModelName,
    process: ProcessId,
    health: Health,
    /// `None` once it is gone.
    pidfd: Option<Pidfd>,
    asked: Option<Asked>,
}

/// One that is asked again and again, until its answer changes.
#[derive(Debug)]
struct Asked {
    endpoint: Endpoint,
    /// Once it owns its socket, it does so until it ends.
    target: Option<Target>,
    /// The target is of a process below it: it is a wrapper.
    wrapped: Option<i32>,
}

/// What ended a wait; nothing: its time was over.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// Whose server has exited.
    pub exited: Vec<ModelName>,
    /// The models whose server changed its answer.
    pub answered: Vec<ModelName>,
    /// Requests in flight may have ended, or it is time to ask again.
    pub drained: bool,
    /// Whether each bell rang, in the order given.
    pub rung: Vec<bool>,
    /// The machine could not be looked at: the next pass reports why.
    pub blind: bool,
}

impl Woken {
    /// Whether the time was over before anything happened.
    #[must_use]
    pub fn by_nothing(&self) -> bool {
        let Self { exited, answered, drained, rung, blind } = self;
        exited.is_empty() && answered.is_empty() && !rung.contains(&true) && !drained && !blind
    }
}

impl Watched {
    /// Watches `instances` from now on, and no others; `asks` says which of
    /// them are also asked for their health.
    pub fn set(&mut self, instances: &[Instance], asks: impl Fn(&Instance) -> bool) {
        let mut before = std::mem::take(&mut self.0);
        for instance in instances {
            let known = before.iter().position(|watch| watch.process == *instance.handle.process());
            let mut watch = match known {
                Some(index) => before.swap_remove(index),
                None => Watch::new(instance),
            };
            watch.health = instance.health.clone();
            if !asks(instance) {
                watch.asked = None;
            } else if watch.asked.is_none() {
                // Gone, if it cannot be read: the pidfd says so as well.
                let endpoint = endpoint(instance.handle.pid()).ok();
                watch.asked = endpoint.map(|endpoint| Asked { endpoint, target: None, wrapped: None });
            }
            self.0.push(watch);
        }
    }

    /// Those that exited since the last time, each once.
    fn exits(&mut self, gone: &[bool]) -> Vec<ModelName> {
        let mut gone = gone.iter();
        let mut exited = Vec::new();
        for watch in &mut self.0 {
            // Only those with a handle were waited for.
            if watch.pidfd.is_some() && gone.next() == Some(&true) {
                (watch.pidfd, watch.asked) = (None, None);
                exited.push(watch.model.clone());
            }
        }
        exited
    }

    fn asks(&self) -> bool {
        self.0.iter().any(|watch| watch.asked.is_some())
    }
}

impl Watch {
    fn new(instance: &Instance) -> Self {
        let Instance { model, handle: Handle::Process(process), health, .. } = instance;
        let pidfd = Pidfd::open(process.pid, process.start_ticks);
        // Gone since it was seen: a descriptor that is readable at once.
        let pidfd = pidfd.ok().flatten().or_else(|| Pidfd::gone().ok());
        Self { model: model.clone(), process: process.clone(), health: health.clone(), pidfd, asked: None }
    }

    /// Whether it must be asked, and it, or a process below it, has a socket
    /// that was not found yet.
    fn lacks_target(&self) -> bool {
        let unknown = self.asked.as_ref().is_some_and(|asked| asked.target.is_none());
        unknown && self.processes().any(|pid| !sockets_of(pid).is_empty())
    }

    /// It, and those below it: a wrapper never has a socket.
    fn processes(&self) -> impl Iterator<Item = i32> {
        let pid = self.process.pid;
        std::iter::once(pid).chain(process::descendants(pid))
    }

    /// Looks for the socket of its endpoint.
    fn find_target(&mut self, listening: &Listening) {
        let processes: Vec<i32> = self.processes().collect();
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.target.is_none()) else { return };
        let found =
            processes.into_iter().find_map(|pid| Some((pid, asked.endpoint.target(&sockets_of(pid), listening)?)));
        if let Some((pid, target)) = found {
            (asked.target, asked.wrapped) = (Some(target), (pid != self.process.pid).then_some(pid));
        }
    }

    /// What it answers, as a pass would see it.
    fn health(&self, answer: Health) -> Health {
        match (self.asked.as_ref().and_then(|asked| asked.wrapped), answer) {
            (Some(child), Health::Ready) => Health::Wrapped { child },
            (_, answer) => answer,
        }
    }
}

impl Host {
    /// As [`Host::wait`], for instances that are all asked, and one time only:
    /// whether something changed before the time was over.
    pub fn wait_for_change(&mut self, instances: &[Instance], timeout: Duration) -> bool {
        let mut watched = Watched::default();
        // How a draining one answers does not matter, and each question takes a connection.
        watched.set(instances, |instance| !self.drains.awaits(instance.handle.process()));
        !self.wait(&mut watched, &[], timeout).by_nothing()
    }

    /// Blocks until something about `watched` may have changed (one exits, or
    /// changes its answer), requests of one that drains may
    /// have ended, a bell rings, or the time is over. An exit is noticed at once,
    /// an answer after 5 ms at first and after 200 ms in a load of more than 10 s, the
    /// end of a request after 50 ms.
    pub fn wait(&mut self, watched: &mut Watched, bells: &[Bell<'_>], timeout: Duration) -> Woken {
        let begun = Instant::now();
        let deadline = begun.checked_add(timeout);
        loop {
            let pause = (begun.elapsed() / SHARE).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            let left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
            let (asks, drains) = (watched.asks(), self.drains.is_waiting());
            let longest =
                [asks.then_some(pause), drains.then_some(drain::LOOK)].into_iter().flatten().fold(left, Duration::min);
            let processes = watched.0.iter().filter_map(|watch| watch.pidfd.as_ref());
            let mut woken = match Pidfd::wait_any(processes, bells, longest) {
                Ok((gone, rung)) => Woken { exited: watched.exits(&gone), rung, ..Woken::default() },
                Err(_) => Woken { blind: true, ..Woken::default() },
            };
            woken.drained = drains && self.drains.may_have_ended();
            if asks && woken.by_nothing() && !left.is_zero() {
                match self.answers(watched) {
                    Ok(answered) => woken.answered = answered,
                    Err(_) => woken.blind = true,
                }
            }
            if !woken.by_nothing() || left.is_zero() || !asks && !drains {
                return woken;
            }
        }
    }

    /// Returns those of the asked whose answer has changed. The
    /// kernel's list of sockets is read only for those that hold a socket and
    /// were not found in it yet.
    fn answers(&mut self, watched: &mut Watched) -> Result<Vec<ModelName>, HostError> {
        if watched.0.iter().any(Watch::lacks_target) {
            let lacking = watched.0.iter().filter(|watch| watch.lacks_target());
            let endpoints = lacking.filter_map(|watch| Some(&watch.asked.as_ref()?.endpoint));
            let listening = listening_for(endpoints).map_err(HostError::reading("/proc/net"))?;
            watched.0.iter_mut().for_each(|watch| watch.find_target(&listening));
        }
        let asked: Vec<&Watch> = watched.0.iter().filter(|watch| watch.asked.is_some()).collect();
        let targets = asked.iter().map(|watch| watch.asked.as_ref()?.target.clone()).collect();
        let answers = self.ask(targets, Health::NotListening, |http, targets| http.health(targets))?;
        let changed = asked.iter().zip(answers).filter(|(watch, answer)| {
            let answer = watch.health(answer.clone());
            differ(&watch.health, &answer)
        });
        Ok(changed.map(|(watch, _)| watch.model.clone()).collect())
    }
}

/// Compares answers without the words of a failure, which may vary.
fn differ(seen: &Health, answer: &Health) -> bool {
    std::mem::discriminant(seen) != std::mem::discriminant(answer)
}
