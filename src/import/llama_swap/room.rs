//! Which models llama-swap runs together: its `groups`, its `matrix`, or one model
//! at a time if it has neither.

use std::collections::{BTreeMap, BTreeSet};

use super::super::remark::{Remark, SourceLocation, Why};
use super::super::room::{Pairs, group};
use super::super::source::Read;
use super::super::yaml::Node;
use super::matrix::{Expressions, Set};
use super::{is_true, texts};

/// What the name of a group is where the source has none.
const SWAP: &str = "swap";

/// What the file says about it.
#[derive(Default)]
pub(super) struct Room {
    groups: Vec<Group>,
    matrix: Option<Matrix>,
}

/// A group of llama-swap.
struct Group {
    name: String,
    place: SourceLocation,
    /// One of its members runs.
    swap: bool,
    /// If one of its members starts, those of other groups stop.
    exclusive: bool,
    /// No other group stops its members.
    persistent: bool,
    members: Vec<String>,
}

struct Matrix {
    place: SourceLocation,
    vars: BTreeMap<String, String>,
    costs: Vec<(String, i64)>,
    sets: Vec<(String, String)>,
}

impl Room {
    /// Reads `groups`.
    pub fn groups(&mut self, node: &Node, place: &SourceLocation) {
        for (key, node) in node.entries().unwrap_or_default() {
            let is = |name: &str, default: bool| node.get(name).map_or(default, |value| is_true(value));
            self.groups.push(Group {
                name: key.text().unwrap_or_default().to_owned(),
                place: place.line(key.line),
                swap: is("swap", true),
                exclusive: is("exclusive", true),
                persistent: is("persistent", false),
                members: node.get("members").map(|list| texts(list, "members", &mut Vec::new())).unwrap_or_default(),
            });
        }
    }

    /// Reads `matrix`.
    pub fn matrix(&mut self, node: &Node, place: &SourceLocation) {
        let pairs = |name: &str| {
            let entries = node.get(name).and_then(|node| node.entries().map(<[_]>::to_vec)).unwrap_or_default();
            let pair = |(key, value): &super::Pair| Some((key.text()?.to_owned(), value.text()?.to_owned()));
            entries.iter().filter_map(pair).collect::<Vec<_>>()
        };
        let costs = pairs("evict_costs").into_iter().filter_map(|(name, cost)| Some((name, cost.parse().ok()?)));
        let (vars, costs) = (pairs("vars").into_iter().collect(), costs.collect());
        self.matrix = Some(Matrix { place: place.clone(), vars, costs, sets: pairs("sets") });
    }

    /// Reads `routing`, which holds one of the two in newer files.
    pub fn routing(&mut self, node: &Node, place: &SourceLocation, read: &mut Read) {
        let find = |path: &[&str]| path.iter().try_fold(node, |node, key| node.get(key).map(|node| &**node));
        let uses_matrix = find(&["router", "use"]).and_then(Node::text) == Some("matrix");
        let settings = |key: &str| find(&["router", "settings", key]);
        match (settings("groups"), settings("matrix")) {
            (_, Some(node)) if uses_matrix => self.matrix(node, &place.line(node.line)),
            (Some(node), _) if !uses_matrix => self.groups(node, &place.line(node.line)),
            _ => {}
        }
        if let Some(node) = find(&["scheduler", "settings", "fifo", "priority"]) {
            let why = "herdsman serves waiting requests in the order they came";
            read.remarks.push(Remark::new(&place.line(node.line), "priority", Why::NoCounterpart(why)));
        }
    }

    /// Puts the models into groups of herdsman. `whole` is the source.
    pub fn apply(&self, read: &mut Read, whole: &SourceLocation) {
        match &self.matrix {
            Some(matrix) => matrix.apply(read),
            None => self.apply_groups(read, whole),
        }
    }

    fn apply_groups(&self, read: &mut Read, whole: &SourceLocation) {
        let size = read.models.len();
        let of = |name: &str| self.groups.iter().position(|group| group.members.iter().any(|member| member == name));
        let groups: Vec<Option<&Group>> = read.models.iter().map(|model| self.groups.get(of(&model.called)?)).collect();
        for (model, of) in read.models.iter_mut().zip(&groups) {
            // With `swap` its own group may stop it.
            model.never_evict |= of.is_some_and(|group| group.persistent && !group.swap);
        }
        let Some(mut pairs) = Pairs::new(size) else { return one_at_a_time(read, whole) };
        let mut one_sided = BTreeSet::new();
        for (a, b) in (0..size).flat_map(|a| (a + 1..size).map(move |b| (a, b))) {
            let stops = |new: Option<&Group>, old: Option<&Group>| {
                let is_same = new.map(|group| &group.name) == old.map(|group| &group.name);
                // Models of no group are in one that swaps and is exclusive.
                match is_same {
                    true => new.is_none_or(|group| group.swap),
                    false => new.is_none_or(|group| group.exclusive) && !old.is_some_and(|group| group.persistent),
                }
            };
            let (by_a, by_b) = (stops(groups[a], groups[b]), stops(groups[b], groups[a]));
            if by_a && by_b {
                pairs.mark(a, b);
            } else if by_a || by_b {
                one_sided
                    .extend(if by_a { groups[b] } else { groups[a] }.map(|group| (group.place.clone(), &group.name)));
            }
        }
        for (place, name) in one_sided {
            let why = "other groups stop its members, which do not stop them: here neither stops the other, and they may run together";
            read.remarks.push(Remark::new(&place, format!("groups: {name}"), Why::Became(why.to_owned())));
        }
        let Some(sets) = pairs.cover() else { return one_at_a_time(read, whole) };
        for set in sets {
            let is_whole = |group: &&Group| {
                set.iter().all(|index| groups[*index].is_some_and(|of| of.name == group.name))
                    && group.members.len() == set.len()
            };
            let own = self.groups.iter().find(is_whole);
            let (name, place) = own.map_or((SWAP, whole), |group| (&group.name, &group.place));
            group(read, name, &set, 1, place);
        }
    }
}

/// What runs at most as much as the source allows, if that cannot be said exactly.
fn one_at_a_time(read: &mut Read, place: &SourceLocation) {
    let all: Vec<usize> = (0..read.models.len()).collect();
    let why = "too many to say as groups: only one model runs at a time, until you write groups of your own";
    read.remarks.push(Remark::new(place, "what may run together", Why::Check(why.to_owned())));
    group(read, SWAP, &all, 1, place);
}

impl Matrix {
    fn apply(&self, read: &mut Read) {
        for (name, cost) in &self.costs {
            let name = self.vars.get(name).unwrap_or(name);
            if let Some(model) = read.models.iter_mut().find(|model| model.called == *name)
                && let (Ok(priority), true) = (i32::try_from(*cost), *cost > 1)
            {
                model.priority = Some(priority);
            }
        }
        let sets = Expressions { named: &self.sets, vars: &self.vars }.sets();
        let (sets, mut pairs) = match (sets, Pairs::new(read.models.len())) {
            (Ok(sets), Some(pairs)) => (sets, pairs),
            (sets, _) => {
                if let Err(why) = sets {
                    read.remarks.push(Remark::new(&self.place, "matrix", Why::Check(why)));
                }
                return one_at_a_time(read, &self.place);
            }
        };
        let numbers: BTreeMap<&str, usize> =
            read.models.iter().enumerate().map(|(number, model)| (model.called.as_str(), number)).collect();
        let number = |set: &Set| set.iter().filter_map(|name| numbers.get(name.as_str()).copied()).collect();
        let sets: Vec<BTreeSet<usize>> = sets.iter().map(number).collect();
        let size = read.models.len();
        let mut together = vec![BTreeSet::<usize>::new(); size];
        for set in &sets {
            set.iter().for_each(|member| together[*member].extend(set));
        }
        for (a, b) in (0..size).flat_map(|a| (a + 1..size).map(move |b| (a, b))) {
            if !together[a].contains(&b) {
                pairs.mark(a, b);
            }
        }
        let Some(cover) = pairs.cover() else { return one_at_a_time(read, &self.place) };
        cover.iter().for_each(|set| group(read, SWAP, set, 1, &self.place));
        // Where each two of three may run together, the three may not.
        let (most, larger) = beyond(&pairs, size, &sets);
        if !larger.is_empty() {
            let why =
                "groups say which two models exclude each other: check `max_running` of the groups for more of them";
            read.remarks.push(Remark::new(&self.place, "matrix", Why::Check(why.to_owned())));
            group(read, "matrix", &larger, most, &self.place);
        }
    }
}

/// The models of combinations that no set has, though each two of their models may
/// run together, and how many of them may.
fn beyond(pairs: &Pairs, size: usize, sets: &[BTreeSet<usize>]) -> (usize, Vec<usize>) {
    let mut larger = BTreeSet::new();
    for first in 0..size {
        // Greedy: the largest combinations matter, not each of them.
        let mut all = BTreeSet::from([first]);
        for other in (first + 1..size).chain(0..first) {
            if all.iter().all(|member| !pairs.has(*member, other)) {
                all.insert(other);
            }
        }
        if !sets.iter().any(|set| all.is_subset(set)) && all.len() > 1 {
            larger.extend(all);
        }
    }
    let most = sets.iter().map(|set| set.intersection(&larger).count()).max().unwrap_or(1).max(1);
    (most, larger.into_iter().collect())
}
