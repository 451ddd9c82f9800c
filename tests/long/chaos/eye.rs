//! The outside eye: a thread that looks through `/proc` all the time.
//!
//! It knows instances by the state id in their environment, and nothing else
//! of herdsman. What is wrong whatever else happens, it says itself: two live
//! instances of one model, and a stranger that ended or was stopped. Of ends
//! of instances it only keeps a list: whether they were allowed, the runner
//! knows, who made most of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, getpid, pidfd_open, pidfd_send_signal, waitpid};

use crate::support::{Process, Stat, leads_session, pids};

/// Between two looks; one takes a millisecond or two itself.
const PAUSE: Duration = Duration::from_millis(2);

/// A process, also after its pid has become another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    pub pid: i32,
    start_ticks: u64,
}

impl From<&Process> for Id {
    fn from(process: &Process) -> Self {
        Self { pid: process.pid, start_ticks: process.start_ticks }
    }
}

impl Id {
    /// Its stat, unless it is dead.
    fn stat(self) -> Option<Stat> {
        Stat::of_living(self.pid).filter(|stat| stat.start_ticks == self.start_ticks)
    }

    /// Sends it a signal; whether it was there to get it.
    pub fn signal(self, signal: Signal) -> bool {
        let Some(pid) = Pid::from_raw(self.pid) else { return false };
        let Ok(pidfd) = pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { return false };
        // Only now is it certain whom the descriptor means.
        self.stat().is_some() && pidfd_send_signal(pidfd, signal).is_ok()
    }
}

/// What has been seen.
#[derive(Default)]
pub struct Sight {
    pub scans: u64,
    /// Instances that began to live.
    pub starts: u64,
    /// Live instances, summed over all looks.
    pub sightings: u64,
    /// Instances that live, and their models.
    pub live: BTreeMap<Id, String>,
    /// Those that do not any more, until they are taken.
    pub ended: Vec<(Id, String)>,
    pub violations: Vec<String>,
    /// Processes that nobody may touch, and what they are.
    strangers: BTreeMap<Id, String>,
    doubles: BTreeSet<(Id, Id)>,
}

/// The thread. Dropping it ends it.
pub struct Eye {
    sight: Arc<Mutex<Sight>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Eye {
    /// Watches over the instances of `state_id`.
    pub fn open(state_id: &str) -> Self {
        let (sight, done) = (Arc::<Mutex<Sight>>::default(), Arc::<AtomicBool>::default());
        let mut look = Look { state_id: state_id.to_owned(), known: BTreeMap::new(), sight: Arc::clone(&sight) };
        let ends = Arc::clone(&done);
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                look.around();
                std::thread::sleep(PAUSE);
            }
        });
        Self { sight, done, thread: Some(thread) }
    }

    /// What has been seen so far; the eye waits meanwhile.
    pub fn sight(&self) -> MutexGuard<'_, Sight> {
        self.sight.lock().unwrap()
    }

    /// From now on nobody may touch this process.
    pub fn guard(&self, id: Id, what: &str) {
        self.sight().strangers.insert(id, what.to_owned());
    }

    /// The runner itself is about to touch it.
    pub fn let_go(&self, id: Id) {
        self.sight().strangers.remove(&id);
    }

    /// Live instances.
    pub fn live(&self) -> Vec<(Id, String)> {
        self.sight().live.iter().map(|(id, model)| (*id, model.clone())).collect()
    }

    /// Whether the thread has ended, by a panic.
    pub fn is_blind(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Eye {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A second panic while unwinding would hide the first.
            let _ = thread.join();
        }
    }
}

struct Look {
    state_id: String,
    /// What each process is; read again when it has become another program.
    known: BTreeMap<Id, (String, Option<String>)>,
    sight: Arc<Mutex<Sight>>,
}

impl Look {
    fn around(&mut self) {
        let mut seen = BTreeSet::new();
        let mut instances = BTreeMap::new();
        // An instance leads a session; to ask for that is a hundred times
        // cheaper than to read a stat.
        for pid in pids().filter(|pid| leads_session(*pid)) {
            let Some(stat) = Stat::of(pid) else { continue };
            let id = Id { pid, start_ticks: stat.start_ticks };
            seen.insert(id);
            if !stat.is_dead() {
                if let Some(model) = self.model(id, &stat) {
                    instances.insert(id, model);
                }
            } else if self.known.get(&id).is_some_and(|(_, model)| model.is_some()) {
                reap(&stat, pid);
            }
        }
        self.known.retain(|id, _| seen.contains(id));
        let mut sight = self.sight.lock().unwrap();
        sight.scans += 1;
        sight.take_in(instances);
        sight.look_for_doubles();
        sight.look_after_strangers();
    }

    /// The model that this process is an instance of, if it is one: the leader
    /// of its session, with the state id in its environment.
    fn model(&mut self, id: Id, stat: &Stat) -> Option<String> {
        if let Some((name, model)) = self.known.get(&id)
            && *name == stat.name
        {
            return model.clone();
        }
        let process = Process::read(id.pid).filter(|process| Id::from(process) == id)?;
        if process.environment.is_empty() {
            // In the midst of an exec, or of its end.
            return None;
        }
        let is_instance = process.session == id.pid && process.variable("HERDSMAN_STATE") == Some(&self.state_id);
        let model = process.variable("HERDSMAN_MODEL").filter(|_| is_instance).map(str::to_owned);
        self.known.insert(id, (stat.name.clone(), model.clone()));
        model
    }
}

/// Servers of a herdsman that was killed become children of this process.
fn reap(stat: &Stat, pid: i32) {
    if stat.parent == getpid().as_raw_pid() {
        // It has been reaped since, if this fails.
        let _ = waitpid(Pid::from_raw(pid), WaitOptions::NOHANG);
    }
}

impl Sight {
    fn take_in(&mut self, instances: BTreeMap<Id, String>) {
        let new = instances.keys().filter(|id| !self.live.contains_key(id)).count();
        self.starts += u64::try_from(new).unwrap();
        self.sightings += u64::try_from(instances.len()).unwrap();
        let before = std::mem::replace(&mut self.live, instances);
        let ended = before.into_iter().filter(|(id, _)| !self.live.contains_key(id));
        self.ended.extend(ended);
    }

    /// A look takes a while, so the first of two may have ended before the
    /// second began. If the first lives when both have been seen, and the
    /// second after that, then both lived at one time.
    fn look_for_doubles(&mut self) {
        let mut by_model: BTreeMap<&str, Vec<Id>> = BTreeMap::new();
        for (id, model) in &self.live {
            by_model.entry(model).or_default().push(*id);
        }
        let pairs = by_model.iter().flat_map(|(model, ids)| ids.windows(2).map(move |two| (*model, two[0], two[1])));
        let mut doubles = Vec::new();
        for (model, one, two) in pairs.filter(|(_, one, two)| !self.doubles.contains(&(*one, *two))) {
            if let (Some(first), Some(second)) = (one.stat(), two.stat()) {
                doubles.push((one, two, format!("{model} has two instances: {one:?} {first:?}, {two:?} {second:?}")));
            }
        }
        for (one, two, violation) in doubles {
            self.doubles.insert((one, two));
            self.violations.push(violation);
        }
    }

    fn look_after_strangers(&mut self) {
        let touched = |id: &Id| id.stat().is_none_or(|stat| stat.state == 'T');
        let gone: Vec<Id> = self.strangers.keys().filter(|id| touched(id)).copied().collect();
        for id in gone {
            let what = self.strangers.remove(&id).unwrap_or_default();
            self.violations.push(format!("{what} (pid {}) was touched: {:?}", id.pid, Stat::of(id.pid)));
        }
    }
}
