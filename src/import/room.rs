//! Which models of a source may run together, said as groups.
//!
//! Two models that must not run at once are in a group of which one runs. So the
//! groups cover every such pair, each with as many members as all exclude one
//! another.

use super::model::Model;
use super::names;
use super::remark::{SourceLocation, Why};
use super::source::Read;
use crate::model::DesiredState;

/// A group of `_groups.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name, valid.
    pub name: String,
    /// How many of its members run at once.
    pub max_running: usize,
    /// Its place in the source.
    pub place: SourceLocation,
}

/// The most groups that a person would still look at.
const MOST_GROUPS: usize = 20;

/// The most models whose pairs are looked at.
const MOST_MODELS: usize = 1000;

/// The pairs of models that must not run at once, by their numbers.
pub(super) struct Pairs {
    size: usize,
    marked: Vec<bool>,
}

impl Pairs {
    /// No pair of this many models; `None`: too many models.
    pub fn new(size: usize) -> Option<Self> {
        (size <= MOST_MODELS).then(|| Self { size, marked: vec![false; size * size] })
    }

    pub fn mark(&mut self, a: usize, b: usize) {
        for (a, b) in [(a, b), (b, a)] {
            if let Some(place) = self.marked.get_mut(a * self.size + b).filter(|_| a != b) {
                *place = true;
            }
        }
    }

    pub fn has(&self, a: usize, b: usize) -> bool {
        self.marked.get(a * self.size + b).copied().unwrap_or_default()
    }

    /// Sets of models that all exclude one another, until every pair is in one;
    /// `None`: too many.
    pub fn cover(&self) -> Option<Vec<Vec<usize>>> {
        let mut covered = Self::new(self.size)?;
        let mut sets: Vec<Vec<usize>> = Vec::new();
        for (a, b) in (0..self.size).flat_map(|a| (a + 1..self.size).map(move |b| (a, b))) {
            if !self.has(a, b) || covered.has(a, b) {
                continue;
            }
            if sets.len() == MOST_GROUPS {
                return None;
            }
            let mut set = vec![a, b];
            for other in 0..self.size {
                // No model excludes itself.
                if set.iter().all(|member| self.has(*member, other)) {
                    set.push(other);
                }
            }
            set.sort_unstable();
            for (index, member) in set.iter().enumerate() {
                set[index + 1..].iter().for_each(|other| covered.mark(*member, *other));
            }
            sets.push(set);
        }
        Some(sets)
    }
}

/// Puts the models with these numbers into a new group; the name becomes valid and
/// unique. A group that has room for all of them is none.
pub(super) fn group(read: &mut Read, called: &str, members: &[usize], max_running: usize, place: &SourceLocation) {
    if members.len() <= max_running {
        return;
    }
    let clean = names::cleaned(called);
    let is_free = |name: &String| read.groups.iter().all(|group| group.name != *name);
    let numbered = (2..).map(|number| format!("{}-{number}", &clean[..clean.len().min(names::ROOM)]));
    let Some(name) = std::iter::once(clean.clone()).chain(numbered).find(is_free) else { return };
    members.iter().filter_map(|index| read.models.get_mut(*index)?.groups.push(name.clone()).into()).for_each(drop);
    read.groups.push(Group { name, max_running, place: place.clone() });
}

/// Lets models that load at once wait for a request, where they would leave no room
/// for the others of their group: what always runs makes no room.
pub(super) fn leave_room(read: &mut Read, called: &str) {
    for Group { name, max_running, .. } in &read.groups {
        let is_member = |model: &&mut Model| model.groups.contains(name) && model.state == DesiredState::Running;
        let running: Vec<&mut Model> = read.models.iter_mut().filter(is_member).collect();
        if running.len() < *max_running {
            continue;
        }
        for model in running {
            model.state = DesiredState::OnDemand;
            let why = format!(
                "starts with its first request: if it always ran, group `{name}` would have no room for others"
            );
            let place = model.place.clone();
            model.remark(&place, called, Why::Became(why));
        }
    }
}
