//! Histories by seed: whatever people, programs and faults do, and whenever
//! herdsman is killed, the promises hold. `examples/simulate.rs` lives through
//! as many as wanted.

use crate::simulated::history::{deeds, live, shrink};
use crate::simulated::{Sabotage, Tally};

/// How many histories a sabotaged herdsman may survive unnoticed.
const NOTICED_WITHIN: u64 = 10_000;

#[test]
fn thousands_of_histories_break_no_promise() {
    let mut tally = Tally::default();
    for seed in 0..3_000 {
        if let Err(broken) = live(&deeds(seed), None, &mut tally) {
            let (small, how) = shrink(&deeds(seed), None);
            panic!("seed {seed}: {}\nmade small: {small:#?}\n{}", broken.0, how.0);
        }
    }
    println!("{tally}");
}

#[test]
fn every_sabotage_is_noticed() {
    for rule in Sabotage::ALL {
        let noticed = (0..NOTICED_WITHIN).find(|seed| live(&deeds(*seed), Some(*rule), &mut Tally::default()).is_err());
        assert!(noticed.is_some(), "{rule} goes unnoticed");
    }
}
