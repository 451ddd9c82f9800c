//! herdsman dies between the end of an instance and the record of it.

use herdsman::model::InstanceState;

use crate::simulated::{Edit, World, model};

/// `a` was being stopped, and is gone; its record says that it is stopping.
fn cut_short() -> World {
    let mut world = World::settled([model("a").socket("/run/a.sock"), model("b")]);
    world.define(model("a").socket("/run/a.sock").stopped());
    // The intent, then the stop.
    world.kill_after = Some(2);
    assert!(world.try_settle().is_err());
    world.kill_after = None;
    assert!(world.machine.of("a").is_empty());
    assert_eq!(states(&world), [InstanceState::Stopping]);
    world
}

fn states(world: &World) -> Vec<InstanceState> {
    world.store.records().models["a"].instances.iter().map(|instance| instance.state).collect()
}

#[test]
fn what_an_instance_left_whose_stop_was_cut_short_is_cleared_away() {
    let mut world = cut_short();
    let left = world.plan().remains;
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].model.as_str(), "a");
    assert_eq!(left[0].handle.pid(), 101);
    assert_eq!(left[0].socket.as_deref(), Some("/run/a.sock".as_ref()));
    world.pass();
    assert_eq!(states(&world), []);
    assert_eq!(world.plan().remains, []);
}

#[test]
fn what_cannot_be_cleared_away_keeps_its_record() {
    let mut world = cut_short();
    world.fail_at = Some(0);
    world.pass();
    assert_eq!(states(&world), [InstanceState::Stopping]);
    world.pass();
    assert_eq!(states(&world), []);
}
