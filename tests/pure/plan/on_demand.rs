//! Models that run on demand.

use herdsman::model::{Busy, FailureCause, Timestamp};
use insta::assert_snapshot;

use crate::simulated::{Edit, World, model};

pub fn on_demand() -> World {
    let mut world = World::new([model("chat").on_demand()]).with_gateway();
    world.settle();
    assert!(world.machine.servers.is_empty());
    world
}

/// One that was asked for, and is ready.
pub fn awake() -> World {
    let mut world = on_demand();
    world.ask("chat", 1);
    for _ in 0..3 {
        world.pass();
        world.advance(1);
    }
    answer(&mut world);
    assert!(world.is_in_rotation("chat"));
    world
}

/// All requests for it were answered just now.
pub fn answer(world: &mut World) {
    world.ask("chat", 0);
    world.traffic("chat").last_used = Some(world.now);
}

#[test]
fn it_starts_when_it_is_asked_for_and_stops_when_nobody_has_used_it_for_a_while() {
    let mut world = World::new([model("chat").on_demand()]).with_gateway();
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    create  chat: definition_added(models.d/chat.toml, state on_demand)
            - record row, chat port 8100, generation 1
    -- 0.000 s
    note    generation 1 accepted by release 1
    -- 0.000 s
    nothing, 1 matching
    ");
    world.ask("chat", 3);
    assert_snapshot!(world.story_of(3), @"
    -- 0.000 s
    start   chat: asked_for(waiting 3)
            - start generation 1 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 600.000 s, pid 101)
    -- 1.000 s
    found   chat ready(pid 101)
    note    chat generation 1 ready
    note    chat port 8100 proven
    note    chat instance ready
    note    chat status running
    ");
    answer(&mut world);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    chat: idle_stop(after_ms 600000, until 601.000 s)
    -- 600.000 s
    note    chat instance ready
    stop    chat: idle(for_ms 600000)
            - withdraw
            - record chat instance draining until 631.000 s
    -- 600.000 s
    stop    chat: idle(for_ms 600000)
            - stop pid 101
    -- 600.000 s
    nothing, 1 matching
    ");
}

#[test]
fn nobody_who_has_left_starts_it() {
    let mut world = on_demand();
    world.ask("chat", 1);
    assert!(world.planned().contains("start   chat: asked_for(waiting 1)"));
    world.ask("chat", 0);
    assert_snapshot!(world.planned(), @"nothing, 1 matching");
}

#[test]
fn a_load_that_nobody_waits_for_any_more_is_finished() {
    let mut world = on_demand();
    world.ask("chat", 1);
    world.pass();
    world.ask("chat", 0);
    assert_snapshot!(world.planned(), @"wait    chat: ready(deadline 600.000 s, pid 101)");
}

#[test]
fn a_request_in_flight_is_never_idle() {
    let mut world = awake();
    world.traffic("chat").in_flight = 1;
    world.advance(3_000);
    assert_snapshot!(world.planned(), @"note    chat instance ready");
}

#[test]
fn a_client_of_its_own_port_keeps_it_awake() {
    let mut world = awake();
    world.machine.server("chat").busy = Busy::Yes(1);
    world.advance(3_000);
    assert_snapshot!(world.planned(), @"
    note    chat instance ready
    wait    chat: idle_stop(after_ms 600000, until 3004.100 s)
    ");
    world.machine.server("chat").busy = Busy::No;
    assert!(world.planned().contains("stop    chat: idle"));
}

#[test]
fn a_request_that_comes_while_it_drains_calls_the_stop_off() {
    let mut world = awake();
    world.advance(600);
    world.pass();
    assert!(!world.is_in_rotation("chat"));
    world.ask("chat", 1);
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    note    chat instance ready
    ");
    assert!(world.is_in_rotation("chat"));
}

#[test]
fn a_gateway_that_has_just_begun_knows_of_no_use_before() {
    let mut world = awake();
    world.advance(1_000);
    world.gateway = Some(crate::simulated::Gateway::new(world.now));
    assert_snapshot!(world.planned(), @"
    note    chat instance ready
    wait    chat: idle_stop(after_ms 600000, until 1603.000 s)
    ");
}

#[test]
fn one_that_never_stops_has_nothing_to_wait_for() {
    let mut world = awake();
    world.define(model("chat").on_demand().stop_after(None));
    world.advance(100_000);
    assert_snapshot!(world.planned(), @"note    chat instance ready");
}

#[test]
fn where_nobody_serves_it_stays_as_it_is() {
    let mut running = awake();
    running.gateway = None;
    running.site.has_gateway = false;
    running.advance(3_000);
    assert_snapshot!(running.planned(), @"note    chat instance ready");
    running.define(model("chat").on_demand().option("ctx_size", "2"));
    assert!(running.planned().contains("- stop pid 101\n        - start generation 2"), "{}", running.planned());
    let mut cold = World::settled([model("chat").on_demand()]);
    assert_snapshot!(cold.planned(), @"nothing, 1 matching");
    cold.define(model("chat").on_demand().option("ctx_size", "2"));
    assert_snapshot!(cold.story(), @"
    -- 0.000 s
    update  chat: field_changed(ctx_size set to 2, impact record, models.d/chat.toml:3)
            - record row again, generation 2
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn an_edit_of_one_that_does_not_run_is_tried_by_the_next_request() {
    let mut world = awake();
    world.advance(600);
    world.settle();
    world.define(model("chat").on_demand().fate("dies"));
    assert_snapshot!(world.story_of(2), @"
    -- 0.000 s
    update  chat: field_changed(fate set to dies, impact record, models.d/chat.toml:3)
            - record row again, generation 2
    -- 0.000 s
    note    generation 2 accepted by release 1
    ");
    world.ask("chat", 1);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    start   chat: asked_for(waiting 1)
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 1203.000 s, pid 102)
    -- 1.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat generation 2 failed(spec)
    note    chat crashes 0
    note    chat status error and why
    start   chat: asked_for(waiting 1); rolled_back(failed 2, to 1)
            - start generation 1 of chat on port 8100
    wait    chat: edit(generation 2, serving 1)
    -- 1.000 s
    note    chat status loading and why
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 1204.000 s, pid 103)
    -- 1.000 s
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 1204.000 s, pid 103)
    -- 2.000 s
    found   chat ready(pid 103)
    note    chat instance ready
    note    chat status running and why
    wait    chat: edit(generation 2, serving 1)
    -- 2.000 s
    wait    chat: edit(generation 2, serving 1)
    ");
}

#[test]
fn a_crash_that_nobody_waits_for_is_recorded_and_the_next_request_waits_out_the_delay() {
    let mut world = awake();
    world.machine.kill("chat", FailureCause::NoMemory, "killed");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    found   chat crashed(no_memory)
    note    instance gone
    note    chat crashes 1
    note    chat status error and why
    -- 0.000 s
    nothing, 1 matching
    ");
    world
        .machine
        .fates
        .insert(crate::simulated::name("chat"), crate::simulated::Fate::dies(FailureCause::NoMemory, "killed"));
    world.ask("chat", 1);
    assert_snapshot!(world.story_of(4), @"
    -- 0.000 s
    start   chat: asked_for(waiting 1)
            - start generation 1 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 603.000 s, pid 102)
    -- 1.000 s
    found   chat start_failed(no_memory)
    note    instance gone
    note    chat crashes 2
    note    chat status error and why
    wait    chat: backoff(crashes 2, until 5.000 s, was_ready)
    -- 1.000 s
    wait    chat: backoff(crashes 2, until 5.000 s, was_ready)
    ");
    world.ask("chat", 0);
    assert_snapshot!(world.planned(), @"nothing, 1 matching");
}

#[test]
fn a_stop_by_the_clock_ends_the_count_of_crashes() {
    let mut world = awake();
    world.machine.kill("chat", FailureCause::NoMemory, "killed");
    world.pass();
    world.ask("chat", 1);
    world.advance(10);
    (0..3).for_each(|_| {
        world.pass();
        world.advance(1);
    });
    answer(&mut world);
    world.settle();
    let record = world.store.records().models["chat"].clone();
    assert_eq!((record.crashes.count, record.status), (0, herdsman::model::Status::Idle));
}

#[test]
fn an_edit_restarts_one_that_runs() {
    let mut world = awake();
    world.define(model("chat").on_demand().option("ctx_size", "2"));
    assert_snapshot!(world.story_of(2), @"
    -- 0.000 s
    restart chat: field_changed(ctx_size set to 2, impact restart, models.d/chat.toml:3)
            - withdraw
            - record row again, generation 2, generation 2 accepted by release 1, chat instance draining until 33.000 s
    -- 0.000 s
    restart chat: field_changed(ctx_size set to 2, impact restart, models.d/chat.toml:3)
            - stop pid 101
            - start generation 2 of chat on port 8100
    ");
}

#[test]
fn one_that_is_due_to_stop_is_not_restarted_first() {
    let mut world = awake();
    world.advance(600);
    world.define(model("chat").on_demand().option("ctx_size", "2"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat instance ready
    stop    chat: field_changed(ctx_size set to 2, impact record, models.d/chat.toml:3); idle(for_ms 600000)
            - withdraw
            - record row again, generation 2, chat instance draining until 633.000 s
    -- 0.000 s
    stop    chat: idle(for_ms 600000)
            - stop pid 101
    -- 0.000 s
    note    generation 2 accepted by release 1
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_file_that_cannot_be_used_neither_stops_it_nor_keeps_it_from_starting() {
    let mut world = awake();
    world.spoil("chat", Some("chat"));
    world.advance(3_000);
    assert_snapshot!(world.planned(), @"
    note    chat instance ready
    wait    chat: definition(file models.d/chat.toml)
    ");
    world.define(model("chat").on_demand());
    world.settle();
    world.spoil("chat", Some("chat"));
    world.ask("chat", 1);
    assert!(world.planned().contains("start   chat: asked_for"));
}

#[test]
fn what_its_file_needs_and_was_replaced_does_not_start_without_a_file_that_can_be_used() {
    let mut world = on_demand();
    world.spoil("chat", Some("chat"));
    world.machine.replaced.insert("/weights/chat.gguf".into());
    world.ask("chat", 1);
    assert_snapshot!(world.planned(), @"wait    chat: definition(file models.d/chat.toml)");
    world.machine.replaced.clear();
    assert!(world.planned().contains("start   chat: asked_for"), "{}", world.planned());
}

#[test]
fn it_is_stopped_and_started_when_its_definition_says_so() {
    let mut world = awake();
    world.define(model("chat"));
    world.settle();
    world.advance(3_000);
    assert_snapshot!(world.planned(), @"note    chat instance ready");
    world.define(model("chat").on_demand());
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat instance ready
    stop    chat: idle(for_ms 3000000)
            - withdraw
            - record row again, chat instance draining until 3033.000 s
    -- 0.000 s
    stop    chat: idle(for_ms 3000000)
            - stop pid 101
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn what_no_request_began_is_not_before_the_gateway() {
    // A clock that was set back does not keep it awake for ever.
    let mut world = awake();
    world.traffic("chat").last_used = Some(Timestamp(world.now.0 + 100_000_000));
    assert_snapshot!(world.planned(), @"wait    chat: idle_stop(after_ms 600000, until 603.000 s)");
}
