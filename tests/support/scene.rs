//! A world in which something is about to go wrong, and two models that it
//! must not concern.

use super::World;

/// `good` runs, and `new` is to be created by the next pass.
pub struct Scene {
    /// Where.
    pub world: World,
    good: i32,
}

impl Scene {
    /// Sets it.
    pub fn new() -> Self {
        let world = World::new();
        world.tiny("good");
        world.converges();
        let good = world.pid("good");
        world.tiny("new");
        Self { world, good }
    }

    /// Asserts that the pass left `good` alone and created `new`.
    #[track_caller]
    pub fn others_are_reconciled(&self) {
        self.good_is_untouched();
        assert_eq!(self.world.answer("new"), "new new new ");
    }

    /// Asserts that `good` runs as before.
    #[track_caller]
    pub fn good_is_untouched(&self) {
        assert_eq!(self.world.pid("good"), self.good);
    }
}
