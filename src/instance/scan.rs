//! Looks through `/proc` for processes of instances.
//!
//! Every process that runs as our user and carries the markers belongs to an
//! instance, whatever its parent and session: children inherit the
//! markers, and a wrapper may leave a server behind that only its markers
//! identify. [`super::group`] decides which of them serves.
//!
//! The cheap tests come first. A session is made by a process of an instance or
//! by somebody else, so the environment of a process is read only if it leads
//! its session, if that is led by one of ours, or if its leader is gone.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::unix::fs::MetadataExt;

use super::marker::{DEFINITION, Environment, INSTANCE, MODEL, SPEC, STATE};
use super::process::{self, Stat};
use crate::model::{InstanceId, ModelName, SpecHash};

/// A live process with markers.
#[derive(Clone, Debug)]
pub(super) struct Marked {
    pub id: InstanceId,
    pub model: ModelName,
    pub spec: SpecHash,
    pub pid: i32,
    pub parent: i32,
    pub start_ticks: u64,
    /// Whether it leads its session.
    pub leads: bool,
    pub environment: Environment,
}

/// All live processes with markers.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Those under our state id.
    pub ours: Vec<Marked>,
    /// Those under another: `(model, pid)` by definition path.
    pub foreign: BTreeMap<String, (String, i32)>,
    /// Pid and start time of those that may have been ours and are on their way
    /// out: their markers can no longer be read, their sockets are still open.
    pub leaving: Vec<(i32, u64)>,
}

/// Looks at every process once. A process that vanishes meanwhile is absent.
///
/// # Errors
/// `/proc` as a whole, or a process that might be an instance, cannot be read.
pub(super) fn scan(state_id: &str) -> io::Result<Scan> {
    let user = rustix::process::geteuid().as_raw();
    let mut scan = Scan::default();
    // Sessions that somebody else leads, and who is in the others.
    let mut closed = HashSet::new();
    let mut members = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Single processes may be hidden or vanish meanwhile.
        let Some(session) = process::session(pid) else { continue };
        if session != pid {
            members.push((pid, session));
        } else if entry.metadata().is_ok_and(|meta| meta.uid() != user) || !scan.take_in(state_id, pid)? {
            closed.insert(pid);
        }
    }
    members.retain(|(_, session)| !closed.contains(session));
    for (pid, _) in members {
        if std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == user) {
            scan.take_in(state_id, pid)?;
        }
    }
    Ok(scan)
}

/// When leaders of ours started whose environment may not be read, in ticks
/// after boot. Most are no instances (agents guard their memory), but a start
/// that was never recorded may have become one of them.
///
/// # Errors
/// As [`scan`].
pub(super) fn unreadable() -> io::Result<Vec<u64>> {
    let user = rustix::process::geteuid().as_raw();
    let mut started = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Their /proc/PID belongs to root.
        if process::session(pid) == Some(pid)
            && process::user(pid) == Some(user)
            && let Some((stat, None)) = read(pid)?
        {
            started.push(stat.start_ticks);
        }
    }
    Ok(started)
}

/// The process if it is alive; without its environment if that may not be read.
///
/// # Errors
/// What might be an instance could not be read for want of descriptors or
/// memory: that it was not seen proves nothing.
fn read(pid: i32) -> io::Result<Option<(Stat, Option<Environment>)>> {
    let Some(stat) = Stat::of(pid)?.filter(|stat| !stat.is_dead()) else { return Ok(None) };
    match Environment::of(pid) {
        Ok(environment) => Ok(Some((stat, Some(environment)))),
        Err(error) if process::is_gone(&error) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(Some((stat, None))),
        Err(error) => Err(error),
    }
}

impl Scan {
    /// Takes in a process of our user. Whether others of its session may be
    /// ours, too: it is ours, or no longer there to tell.
    fn take_in(&mut self, state_id: &str, pid: i32) -> io::Result<bool> {
        let Some((stat, environment)) = read(pid)? else { return Ok(true) };
        let Some(environment) = environment else { return Ok(false) };
        if environment.is_empty() && process::is_exiting(pid) {
            self.leaving.push((pid, stat.start_ticks));
            return Ok(true);
        }
        Ok(self.sort(state_id, pid, stat, environment))
    }

    /// Whether it is ours.
    fn sort(&mut self, state_id: &str, pid: i32, stat: Stat, environment: Environment) -> bool {
        let Some(state) = environment.text(STATE) else { return false };
        let leads = stat.session == pid;
        if state != state_id {
            if let (Some(definition), Some(model)) = (environment.text(DEFINITION), environment.text(MODEL))
                && (leads || environment.text(SPEC).is_some_and(|spec| process::has_argument(pid, spec)))
            {
                self.foreign.insert(definition.to_owned(), (model.to_owned(), pid));
            }
            return false;
        }
        let marker = |name| environment.text(name).filter(|value| !value.is_empty());
        let (Some(id), Some(spec)) = (marker(INSTANCE), marker(SPEC)) else { return false };
        let Some(Ok(model)) = marker(MODEL).map(ModelName::parse) else { return false };
        self.ours.push(Marked {
            id: InstanceId(id.to_owned()),
            spec: SpecHash(spec.to_owned()),
            model,
            pid,
            parent: stat.parent,
            start_ticks: stat.start_ticks,
            leads,
            environment,
        });
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn sorted(environment: &str) -> Scan {
        let stat = Stat::parse(b"7 (x) S 1 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 55 0 0").unwrap();
        let mut scan = Scan::default();
        scan.sort("mine", 7, stat, Environment::new(environment.replace(' ', "\0").into_bytes()));
        scan
    }

    #[test]
    fn a_process_with_our_state_id_is_an_instance() {
        let scan = sorted("HERDSMAN_STATE=mine HERDSMAN_INSTANCE=i HERDSMAN_MODEL=m HERDSMAN_SPEC=v1:0");
        let found = &scan.ours[0];
        assert_eq!((found.id.0.as_str(), found.model.as_str(), found.pid, found.start_ticks), ("i", "m", 7, 55));
        assert!(scan.foreign.is_empty());
    }

    #[test]
    fn another_state_id_is_foreign_and_known_by_its_definition() {
        let scan = sorted("HERDSMAN_STATE=theirs HERDSMAN_INSTANCE=i HERDSMAN_MODEL=m HERDSMAN_DEFINITION=/d/m.toml");
        assert!(scan.ours.is_empty());
        assert_eq!(scan.foreign["/d/m.toml"], ("m".to_owned(), 7));
    }

    #[test]
    fn markers_that_name_no_model_make_no_instance() {
        for bad in ["", "HERDSMAN_MODEL=", "HERDSMAN_MODEL=a/b"] {
            let scan = sorted(&format!("HERDSMAN_STATE=mine HERDSMAN_INSTANCE=i HERDSMAN_SPEC=s {bad}"));
            assert!(scan.ours.is_empty(), "{bad:?}");
        }
    }

    #[test]
    fn the_whole_machine_can_be_looked_at() {
        scan("no such state id").unwrap();
    }
}
