//! One look at the machine.
//!
//! | a recorded instance whose process | is |
//! |---|---|
//! | carries our markers | seen, under the id it carries |
//! | is gone, and left another one that can serve | seen, as that one: [`super::group`] |
//! | has the recorded pid and start time, and markers that cannot be read or are missing | unknown |
//! | has them and is on its way out | absent once it is gone, which is waited for a little; else unknown |
//! | has them and the markers of somebody else | absent |
//! | was never recorded, while one that may not be read has started since | unknown |
//! | is in another pid namespace of this boot | unknown: it cannot be seen from here |
//! | anything else: gone, a zombie, a later process with its pid, an earlier boot | absent |

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::death::{self, Known};
use super::endpoint::{Endpoint, Target, listening_for};
use super::group::{self, Member, Roles};
use super::marker::{Environment, STATE};
use super::pidfd::Pidfd;
use super::scan::{self, Scan};
use super::socket::{self, Listening};
use super::{Host, HostError, log, process};
use crate::model::{
    Death, Handle, Health, Instance, InstanceId, InstanceRecord, Leftover, Listener, ModelName, Observed, ProcessId,
    Progress, Served, Timestamp,
};

/// How long a look waits for processes that are on their way out: the kernel
/// frees their memory and threads first, and only then reports how they ended.
const DYING: Duration = Duration::from_millis(500);

impl Host {
    /// Looks once at everything. `recorded` are the records: they separate unknown
    /// from absent, and say whose deaths to explain from `<logs>/<model>.log`.
    ///
    /// # Errors
    /// [`HostError`] when `/proc` as a whole cannot be read: then nothing is
    /// known.
    pub fn observe(&mut self, recorded: &[InstanceRecord], logs: &Path) -> Result<Observed, HostError> {
        self.reap();
        self.exits.retain(|id, _| recorded.iter().any(|record| record.id == *id));
        let patience = Instant::now() + DYING;
        let Scan { ours, foreign, leaving } = self.scan(recorded)?;
        // Until they are gone, their ports look like somebody else's.
        let unseen = |record: &&InstanceRecord| ours.iter().all(|marked| marked.id != record.id);
        let absent: Vec<&InstanceRecord> = recorded.iter().filter(unseen).collect();
        for process in absent.iter().filter_map(|record| record.handle.as_ref().map(Handle::process)) {
            self.await_exit(process, patience);
        }
        for (pid, start_ticks) in leaving {
            ends(pid, start_ticks, patience);
        }

        let (members, listening) = group::members(ours).map_err(HostError::reading("/proc/net"))?;
        let listeners = listeners(&listening, &members);
        let (instances, leftovers) = self.describe(group::groups(members), recorded)?;
        // The exit of a wrapper says nothing about the server it left.
        self.exits.retain(|id, _| instances.iter().all(|instance| instance.id != *id));

        let seen: BTreeSet<&InstanceId> = instances.iter().map(|instance| &instance.id).collect();
        let unseen = recorded.iter().filter(|record| !seen.contains(&record.id));
        let guarded = guarded_starts(recorded)?;
        let (unknown, dead): (Vec<_>, Vec<_>) =
            unseen.partition(|record| match record.handle.as_ref().map(Handle::process) {
                Some(process) => self.may_live(process, patience),
                None => guarded.iter().any(|started| *started >= record.started_at),
            });
        let unknown = unknown.into_iter().map(|record| record.id.clone()).collect();
        // Again, for those that have died since.
        self.reap();
        let deaths = dead.into_iter().map(|record| (record.id.clone(), self.death(record, logs, &listeners))).collect();
        let boot_id = self.boot_id.clone();
        Ok(Observed { boot_id, instances, leftovers, unknown, deaths, listeners, foreign })
    }

    /// Looks again if a recorded instance is missing: a process that ended
    /// during the first look may have left one that this look was already past.
    fn scan(&self, recorded: &[InstanceRecord]) -> Result<Scan, HostError> {
        let scan = || scan::scan(&self.state_id).map_err(HostError::reading("/proc"));
        let first = scan()?;
        let is_missing = |record: &InstanceRecord| first.ours.iter().all(|marked| marked.id != record.id);
        if recorded.iter().any(is_missing) { scan() } else { Ok(first) }
    }

    fn death(&self, record: &InstanceRecord, logs: &Path, listeners: &BTreeMap<u16, Listener>) -> Death {
        let is_taken = |port: &u16| matches!(listeners.get(port), Some(Listener::Stranger));
        let known = Known {
            exit: self.exits.get(&record.id).copied(),
            taken_port: record.port.filter(is_taken),
            was_ready: record.ready.is_some(),
        };
        death::explain(&log::of_instance(logs, &record.model, &record.id), &record.id, known)
    }

    /// Returns what each instance says it serves, in the order given; asks all at
    /// once.
    pub fn served(&mut self, instances: &[&Instance]) -> Vec<Served> {
        let targets = self.targets(instances);
        self.ask(targets, Served::Unanswered, |http, targets| http.served(targets))
            .unwrap_or_else(|_| vec![Served::Unanswered; instances.len()])
    }

    /// Returns where each instance can be reached now, if it lives and owns its socket.
    pub(super) fn targets(&self, instances: &[&Instance]) -> Vec<Option<Target>> {
        let endpoint = |instance: &&Instance| {
            let &ProcessId { pid, start_ticks, .. } = instance.handle.process();
            process::is_alive(pid, start_ticks).ok().filter(|alive| *alive)?;
            Some((pid, endpoint(pid).ok()?))
        };
        let endpoints: Vec<Option<(i32, Endpoint)>> = instances.iter().map(endpoint).collect();
        let told = endpoints.iter().flatten().map(|(_, endpoint)| endpoint);
        let Ok(listening) = listening_for(told) else { return vec![None; instances.len()] };
        let target = |(pid, endpoint): (i32, Endpoint)| endpoint.target(&socket::sockets_of(pid), &listening);
        endpoints.into_iter().map(|endpoint| endpoint.and_then(target)).collect()
    }

    /// Asks those that can be reached; the others get `without`.
    pub(super) fn ask<T: Clone>(
        &mut self,
        targets: Vec<Option<Target>>,
        without: T,
        question: impl FnOnce(&super::http::Http, Vec<Target>) -> Vec<T>,
    ) -> Result<Vec<T>, HostError> {
        if targets.iter().all(Option::is_none) {
            return Ok(vec![without; targets.len()]);
        }
        let asked: Vec<bool> = targets.iter().map(Option::is_some).collect();
        let mut answers = question(self.http()?, targets.into_iter().flatten().collect()).into_iter();
        let answer = |asked: bool| if asked { answers.next() } else { None };
        Ok(asked.into_iter().map(answer).map(|answer| answer.unwrap_or_else(|| without.clone())).collect())
    }

    /// What each group is and answers; `NotListening` without its socket.
    fn describe(
        &mut self,
        groups: Vec<Vec<Member>>,
        recorded: &[InstanceRecord],
    ) -> Result<(Vec<Instance>, Vec<Leftover>), HostError> {
        if groups.is_empty() {
            self.drains.looked(BTreeMap::new());
            return Ok((Vec::new(), Vec::new()));
        }
        let boot = process::boot_time().map_err(HostError::reading("/proc/stat"))?;
        let recorded: BTreeMap<&InstanceId, &InstanceRecord> =
            recorded.iter().map(|record| (&record.id, record)).collect();
        let (mut serving, mut leftovers) = (Vec::new(), Vec::new());
        for group in groups {
            let Some(oldest) = group.first().map(|member| &member.marked) else { continue };
            match group::roles(&group, recorded.get(&oldest.id).copied()) {
                Some(roles) => serving.push((group, roles)),
                None => leftovers.push(Leftover {
                    id: oldest.id.clone(),
                    model: oldest.model.clone(),
                    handle: self.identity(oldest.pid, oldest.start_ticks).into(),
                }),
            }
        }
        let servers = || serving.iter().map(|(group, roles)| &group[roles.server]);
        self.drains.looked(servers().map(|server| (server.marked.id.clone(), server.sockets.clone())).collect());
        let targets = servers().map(|server| server.target.clone()).collect();
        let healths = self.ask(targets, Health::NotListening, |http, targets| http.health(targets))?;
        let seen = serving.into_iter().zip(healths);
        let mut instances: Vec<Instance> =
            seen.map(|((group, roles), health)| self.instance(&group, roles, health, boot)).collect();
        instances.sort_by(|a, b| order(&a.model, a.handle.process()).cmp(&order(&b.model, b.handle.process())));
        leftovers.sort_by(|a, b| order(&a.model, a.handle.process()).cmp(&order(&b.model, b.handle.process())));
        Ok((instances, leftovers))
    }

    fn instance(&self, group: &[Member], roles: Roles, health: Health, boot: Timestamp) -> Instance {
        let (main, server) = (&group[roles.main].marked, &group[roles.server]);
        let resident = process::resident(server.marked.pid);
        // How far the loading has come does not matter once it is over.
        let progress = match health {
            Health::Ready => Progress(resident),
            _ => process::progress(server.marked.pid, resident),
        };
        let health = match health {
            Health::Ready if roles.main != roles.server => Health::Wrapped { child: server.marked.pid },
            health => health,
        };
        Instance {
            id: main.id.clone(),
            model: main.model.clone(),
            spec: main.spec.clone(),
            handle: self.identity(main.pid, main.start_ticks).into(),
            started_at: process::started_at(boot, main.start_ticks),
            address: server.endpoint.address.clone(),
            health,
            progress,
            resident,
        }
    }

    /// The identity of a process seen here and now.
    pub(super) fn identity(&self, pid: i32, start_ticks: u64) -> ProcessId {
        ProcessId { pid, start_ticks, boot_id: self.boot_id.clone(), pid_namespace: self.pid_namespace }
    }

    /// Waits for a recorded process that is on its way out.
    fn await_exit(&self, recorded: &ProcessId, patience: Instant) {
        let is_here = recorded.boot_id == self.boot_id && recorded.pid_namespace == self.pid_namespace;
        if is_here && process::is_exiting(recorded.pid) {
            ends(recorded.pid, recorded.start_ticks, patience);
        }
    }

    /// Whether a recorded process that the scan did not find may still live:
    /// the table above. One that is on its way out has until `patience`.
    fn may_live(&self, recorded: &ProcessId, patience: Instant) -> bool {
        if recorded.boot_id != self.boot_id {
            return false;
        }
        if recorded.pid_namespace != self.pid_namespace {
            return true;
        }
        match process::is_alive(recorded.pid, recorded.start_ticks) {
            Ok(true) if process::is_exiting(recorded.pid) => !ends(recorded.pid, recorded.start_ticks, patience),
            Ok(true) => match Environment::of(recorded.pid) {
                // The scan would have seen our markers, unless the process has changed since.
                Ok(environment) => environment.text(STATE).is_none_or(|state| state == self.state_id),
                Err(error) => !process::is_gone(&error),
            },
            Ok(false) => false,
            Err(_) => true,
        }
    }
}

/// When processes of ours that may not be read started, for starts that were
/// intended and never recorded: one of them may be what became of it.
fn guarded_starts(recorded: &[InstanceRecord]) -> Result<Vec<Timestamp>, HostError> {
    if recorded.iter().all(|record| record.handle.is_some()) {
        return Ok(Vec::new());
    }
    let boot = process::boot_time().map_err(HostError::reading("/proc/stat"))?;
    let started = scan::unreadable().map_err(HostError::reading("/proc"))?;
    // The clock reads up to a second early.
    let latest = |ticks| process::started_at(boot, ticks).plus(Duration::from_secs(1));
    Ok(started.into_iter().map(latest).collect())
}

/// Whether the process is gone before `patience` is over.
fn ends(pid: i32, start_ticks: u64, patience: Instant) -> bool {
    match Pidfd::open(pid, start_ticks) {
        Ok(Some(pidfd)) => {
            let left = patience.saturating_duration_since(Instant::now());
            Pidfd::wait_any([&pidfd], &[], left).is_ok_and(|(gone, _)| gone == [true])
        }
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Returns the address options that a running process was started with.
pub(super) fn endpoint(pid: i32) -> io::Result<Endpoint> {
    Ok(Endpoint::read(&process::command_line_of_instance(pid)?, &Environment::of(pid)?))
}

/// Returns the command line of a running instance, and a key that it accepts, if it asks
/// for one; `None`: it has ended, or cannot be read.
#[must_use]
pub fn command_line(instance: &Instance) -> Option<(Vec<String>, Option<String>)> {
    let &ProcessId { pid, start_ticks, .. } = instance.handle.process();
    let line = process::command_line_of_instance(pid).ok()?;
    let endpoint = Endpoint::read(&line, &Environment::of(pid).ok()?);
    // Read first, then checked: the pid may be somebody else's by now.
    process::is_alive(pid, start_ticks).ok().filter(|alive| *alive)?;
    let words = line.strip_suffix(b"\0").unwrap_or(&line).split(|&byte| byte == 0);
    Some((words.map(|word| String::from_utf8_lossy(word).into_owned()).collect(), endpoint.key))
}

/// Every TCP port in use: ours when a process of ours owns a socket on it.
fn listeners(listening: &Listening, ours: &[Member]) -> BTreeMap<u16, Listener> {
    let mut listeners: BTreeMap<u16, Listener> =
        listening.ports().into_iter().map(|port| (port, Listener::Stranger)).collect();
    for member in ours {
        for address in member.sockets.iter().filter_map(|inode| listening.tcp.get(inode)) {
            listeners.insert(address.port(), Listener::Ours(member.marked.id.clone()));
        }
    }
    listeners
}

/// In order of model, then start.
fn order<'o>(model: &'o ModelName, process: &ProcessId) -> (&'o ModelName, u64, i32) {
    (model, process.start_ticks, process.pid)
}
