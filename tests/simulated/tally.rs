//! What has happened in simulated worlds, counted by kind.

use std::collections::BTreeMap;
use std::fmt;

/// Counts by group (`killed before`) and kind (`a transaction`).
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// In order of first appearance. Texts are literals, so mostly their
    /// addresses tell them apart, and a look through some dozens of them is
    /// faster than a comparison of some; equal ones are added up in the end.
    counts: Vec<(Key, u64)>,
}

type Key = (&'static str, &'static str);

/// The group of values that are not added up.
pub const HIGHEST: &str = "at most";

impl Tally {
    /// One more.
    pub fn add(&mut self, group: &'static str, kind: &'static str) {
        *self.count((group, kind)) += 1;
    }

    /// At least so many.
    pub fn at_least(&mut self, kind: &'static str, number: u64) {
        let most = self.count((HIGHEST, kind));
        *most = number.max(*most);
    }

    /// Those of another tally as well. What is a highest value stays one.
    pub fn merge(&mut self, other: &Self) {
        for (key, number) in &other.counts {
            let count = self.count(*key);
            *count = combine(key, *count, *number);
        }
    }

    /// The sum of a group.
    pub fn sum(&self, group: &str) -> u64 {
        self.counts.iter().filter(|((of, _), _)| *of == group).map(|(_, number)| number).sum()
    }

    /// Whether anything of a group happened.
    pub fn happened(&self, group: &str) -> bool {
        self.sum(group) > 0
    }

    fn count(&mut self, key: Key) -> &mut u64 {
        let same = |a: &str, b: &str| std::ptr::eq(a, b);
        let index = self.counts.iter().position(|((group, kind), _)| same(group, key.0) && same(kind, key.1));
        let index = index.unwrap_or_else(|| {
            self.counts.push((key, 0));
            self.counts.len() - 1
        });
        &mut self.counts[index].1
    }
}

fn combine(key: &Key, a: u64, b: u64) -> u64 {
    if key.0 == HIGHEST { a.max(b) } else { a + b }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all: BTreeMap<Key, u64> = BTreeMap::new();
        for (key, number) in &self.counts {
            let count = all.entry(*key).or_default();
            *count = combine(key, *count, *number);
        }
        let mut last = "";
        for ((group, kind), number) in &all {
            if *group != last {
                last = group;
                match *group {
                    HIGHEST => writeln!(f, "{group}")?,
                    _ => writeln!(f, "{group}: {}", self.sum(group))?,
                }
            }
            writeln!(f, "  {number:>12}  {kind}")?;
        }
        Ok(())
    }
}
