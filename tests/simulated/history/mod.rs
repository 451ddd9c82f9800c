//! Histories: what happens to a simulated world, by a seed, and whether
//! herdsman keeps its promises in it.

mod calm;
mod deed;
mod seed;
mod shrink;
mod watched;

use std::panic::{AssertUnwindSafe, catch_unwind};

#[allow(unused_imports, reason = "each test program uses a part of it")]
pub use self::{
    deed::{Deed, MODELS, Try, Written},
    seed::deeds,
    shrink::shrink,
    watched::Watched,
};

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
    let ended = live_in(&mut world, deeds, sabotage);
    tally.merge(&world.tally);
    ended
}

/// The same, as a story: every deed, and what each pass planned.
pub fn tell(deeds: &[Deed], sabotage: Option<Sabotage>) -> (String, Result<(), Broken>) {
    let mut world = World::new([]);
    world.story = Some(String::new());
    let ended = live_in(&mut world, deeds, sabotage);
    (world.story.unwrap_or_default(), ended)
}

fn live_in(world: &mut World, deeds: &[Deed], sabotage: Option<Sabotage>) -> Result<(), Broken> {
    world.sabotage = sabotage;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        for deed in deeds {
            world.tally.add("deeds", deed.name());
            world.tell(|| format!("{deed:?}\n"));
            deed.act(world);
        }
        world.tell(|| "Faults stop.\n".to_owned());
        calm::ends_well(world);
    }));
    world.tally.add("histories", if ended.is_ok() { "kept" } else { "broken" });
    ended.map_err(|panic| Broken(said(&*panic)))
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
