//! Helpers that outlive their server, and a herdsman that cannot end them at once.

use herdsman::model::InstanceState;
use herdsman::plan::Command;

use crate::simulated::{Edit, World, model, name};

/// Ready, and ten seconds old: each has just died and left a helper.
fn died<const N: usize>(models: [&str; N]) -> World {
    let mut world = World::new(models.map(|name| model(name).fate("leaves-helper")));
    world.pass();
    world.advance(1);
    world.pass();
    world.advance(10);
    world
}

fn states(world: &World, model: &str) -> Vec<InstanceState> {
    world.store.records().models[model].instances.iter().map(|instance| instance.state).collect()
}

#[test]
fn knows_a_helper_for_what_it_is_after_dying_before_its_stop() {
    let mut world = died(["chat"]);
    // The records, and then no stop.
    world.kill_after = Some(1);
    assert!(world.try_pass().is_err());
    world.kill_after = None;
    assert_eq!(states(&world, "chat"), [InstanceState::Stopping]);
    world.pass();
    assert!(world.machine.leftovers.is_empty());
    assert_eq!((world.machine.of("chat").len(), world.store.records().models["chat"].crashes.count), (1, 1));
}

#[test]
fn knows_a_helper_for_what_it_is_after_a_suspension() {
    let mut world = died(["chat"]);
    world.by_hand("chat", Command::Suspend(None)).unwrap();
    world.pass();
    world.pass();
    assert_eq!(states(&world, "chat"), [InstanceState::Stopping]);
    assert_eq!(world.machine.leftovers.len(), 1);
    world.by_hand("chat", Command::Resume).unwrap();
    world.pass();
    assert!(world.machine.leftovers.is_empty());
    assert_eq!((world.machine.of("chat").len(), world.store.records().models["chat"].crashes.count), (1, 1));
}

#[test]
fn keeps_the_record_until_the_helper_is_confirmed_gone() {
    let mut world = died(["chat"]);
    // The records, then the stop.
    world.fail_at = Some(1);
    world.pass();
    assert_eq!(states(&world, "chat"), [InstanceState::Stopping]);
    world.pass();
    assert!(!states(&world, "chat").contains(&InstanceState::Stopping));
}

#[test]
fn starts_nothing_on_a_port_that_a_helper_of_another_model_holds() {
    let mut world = died(["chat"]);
    world.by_hand("chat", Command::Suspend(None)).unwrap();
    world.pass();
    let id = world.machine.leftovers[0].id.clone();
    world.machine.left_ports.insert(8200, id);
    world.define(model("other").port(8200));
    world.limits.targets = [name("other")].into();
    world.pass();
    assert!(world.machine.of("other").is_empty());
    // And none is allotted there.
    world.site.port_range = (8200, 8201);
    world.remove("other");
    world.define(model("next"));
    world.limits.targets = [name("next")].into();
    world.pass();
    assert_eq!(world.store.records().models["next"].port.map(|port| port.port), Some(8201));
}
