//! `start` and `restart` of a model that waits after a failure.

use herdsman::model::FailureCause;
use herdsman::plan::Command;

use crate::simulated::{Edit, World, model};

/// A model that has crashed five times in a row, and waits.
fn crashed() -> World {
    let mut world = World::settled([model("chat")]);
    for _ in 0..4 {
        world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
        world.settle();
    }
    world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
    world.pass();
    assert!(world.planned().contains("backoff(crashes 5,"), "{}", world.planned());
    world
}

#[test]
fn one_that_waits_after_crashes_is_tried_at_once_after_a_stop_by_hand_and_slows_down_again() {
    let mut world = crashed();
    world.by_hand("chat", Command::Stop).unwrap();
    world.pass();
    world.by_hand("chat", Command::Start).unwrap();
    world.settle();
    assert_eq!(world.machine.servers.len(), 1);
    for count in [1, 2] {
        world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
        world.settle();
        assert_eq!(world.store.records().models["chat"].crashes.count, count);
    }
}

#[test]
fn one_that_waits_after_crashes_is_tried_at_once_when_asked_for_and_then_waits_longer() {
    for command in [Command::Start, Command::Restart] {
        let mut world = crashed();
        world.by_hand("chat", command).unwrap();
        world.pass();
        assert_eq!(world.machine.servers.len(), 1, "{}", world.planned());
        world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
        world.pass();
        assert!(world.planned().contains("backoff(crashes 6,"), "{}", world.planned());
    }
}

#[test]
fn a_failed_generation_is_tried_again_when_asked_for() {
    let mut world = World::settled([model("chat").option("ctx_size", "1")]);
    world.define(model("chat").fate("dies").stop_on_failure());
    world.settle();
    assert!(world.machine.servers.is_empty() && world.planned().contains("edit(generation 2"), "{}", world.planned());
    world.by_hand("chat", Command::Start).unwrap();
    let text = world.planned();
    assert!(text.contains("start   chat: not_running") && text.contains("start generation 2"), "{text}");
}
