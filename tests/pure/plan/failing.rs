//! Generations that do not become ready.

use herdsman::model::FailureCause;
use insta::assert_snapshot;

use crate::simulated::{Edit, Fate, World, model, name};

/// `chat` works, and has just been edited so that it does not.
fn edited() -> World {
    let mut world = World::settled([model("chat").option("ctx_size", "1")]);
    world.define(model("chat").fate("dies"));
    world
}

/// The same, with the failure recorded and the former generation serving.
fn rolled_back() -> World {
    let mut world = edited();
    world.settle();
    world
}

#[test]
fn a_failed_generation_gives_way_to_the_last_that_was_ready() {
    assert_snapshot!(edited().story(), @"
    -- 0.000 s
    restart chat: field_changed(ctx_size no longer 1, impact restart, models.d/chat.toml); field_changed(fate set to dies, impact restart, models.d/chat.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    -- 1.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat generation 2 failed(spec)
    note    chat crashes 0
    note    chat status error and why
    start   chat: rolled_back(failed 2, to 1)
            - start generation 1 of chat on port 8100
    wait    chat: edit(generation 2, serving 1)
    -- 1.000 s
    note    chat status loading and why
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 602.000 s, pid 103)
    -- 1.000 s
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 602.000 s, pid 103)
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
fn with_stop_on_failure_the_model_stays_down() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").fate("dies").stop_on_failure());
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: field_changed(fate set to dies, impact restart, models.d/chat.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    -- 1.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat generation 2 failed(spec)
    note    chat crashes 0
    note    chat status error and why
    wait    chat: edit(generation 2)
    -- 1.000 s
    wait    chat: edit(generation 2)
    ");
}

#[test]
fn an_edit_ends_the_wait_for_one() {
    let mut world = rolled_back();
    world.define(model("chat").option("ctx_size", "2"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat status running
    restart chat: field_changed(ctx_size 1 -> 2, impact restart, models.d/chat.toml:2)
            - record row again, generation 3, generation 3 accepted by release 1
            - stop pid 103
            - start generation 3 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 603.000 s, pid 104)
    -- 1.000 s
    found   chat ready(pid 104)
    note    chat generation 3 ready
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 1 matching
    ");
}

#[test]
fn an_edit_back_to_what_serves_restarts_nothing() {
    let mut world = rolled_back();
    world.define(model("chat").option("ctx_size", "1"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat status running
    update  chat: field_changed(ctx_size set to 1, impact record, models.d/chat.toml:2); field_changed(fate no longer dies, impact record, models.d/chat.toml)
            - record row again, generation 3
    -- 0.000 s
    note    chat generation 3 ready
    -- 0.000 s
    nothing, 1 matching
    ");
    let record = &world.store.records().models["chat"];
    assert_eq!(record.generation.outcome, herdsman::model::GenerationOutcome::Ready);
}

#[test]
fn retry_tries_the_failed_generation_again() {
    let mut world = rolled_back();
    world.limits.retry = true;
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    restart chat: tried_again; field_changed(ctx_size no longer 1, impact restart, models.d/chat.toml); field_changed(fate set to dies, impact restart, models.d/chat.toml:2)
            - record chat generation 2 pending
            - stop pid 103
            - start generation 2 of chat on port 8100
    ");
    world.limits.retry = false;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    chat: ready(deadline 603.000 s, pid 104)
    -- 1.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat generation 2 failed(spec)
    note    chat crashes 0
    note    chat status error and why
    start   chat: rolled_back(failed 2, to 1)
            - start generation 1 of chat on port 8100
    wait    chat: edit(generation 2, serving 1)
    -- 1.000 s
    note    chat status loading and why
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 604.000 s, pid 105)
    -- 1.000 s
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 604.000 s, pid 105)
    -- 2.000 s
    found   chat ready(pid 105)
    note    chat instance ready
    note    chat status running and why
    wait    chat: edit(generation 2, serving 1)
    -- 2.000 s
    wait    chat: edit(generation 2, serving 1)
    ");
}

#[test]
fn another_llama_server_tries_the_failed_generation_again() {
    let mut world = rolled_back();
    world.machine.install("release 2");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: tried_again; field_changed(ctx_size no longer 1, impact restart, models.d/chat.toml); field_changed(fate set to dies, impact restart, models.d/chat.toml:2)
            - record chat generation 2 pending, generation 2 accepted by release 2
            - stop pid 103
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 603.000 s, pid 104)
    -- 1.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat generation 2 failed(spec)
    note    chat crashes 0
    note    chat status error and why
    start   chat: rolled_back(failed 2, to 1)
            - record generation 1 accepted by release 2
            - start generation 1 of chat on port 8100
    wait    chat: edit(generation 2, serving 1)
    -- 1.000 s
    note    chat status loading and why
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 604.000 s, pid 105)
    -- 1.000 s
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 604.000 s, pid 105)
    -- 2.000 s
    found   chat ready(pid 105)
    note    chat instance ready
    note    chat status running and why
    wait    chat: edit(generation 2, serving 1)
    -- 2.000 s
    wait    chat: edit(generation 2, serving 1)
    ");
}

#[test]
fn what_only_the_record_holds_is_recorded_while_an_edit_is_waited_for() {
    let mut world = rolled_back();
    world.define(model("chat").fate("dies").description("broken"));
    world.store.change_column("chat", "ctx_size", "1", "2");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    update  chat: field_changed(description set to broken, impact record, models.d/chat.toml:3); row_drift(ctx_size 1 -> 2)
            - record row again
    wait    chat: edit(generation 2, serving 1)
    -- 0.000 s
    wait    chat: edit(generation 2, serving 1)
    ");
}

#[test]
fn the_former_generation_is_started_again_when_it_crashes() {
    let mut world = rolled_back();
    world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    found   chat crashed(spec)
    note    instance gone
    note    chat crashes 1
    note    chat status error and why
    start   chat: process_gone(crashes 1, death(cause spec)); rolled_back(failed 2, to 1)
            - start generation 1 of chat on port 8100
    wait    chat: edit(generation 2, serving 1)
    -- 0.000 s
    note    chat status loading and why
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 603.000 s, pid 104)
    -- 0.000 s
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 603.000 s, pid 104)
    -- 1.000 s
    found   chat ready(pid 104)
    note    chat instance ready
    note    chat status running and why
    wait    chat: edit(generation 2, serving 1)
    -- 1.000 s
    wait    chat: edit(generation 2, serving 1)
    ");
}

#[test]
fn without_a_former_generation_the_start_is_tried_again_by_backoff() {
    let mut world = World::new([model("chat").fate("dies")]);
    assert_snapshot!(world.story_of(7), @"
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
    ");
}

#[test]
fn without_the_former_weights_the_start_is_tried_again_by_backoff() {
    let mut world = edited();
    world.machine.replaced.insert("/weights/chat.gguf".to_owned());
    assert_snapshot!(world.story_of(5), @"
    -- 0.000 s
    restart chat: field_changed(ctx_size no longer 1, impact restart, models.d/chat.toml); field_changed(fate set to dies, impact restart, models.d/chat.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    -- 1.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat crashes 1
    note    chat status error and why
    start   chat: process_gone(crashes 1, death(cause spec))
            - start generation 2 of chat on port 8100
    -- 1.000 s
    wait    chat: ready(deadline 602.000 s, pid 103)
    -- 2.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat crashes 2
    note    chat status error and why
    wait    chat: backoff(crashes 2, until 4.000 s)
    ");
}

#[test]
fn a_failure_of_the_world_does_not_fail_the_generation() {
    for cause in [FailureCause::NoMemory, FailureCause::DiskFull, FailureCause::Download] {
        let mut world = World::settled([model("chat")]);
        world.define(model("chat").option("ctx_size", "2"));
        world.machine.fates.insert(name("chat"), Fate::dies(cause, "for now"));
        for _ in 0..4 {
            world.pass();
            world.advance(1);
        }
        let record = world.store.records().models[&name("chat")].clone();
        assert_eq!(record.generation.outcome, herdsman::model::GenerationOutcome::Pending, "{cause:?}");
        assert!(record.crashes.count > 0, "{cause:?}");
        world.machine.fates.clear();
        world.settle();
        assert_eq!(world.store.records().models["chat"].generation.number, 2);
        assert_eq!(world.machine.server("chat").spec, record.generation.hash);
    }
}

#[test]
fn a_program_that_cannot_be_executed_is_tried_again_by_backoff() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").option("ctx_size", "2"));
    // The stop's intent, the stop, its outcome, the start's intent, the start.
    world.fail_at = Some(4);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: field_changed(ctx_size set to 2, impact restart, models.d/chat.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    failed: chat: permission denied
    -- 0.000 s
    wait    chat: backoff(crashes 1, until 2.000 s)
    -- 1.000 s
    start   chat: process_gone(crashes 1)
            - start generation 2 of chat on port 8100
    -- 1.000 s
    wait    chat: ready(deadline 602.000 s, pid 102)
    -- 2.000 s
    found   chat ready(pid 102)
    note    chat generation 2 ready
    note    chat instance ready
    note    chat status running
    -- 2.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_generation_that_once_worked_is_tried_again_and_never_fails() {
    let mut world = World::settled([model("chat").stop_on_failure()]);
    world.advance(60);
    world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
    world.pass();
    world.machine.kill("chat", FailureCause::Spec, "invalid magic characters");
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat crashes 2
    note    chat status error and why
    wait    chat: backoff(crashes 2, until 63.000 s, was_ready)
    ");
}

#[test]
fn a_former_generation_that_dies_too_is_tried_again_by_backoff() {
    let mut world = edited();
    world.pass();
    world.advance(1);
    world.pass();
    world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat crashes 1
    note    chat status error and why
    wait    chat: edit(generation 2, serving 1)
    wait    chat: backoff(crashes 1, until 3.000 s, was_ready)
    ");
}

#[test]
fn nothing_that_the_policy_does_not_allow_is_started_from_a_record() {
    // What the last good generation ran with is allowed no longer.
    let mut world = edited();
    world.machine.forbidden.insert("ctx_size".to_owned());
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: field_changed(ctx_size no longer 1, impact restart, models.d/chat.toml); field_changed(fate set to dies, impact restart, models.d/chat.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    -- 1.000 s
    found   chat start_failed(spec)
    note    instance gone
    note    chat generation 2 failed(spec)
    note    chat crashes 0
    note    chat status error and why
    wait    chat: edit(generation 2, serving 1)
    wait    chat: policy
    -- 1.000 s
    wait    chat: edit(generation 2, serving 1)
    wait    chat: policy
    ");
}

#[test]
fn a_crashed_server_stays_down_while_the_policy_does_not_allow_it() {
    let mut world = World::settled([model("chat").option("ctx_size", "1")]);
    world.machine.forbidden.insert("ctx_size".to_owned());
    world.advance(60);
    world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    found   chat crashed(spec)
    note    instance gone
    note    chat crashes 1
    note    chat status error and why
    wait    chat: policy
    -- 0.000 s
    wait    chat: policy
    ");
}
