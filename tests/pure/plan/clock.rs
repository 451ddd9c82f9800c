//! Somebody sets the clock. Found by simulated histories.

use herdsman::model::{Busy, FailureCause, Status};

use crate::simulated::{Edit, World, model};

const HOUR: i64 = 3_600_000;

#[test]
fn set_back_after_a_crash_it_holds_up_the_next_start_for_no_longer_than_the_delay() {
    let mut world = World::settled([model("chat")]);
    world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
    world.set_clock(-HOUR);
    world.pass();
    world.advance(1);
    world.pass();
    assert_eq!(world.machine.of("chat").len(), 1);
}

#[test]
fn set_back_while_a_crash_is_waited_out_it_lengthens_nothing() {
    let mut world = World::new([model("chat").fate("dies")]);
    let crashed_four_times = (0..20).any(|_| {
        world.pass();
        world.advance(1);
        crashes_of(&world) == 4
    });
    assert!(crashed_four_times);
    assert!(world.machine.of("chat").is_empty(), "it waits for eight seconds");
    world.set_clock(-HOUR);
    world.pass();
    world.advance(8);
    world.pass();
    assert_eq!(world.machine.of("chat").len(), 1);
}

fn crashes_of(world: &World) -> u32 {
    world.store.records().models.get("chat").map_or(0, |record| record.crashes.count)
}

#[test]
fn set_forward_it_gives_up_no_server_that_loads() {
    let mut world = World::new([model("chat").fate("slow")]);
    world.pass();
    world.set_clock(24 * HOUR);
    world.settle();
    assert_eq!(world.machine.server("chat").handle.pid(), 101);
    assert_eq!(world.store.records().models["chat"].status, Status::Running);
}

#[test]
fn set_back_it_gives_a_server_that_never_loads_no_more_time() {
    let mut world = World::new([model("chat").fate("hangs").ready_timeout(20)]);
    world.pass();
    world.set_clock(-HOUR);
    world.pass();
    world.advance(20);
    let plan = world.plan();
    assert_eq!(plan.actions.len(), 1, "{plan:?}");
}

#[test]
fn set_either_way_it_changes_no_drain_time() {
    for by in [-HOUR, HOUR] {
        let mut world = World::settled([model("chat").option("ctx_size", "1")]);
        world.machine.server("chat").busy = Busy::Yes(1);
        world.define(model("chat").option("ctx_size", "2").drain(10));
        world.pass();
        world.set_clock(by);
        world.pass();
        world.advance(9);
        world.pass();
        assert_eq!(world.machine.server("chat").handle.pid(), 101, "{by}: it still has a second");
        world.advance(1);
        world.pass();
        assert_eq!(world.machine.server("chat").handle.pid(), 102, "{by}: its time is over");
    }
}

#[test]
fn told_a_second_otherwise_it_was_not_set() {
    let mut world = World::settled([model("chat")]);
    let records = world.store.records();
    // The kernel's start times are whole seconds from the boot.
    world.machine.server("chat").started_at.0 -= 1_000;
    world.pass();
    assert_eq!(world.store.records(), records);
}
