//! The processes of one start, and which of them is the server.
//!
//! | the processes with its markers | the instance |
//! |---|---|
//! | the one herdsman started, and helpers below it | is that one |
//! | a wrapper that has ended, and the server it left behind | is that server |
//! | a wrapper that lives, and a server below it | is the wrapper, and never ready |
//! | helpers that a server left | is gone; they are leftovers |

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::endpoint::{Endpoint, Target, listening_for};
use super::process;
use super::scan::Marked;
use super::socket::{self, Listening};
use crate::model::{Handle, InstanceId, InstanceRecord};

/// A marked process and its sockets.
#[derive(Debug)]
pub(super) struct Member {
    pub marked: Marked,
    /// The address options it was started with.
    pub endpoint: Endpoint,
    /// The sockets it holds.
    pub sockets: BTreeSet<u64>,
    /// Where it can be reached, if it owns the socket of its endpoint.
    pub target: Option<Target>,
    /// Its command line names its spec: it is a server, or starts one.
    names_its_spec: bool,
}

/// Who of a group is the instance, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Roles {
    /// Whose end is the end of the instance.
    pub main: usize,
    /// Who serves: another one, if `main` is a wrapper.
    pub server: usize,
}

/// Reads the addresses and sockets of marked processes.
///
/// # Errors
/// The kernel's tables of sockets cannot be read.
pub(super) fn members(marked: Vec<Marked>) -> io::Result<(Vec<Member>, Listening)> {
    let mut members: Vec<Member> = marked.into_iter().map(Member::of).collect();
    let listening = listening_for(members.iter().map(|member| &member.endpoint))?;
    for member in &mut members {
        member.sockets = socket::sockets_of(member.marked.pid);
        member.target = member.endpoint.target(&member.sockets, &listening);
    }
    Ok((members, listening))
}

/// Puts together what belongs to one start, the oldest first.
pub(super) fn groups(members: Vec<Member>) -> Vec<Vec<Member>> {
    let mut groups: BTreeMap<InstanceId, Vec<Member>> = BTreeMap::new();
    for member in members {
        groups.entry(member.marked.id.clone()).or_default().push(member);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.iter_mut().for_each(|group| group.sort_by_key(|member| (member.marked.start_ticks, member.marked.pid)));
    groups
}

/// Who of a group is the instance; `None`: none of them can serve.
///
/// One that was ready and whose process is gone has ended, unless another of
/// its processes owns the socket: a process that only waits does not hide a crash.
pub(super) fn roles(group: &[Member], recorded: Option<&InstanceRecord>) -> Option<Roles> {
    let order = |index: &usize| {
        let is_elsewhere = recorded.is_some_and(|record| group[*index].endpoint.address.port != record.port);
        (top(group, *index) != *index, is_elsewhere, *index)
    };
    let serving = (0..group.len()).filter(|index| group[*index].target.is_some()).min_by_key(order);
    if let Some(server) = serving {
        return Some(Roles { main: top(group, server), server });
    }
    let process = recorded.and_then(|record| record.handle.as_ref().map(Handle::process));
    let is_recorded = |index: &usize| {
        let Marked { pid, start_ticks, .. } = group[*index].marked;
        process.is_some_and(|process| (process.pid, process.start_ticks) == (pid, start_ticks))
    };
    let was_ready = recorded.is_some_and(|record| record.ready.is_some());
    let may_serve = |index: &usize| {
        let member = &group[*index];
        let is_hopeful = member.names_its_spec || member.marked.leads && process.is_none();
        is_recorded(index) || is_hopeful && !was_ready
    };
    let tops = (0..group.len()).filter(|index| top(group, *index) == *index);
    let main = tops.filter(may_serve).min_by_key(|index| (!is_recorded(index), *index))?;
    Some(Roles { main, server: main })
}

/// The one of the group that stands above all others of that branch.
fn top(group: &[Member], index: usize) -> usize {
    let parent = |index: usize| group.iter().position(|member| member.marked.pid == group[index].marked.parent);
    // As often as there are processes: pids may have changed hands meanwhile.
    (0..group.len()).try_fold(index, |index, _| parent(index).ok_or(index)).unwrap_or_else(|top| top)
}

impl Member {
    fn of(marked: Marked) -> Self {
        // One that is gone since the scan listens nowhere we know of.
        let line = process::command_line_of_instance(marked.pid).unwrap_or_default();
        Self {
            endpoint: Endpoint::read(&line, &marked.environment),
            names_its_spec: process::has_word(&line, &marked.spec.0),
            sockets: BTreeSet::new(),
            target: None,
            marked,
        }
    }
}
