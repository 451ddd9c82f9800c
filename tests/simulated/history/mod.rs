//! Histories: what happens to a simulated world, by a seed, and whether
//! herdsman keeps its promises in it.

mod calm;
mod deed;
mod seed;
mod shrink;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use deed::{Deed, MODELS, Try, Written};
pub use seed::deeds;
pub use shrink::shrink;

use super::{Sabotage, Tally, World};

/// A promise was broken (or herdsman or the simulation panicked): how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

/// Lives through a history, to its end in calm; what happened is counted.
///
/// # Errors
/// The first promise that was broken.
pub fn live(deeds: &[Deed], sabotage: Option<Sabotage>, tally: &mut Tally) -> Result<(), Broken> {
    let mut world = World::new([]);
    world.sabotage = sabotage;
    let story = AssertUnwindSafe(|| {
        for deed in deeds {
            world.tally.add("deeds", deed.name());
            deed.act(&mut world);
        }
        calm::ends_well(&mut world);
    });
    let ended = catch_unwind(story);
    world.tally.add("histories", if ended.is_ok() { "kept" } else { "broken" });
    tally.merge(&world.tally);
    ended.map_err(|panic| Broken(said(&*panic)))
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
