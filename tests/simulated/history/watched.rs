//! A stretch of time with a watcher in it.

use super::deed::Deed;
use crate::simulated::{Interference, Site, World};

/// A watcher runs; what happens meanwhile, by milliseconds from its start.
#[derive(Clone, Debug, PartialEq)]
pub struct Watched {
    /// For so many seconds.
    pub seconds: u64,
    /// What else happens, in order of time.
    pub deeds: Vec<(u64, Deed)>,
    /// What comes between in the next pass after that time: the number of the
    /// call, and what. A watcher that is killed is started again.
    pub interferences: Vec<(u64, usize, Interference)>,
}

/// What is to happen to the world.
enum Happens {
    Deed(Deed),
    Interference(usize, Interference),
}

impl Watched {
    /// Does it.
    pub fn watch(&self, world: &mut World) {
        let deeds = self.deeds.iter().map(|(at, deed)| (*at, Happens::Deed(deed.clone())));
        let interferences = self.interferences.iter();
        let between = interferences.map(|(at, call, what)| (*at, Happens::Interference(*call, what.clone())));
        let mut script: Vec<(u64, Happens)> = deeds.chain(between).collect();
        script.sort_by_key(|(at, _)| *at);
        let mut site = Site::new(std::mem::replace(world, World::new([])));
        for (at, happens) in script {
            site.at(at, move |world| happens.to(world));
        }
        site.watch(self.seconds);
        *world = site.world;
        world.interferences.clear();
    }
}

impl Happens {
    fn to(self, world: &mut World) -> Option<herdsman::watch::Cause> {
        match self {
            Self::Deed(deed) => {
                world.tally.add("while watched", deed.name());
                deed.act(world);
                deed.cause()
            }
            Self::Interference(call, what) => {
                world.interferences.push((call, what));
                world.interferences.sort_by_key(|(call, _)| *call);
                None
            }
        }
    }
}
