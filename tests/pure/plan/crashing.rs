//! Deaths nobody asked for.

use herdsman::model::FailureCause;
use insta::assert_snapshot;

use crate::simulated::{Edit, World, model};

#[test]
fn a_server_that_dies_again_and_again_is_tried_ever_more_slowly() {
    let mut world = World::new([model("chat")]);
    let death = crate::simulated::Fate::dies(FailureCause::Spec, "segmentation fault");
    world.machine.fates.insert(crate::simulated::name("chat"), death);
    assert_snapshot!(world.story_of(15), @"
    -- 0.000 s
    create  chat: definition_added(models.d/chat.toml, state running)
            - record row, chat port 8100, generation 1, generation 1 accepted by release 1
            - start generation 1 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 600.000 s, pid 101)
    -- 1.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat crashes 1
    note    chat status error and why
    start   chat: process_gone(crashes 1, death(cause spec))
            - start generation 1 of chat on port 8100
    -- 1.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    -- 2.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat crashes 2
    note    chat status error and why
    wait    chat: backoff(crashes 2, until 3.000 s)
    -- 2.000 s
    wait    chat: backoff(crashes 2, until 3.000 s)
    -- 3.000 s
    start   chat: process_gone(crashes 2)
            - start generation 1 of chat on port 8100
    -- 3.000 s
    wait    chat: ready(deadline 603.000 s, pid 103)
    -- 4.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat crashes 3
    note    chat status error and why
    wait    chat: backoff(crashes 3, until 7.000 s)
    -- 4.000 s
    wait    chat: backoff(crashes 3, until 7.000 s)
    -- 7.000 s
    start   chat: process_gone(crashes 3)
            - start generation 1 of chat on port 8100
    -- 7.000 s
    wait    chat: ready(deadline 607.000 s, pid 104)
    -- 8.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat crashes 4
    note    chat status error and why
    wait    chat: backoff(crashes 4, until 15.000 s)
    -- 8.000 s
    wait    chat: backoff(crashes 4, until 15.000 s)
    -- 15.000 s
    start   chat: process_gone(crashes 4)
            - start generation 1 of chat on port 8100
    ");
}

#[test]
fn a_server_that_had_run_for_a_while_restarts_at_once() {
    let mut world = World::settled([model("chat")]);
    world.advance(60);
    world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    found   chat crashed(spec)
    note    instance gone
    note    chat crashes 1
    note    chat status error and why
    start   chat: process_gone(crashes 1, death(cause spec))
            - start generation 1 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 661.000 s, pid 102)
    -- 1.000 s
    found   chat ready(pid 102)
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 1 matching
    ");
}

#[test]
fn ten_minutes_seen_ready_make_the_next_crash_the_first() {
    let mut world = World::new([model("chat").fate("crashes")]);
    world.story_of(40);
    assert!(world.store.records().models["chat"].crashes.count > 4);
    world.machine.fates.insert(crate::simulated::name("chat"), crate::simulated::Fate::of("ready"));
    world.settle();
    world.advance(600);
    world.pass();
    world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    found   chat crashed(spec)
    note    instance gone
    note    chat crashes 1
    note    chat status error and why
    start   chat: process_gone(crashes 1, death(cause spec))
            - start generation 1 of chat on port 8100
    ");
}

#[test]
fn seen_ready_for_less_than_ten_minutes_the_crashes_add_up() {
    let mut world = World::settled([model("chat")]);
    for _ in 0..3 {
        world.advance(598);
        world.pass();
        world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
        world.settle();
    }
    assert_eq!(world.store.records().models["chat"].crashes.count, 3);
}

#[test]
fn a_clock_set_back_does_not_lengthen_the_delay() {
    let mut world = World::settled([model("chat")]);
    world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
    world.now.0 -= 100_000_000;
    assert_snapshot!(world.story_of(2), @"
    -- 0.000 s
    found   chat crashed(spec)
    note    instance gone
    note    chat crashes 1
    note    chat status error and why
    wait    chat: backoff(crashes 1, until -99998.000 s, was_ready)
    -- 0.000 s
    wait    chat: backoff(crashes 1, until -99998.000 s, was_ready)
    ");
}

#[test]
fn a_reboot_is_no_crash() {
    let mut world = World::settled([model("a"), model("b").stopped()]);
    world.reboot();
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    instance gone
    note    a status idle
    start   a: rebooted
            - start generation 1 of a on port 8100
    -- 0.000 s
    wait    a: ready(deadline 601.000 s, pid 101)
    -- 1.000 s
    found   a ready(pid 101)
    note    a instance ready
    note    a status running
    -- 1.000 s
    nothing, 2 matching
    ");
    assert_eq!(world.store.records().models["a"].crashes.count, 0);
}

#[test]
fn down_stops_everything_and_reconcile_starts_it_again() {
    let mut world = World::settled([model("a"), model("b"), model("c").stopped()]);
    world.goal = herdsman::pass::Goal::Down;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    a: down
            - stop pid 101
    stop    b: down
            - stop pid 102
    -- 0.000 s
    nothing, 0 matching
    ");
    world.goal = herdsman::pass::Goal::Definitions;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    start   a: not_running
            - start generation 1 of a on port 8100
    start   b: not_running
            - start generation 1 of b on port 8101
    -- 0.000 s
    wait    a: ready(deadline 601.000 s, pid 103)
    wait    b: ready(deadline 601.000 s, pid 104)
    -- 1.000 s
    found   a ready(pid 103)
    found   b ready(pid 104)
    note    a instance ready
    note    a status running
    note    b instance ready
    note    b status running
    -- 1.000 s
    nothing, 3 matching
    ");
}

#[test]
fn down_forgets_the_crashes() {
    let mut world = World::settled([model("a")]);
    world.machine.kill("a", FailureCause::Spec, "segmentation fault");
    world.pass();
    world.goal = herdsman::pass::Goal::Down;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    a: down
            - stop pid 102
    -- 0.000 s
    note    a crashes 0
    -- 0.000 s
    nothing, 0 matching
    ");
}

#[test]
fn down_stops_an_instance_that_no_record_knows() {
    let mut world = World::new([]);
    world.stray(&model("lost"), 8100);
    world.goal = herdsman::pass::Goal::Down;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    lost: down
            - stop pid 101 (status stays)
    -- 0.000 s
    nothing, 0 matching
    ");
}

#[test]
fn retry_does_not_wait_and_tries_once() {
    let mut world = World::new([model("chat").fate("dies")]);
    world.story_of(5);
    let waits = "wait    chat: backoff(crashes 2, until";
    assert!(world.planned().starts_with(waits));
    world.limits.retry = true;
    assert_snapshot!(world.planned(), @"
    start   chat: process_gone(crashes 2)
            - start generation 1 of chat on port 8100
    ");
    world.limits.tried = [crate::simulated::name("chat")].into();
    assert!(world.planned().starts_with(waits));
}

#[test]
fn an_edit_of_a_model_without_an_instance_says_so_and_no_more() {
    let mut world = World::settled([model("chat")]);
    world.goal = herdsman::pass::Goal::Down;
    world.settle();
    world.goal = herdsman::pass::Goal::Definitions;
    world.define(model("chat").option("ctx_size", "2"));
    assert_snapshot!(world.planned(), @"
    start   chat: field_changed(ctx_size set to 2, impact restart, models.d/chat.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - start generation 2 of chat on port 8100
    ");
}

#[test]
fn ten_minutes_seen_ready_are_noted_once() {
    let mut world = World::settled([model("chat")]);
    world.advance(599);
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    note    chat instance ready
    -- 0.000 s
    nothing, 1 matching
    ");
    world.advance(1);
    assert_snapshot!(world.planned(), @"nothing, 1 matching");
}

#[test]
fn what_failed_and_what_waits_for_its_next_try_is_idle_once_it_is_to_be_stopped() {
    let mut world = World::settled(["crashed", "failed"].map(model));
    world.define(model("failed").fate("dies").stop_on_failure());
    world.settle();
    for _ in 0..2 {
        world.machine.kill("crashed", FailureCause::Spec, "segmentation fault");
        world.pass();
    }
    world.define(model("crashed").stopped());
    world.define(model("failed").fate("dies").stop_on_failure().stopped());
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    crashed crashes 0
    note    crashed status idle
    note    failed status idle
    update  crashed: state_wanted(models.d/crashed.toml:2, state stopped)
            - record row again
    update  failed: state_wanted(models.d/failed.toml:3, state stopped)
            - record row again
    -- 0.000 s
    nothing, 2 matching
    ");
}
