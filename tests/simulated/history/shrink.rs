//! Makes a history that breaks a promise small.

use super::{Broken, Deed, Watched, live};
use crate::simulated::{Sabotage, Tally};

/// A shorter history that breaks a promise too, by leaving out what it can do
/// without; at least `deeds` itself, which must break one.
pub fn shrink(deeds: &[Deed], sabotage: Option<Sabotage>) -> (Vec<Deed>, Broken) {
    let mut small = deeds.to_vec();
    let Err(mut broken) = live(&small, sabotage, &mut Tally::default()) else { return (small, Broken(String::new())) };
    let promise = promise(&broken);
    let breaks = |deeds: &[Deed]| {
        live(deeds, sabotage, &mut Tally::default()).err().filter(|broken| self::promise(broken) == promise)
    };
    loop {
        let before = small.clone();
        let mut chunk = small.len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < small.len() {
                let mut less = small.clone();
                less.drain(at..(at + chunk).min(less.len()));
                match breaks(&less) {
                    Some(how) => (small, broken) = (less, how),
                    None => at += chunk,
                }
            }
            if chunk == 1 {
                break;
            }
            chunk = chunk.div_ceil(2);
        }
        for at in 0..small.len() {
            for plainer in plainer(&small[at]) {
                let mut less = small.clone();
                less[at] = plainer;
                if let Some(how) = breaks(&less) {
                    (small, broken) = (less, how);
                    break;
                }
            }
        }
        if small == before {
            return (small, broken);
        }
    }
}

/// Which promise it was: the first words, without names and numbers.
fn promise(broken: &Broken) -> String {
    let is_name = |word: &&str| word.len() > 1 && !word.contains(|c: char| c.is_ascii_digit());
    broken.0.split_whitespace().filter(is_name).take(7).collect::<Vec<_>>().join(" ")
}

fn less_watched(watched: &Watched) -> Vec<Deed> {
    let without_deed = |index: usize| {
        let mut less = watched.clone();
        less.deeds.remove(index);
        less
    };
    let without_interference = |index: usize| {
        let mut less = watched.clone();
        less.interferences.remove(index);
        less
    };
    let deeds = (0..watched.deeds.len()).map(without_deed);
    deeds.chain((0..watched.interferences.len()).map(without_interference)).map(Deed::Watch).collect()
}

/// Deeds that do less than this one.
fn plainer(deed: &Deed) -> Vec<Deed> {
    let attempt = match deed {
        Deed::Pass(attempt) => attempt,
        Deed::Watch(watched) => return less_watched(watched),
        _ => return Vec::new(),
    };
    let without = |index: usize| {
        let mut less = attempt.clone();
        less.interferences.remove(index);
        less
    };
    let mut plainer: Vec<_> = (0..attempt.interferences.len()).map(without).collect();
    for less in [
        super::Try { retry: false, ..attempt.clone() },
        super::Try { upgrade: false, ..attempt.clone() },
        super::Try { target: None, ..attempt.clone() },
        super::Try { down: false, ..attempt.clone() },
    ] {
        if less != *attempt {
            plainer.push(less);
        }
    }
    plainer.into_iter().map(Deed::Pass).collect()
}
