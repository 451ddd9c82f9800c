//! Chaos with the real thing: for a given time herdsmen and servers are killed
//! and frozen, definitions edited and broken, weights replaced, the database
//! edited and deleted, the disk filled, ports stolen; and the promises are
//! checked from outside, by code that shares nothing with herdsman.
//!
//! | promise | checked |
//! |---|---|
//! | at most one live instance per model | at each look through `/proc`, of which one follows the other within ms |
//! | no stranger is touched: a server started by hand, a process with an instance's environment | at each look |
//! | a server whose definition is as before, or merely broken, is not ended | at each look; what the runner killed itself does not count |
//! | servers outlive herdsman | the same, as herdsmen are killed meanwhile |
//! | no unmanaged row is touched | before each edit of a row, and at quiet points |
//! | everything converges, and no process is left over | at quiet points: all faults are taken back |
//! | herdsman neither panics nor ends by itself | always |
//!
//! A server is *unchanged* since the last quiet point, at which it was as
//! declared, until its definition says something else: only then is there
//! never a doubt which reading of which file a herdsman acts upon.
//!
//! It is a step of its own: `cargo test --test long chaos -- --nocapture`.
//! `HERDSMAN_CHAOS_FOR=1h` says for how long (60 s). What is done follows from
//! a seed, which is printed and can be given as `HERDSMAN_CHAOS_SEED`; what
//! comes of it depends on the moment, so a seed may have to be tried again.
//!
//! It needs `unshare` (util-linux) and a kernel that lets users make namespaces.

mod client;
mod disk;
mod eye;
mod fault;
mod herdsmen;
mod making;
mod namespace;
mod quiet;
mod runner;
mod strangers;
mod tally;

use std::time::Duration;

use runner::Chaos;

#[test]
fn whatever_dies_nothing_is_lost_and_nothing_doubled() {
    if !namespace::is_inside("chaos::whatever_dies_nothing_is_lost_and_nothing_doubled") {
        return;
    }
    let seed = std::env::var("HERDSMAN_CHAOS_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("HERDSMAN_CHAOS_SEED={seed}");
    let mut chaos = Chaos::new(seed);
    chaos.run(std::env::var("HERDSMAN_CHAOS_FOR").map_or(Duration::from_secs(60), |text| duration(&text)));
    let summary = chaos.end();
    println!("{summary}");
}

/// `90s`, `15m`, `1h`.
fn duration(text: &str) -> Duration {
    let units = [('s', 1), ('m', 60), ('h', 3600)];
    let parsed =
        units.iter().find_map(|(unit, seconds)| Some(text.strip_suffix(*unit)?.parse::<u64>().ok()? * seconds));
    Duration::from_secs(parsed.unwrap_or_else(|| panic!("HERDSMAN_CHAOS_FOR={text} is none of 90s, 15m, 1h")))
}
