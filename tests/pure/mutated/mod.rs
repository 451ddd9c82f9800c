//! Ten thousand mutated definitions against a populated state: a file that is
//! merely broken stops, restarts and deletes nothing.
//!
//! ```text
//! models.d (real files) -- mutate one or two --> Loader --> Desired --.
//!        settled once: records, running instances (simulated) ------ plan
//!                                                                     |
//!                        every action is explained by what is valid <-'
//! ```
//!
//! The files, the loader and the planner are the real ones. What a mutation
//! means is taken from what the loader resolved, never from the text.

mod directory;
mod verdict;

use crate::simulated::World;
use directory::Directory;

/// How many in plain `cargo test`.
const CASES: u64 = 10_000;

/// One case in so many is also carried out, in a copy of the world that checks
/// the promises at every effect.
const CARRIED_OUT: u64 = 200;

#[test]
fn of_ten_thousand_mutated_definitions_none_stops_or_deletes_a_model_whose_file_is_merely_broken() {
    let mut directory = Directory::new();
    let mut world = World::new([]);
    world.desired = directory.load();
    world.settle();
    let records = world.store.records();
    assert_eq!(
        (records.models.len(), world.desired.unresolved.len()),
        (directory.len(), 0),
        "{:?}",
        world.desired.diagnostics
    );

    let mut count = verdict::Count::default();
    for seed in crate::mutate::seeds(CASES) {
        let mutated = directory.mutate(seed);
        world.desired = directory.load();
        let plan = world.plan();
        if let Err(broken) = verdict::check(&plan, &world.desired, &records, &mutated, &mut count) {
            let files = directory.texts(&mutated);
            panic!(
                "HERDSMAN_FUZZ_SEED={seed} HERDSMAN_FUZZ_CASES=1: {broken}\n{}\n{files}",
                crate::simulated::show(&plan)
            );
        }
        if seed % CARRIED_OUT == 0 {
            let mut copy = world.clone();
            copy.settle();
        }
        directory.restore(&mutated);
    }
    println!("{count}");
    assert!(count.is_telling(), "too few of each kind to prove anything: {count}");
}
