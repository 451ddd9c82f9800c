//! What has happened in simulated worlds, counted by kind.

use std::collections::BTreeMap;
use std::fmt;

/// Counts by group (`killed before`) and kind (`a transaction`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<(&'static str, &'static str), u64>);

impl Tally {
    /// One more.
    pub fn add(&mut self, group: &'static str, kind: &'static str) {
        self.add_many(group, kind, 1);
    }

    /// So many more.
    pub fn add_many(&mut self, group: &'static str, kind: &'static str, number: u64) {
        *self.0.entry((group, kind)).or_default() += number;
    }

    /// At least so many.
    pub fn at_least(&mut self, group: &'static str, kind: &'static str, number: u64) {
        let most = self.0.entry((group, kind)).or_default();
        *most = number.max(*most);
    }

    /// Those of another tally as well. What is a highest value stays one.
    pub fn merge(&mut self, other: &Self) {
        for ((group, kind), number) in &other.0 {
            match *group {
                HIGHEST => self.at_least(group, kind, *number),
                _ => self.add_many(group, kind, *number),
            }
        }
    }

    /// The sum of a group.
    pub fn sum(&self, group: &str) -> u64 {
        self.0.iter().filter(|((of, _), _)| *of == group).map(|(_, number)| number).sum()
    }

    /// Whether anything of a group happened.
    pub fn happened(&self, group: &str) -> bool {
        self.sum(group) > 0
    }

    /// The kinds of a group.
    pub fn kinds(&self, group: &str) -> Vec<&'static str> {
        self.0.keys().filter(|(of, _)| *of == group).map(|(_, kind)| *kind).collect()
    }
}

/// The group of values that are not added up.
pub const HIGHEST: &str = "at most";

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut group = "";
        for ((of, kind), number) in &self.0 {
            if *of != group {
                group = of;
                match group {
                    HIGHEST => writeln!(f, "{group}")?,
                    _ => writeln!(f, "{group}: {}", self.sum(group))?,
                }
            }
            writeln!(f, "  {number:>12}  {kind}")?;
        }
        Ok(())
    }
}
