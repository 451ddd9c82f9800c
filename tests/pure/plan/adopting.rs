//! Live instances that the database does not know, or knows in part.

use herdsman::model::{Change, InstanceId, InstanceRecord, ProcessId};
use insta::assert_snapshot;

use crate::simulated::{Edit, Store, World, model, name};

#[test]
fn a_lost_database_loses_no_server() {
    let mut world = World::settled([model("a"), model("b").port(8200)]);
    world.store = Store::default();
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    adopt   a: definition_added(models.d/a.toml, state running); unrecorded(pid 101)
            - record row, a port 8100, generation 1, a instance ready
    adopt   b: definition_added(models.d/b.toml, state running); unrecorded(pid 102)
            - record row, b port 8200, generation 1, b instance ready
    -- 0.000 s
    note    a generation 1 ready
    note    a port 8100 proven
    note    a status running
    note    b generation 1 ready
    note    b port 8200 proven
    note    b status running
    -- 0.000 s
    nothing, 2 matching
    ");
    assert_eq!(world.machine.server("a").handle.pid(), 101);
}

#[test]
fn a_lost_database_and_an_edit_are_a_restart_on_the_same_port() {
    let mut world = World::settled([model("a").option("ctx_size", "1"), model("b")]);
    world.store = Store::default();
    world.define(model("b").option("ctx_size", "2"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    adopt   a: definition_added(models.d/a.toml, state running); unrecorded(pid 101)
            - record row, a port 8100, generation 1, a instance ready
    adopt   b: definition_added(models.d/b.toml, state running); unrecorded(pid 102)
            - record row, b port 8101, generation 1, b instance ready
    -- 0.000 s
    note    a generation 1 ready
    note    a port 8100 proven
    note    a status running
    note    b port 8101 proven
    note    b status running
    restart b: other_spec
            - record generation 1 accepted by release 1
            - stop pid 102
            - start generation 1 of b on port 8101
    -- 0.000 s
    wait    b: ready(deadline 601.000 s, pid 103)
    -- 1.000 s
    found   b ready(pid 103)
    note    b generation 1 ready
    note    b instance ready
    note    b status running
    -- 1.000 s
    nothing, 2 matching
    ");
}

#[test]
fn an_intent_with_a_process_is_taken_up() {
    let mut world = World::new([model("chat")]);
    world.kill_after = Some(2);
    world.try_pass().unwrap_err();
    world.kill_after = None;
    assert_eq!(world.machine.of("chat").len(), 1);
    let recorded = |world: &World| world.store.records().models["chat"].instances[0].handle.clone();
    assert_eq!(recorded(&world), None);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat instance loading
    note    chat status loading
    wait    chat: ready(deadline 600.000 s, pid 101)
    -- 0.000 s
    wait    chat: ready(deadline 600.000 s, pid 101)
    -- 1.000 s
    found   chat ready(pid 101)
    note    chat generation 1 ready
    note    chat port 8100 proven
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 1 matching
    ");
    assert_eq!(recorded(&world), Some(world.machine.server("chat").handle.clone()));
}

#[test]
fn an_intent_without_a_process_is_void() {
    let mut world = World::new([model("chat")]);
    world.kill_after = Some(1);
    world.try_pass().unwrap_err();
    world.kill_after = None;
    assert_eq!(world.machine.of("chat").len(), 0);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    instance gone
    start   chat: not_running
            - start generation 1 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 600.000 s, pid 101)
    -- 1.000 s
    found   chat ready(pid 101)
    note    chat generation 1 ready
    note    chat port 8100 proven
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 1 matching
    ");
}

#[test]
fn of_two_instances_the_one_with_the_wanted_spec_is_kept() {
    let mut world = World::settled([model("chat")]);
    world.stray(&model("chat").option("ctx_size", "old"), 8150);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    chat: duplicate(kept 101, pid 102)
            - stop pid 102 (status stays)
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn of_two_instances_the_ready_one_is_kept_then_the_one_on_its_port() {
    let mut world = World::settled([model("chat")]);
    world.stray(&model("chat"), 8150);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    chat: duplicate(kept 101, pid 102)
            - stop pid 102 (status stays)
    -- 0.000 s
    nothing, 1 matching
    ");
    world.stray(&model("chat"), 8150);
    world.advance(10);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    chat: duplicate(kept 101, pid 103)
            - stop pid 103 (status stays)
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn an_unrecorded_instance_with_the_wanted_spec_replaces_a_recorded_one_without() {
    let mut world = World::settled([model("chat").port(8100)]);
    world.define(model("chat").port(8200));
    world.stray(&model("chat"), 8200);
    world.advance(10);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    adopt   chat: duplicate(kept 102, pid 101); unrecorded(pid 102)
            - stop pid 101 (status stays)
            - record chat instance ready
    -- 0.000 s
    update  chat: field_changed(port 8100 -> 8200, impact record, models.d/chat.toml:2)
            - record generation 2
    -- 0.000 s
    note    chat generation 2 ready
    note    chat port 8200 proven
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_second_instance_is_stopped_together_with_a_restart() {
    let mut world = World::settled([model("chat")]);
    world.stray(&model("chat").option("ctx_size", "old"), 8150);
    world.define(model("chat").option("ctx_size", "2"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: duplicate(kept 101, pid 102); field_changed(ctx_size set to 2, impact restart, models.d/chat.toml:2)
            - stop pid 102 (status stays)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 601.000 s, pid 103)
    -- 1.000 s
    found   chat ready(pid 103)
    note    chat generation 2 ready
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_second_instance_is_stopped_although_the_first_drains() {
    let mut world = World::settled([model("chat")]);
    world.machine.server("chat").busy = herdsman::model::Busy::Yes(1);
    world.define(model("chat").option("ctx_size", "2"));
    world.pass();
    world.stray(&model("chat").option("ctx_size", "old"), 8150);
    assert_snapshot!(world.story_of(2), @"
    -- 0.000 s
    stop    chat: duplicate(kept 101, pid 102)
            - stop pid 102 (status stays)
    wait    chat: drain(busy 1, deadline 31.000 s)
    -- 0.000 s
    wait    chat: drain(busy 1, deadline 31.000 s)
    ");
}

#[test]
fn an_unrecorded_instance_of_a_stopped_model_is_stopped() {
    let mut world = World::settled([model("chat").stopped()]);
    world.stray(&model("chat"), 8150);
    world.machine.server("chat").busy = herdsman::model::Busy::Yes(1);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat status loading
    stop    chat: state_wanted(models.d/chat.toml:2, state stopped)
            - record chat port 8150
            - stop pid 101
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn to_a_process_that_cannot_be_read_nothing_is_done() {
    let mut world = World::settled([model("a"), model("b")]);
    world.machine.server("a").unreadable = true;
    world.define(model("a").option("ctx_size", "2"));
    world.define(model("b").stopped());
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    b: state_wanted(models.d/b.toml:2, state stopped)
            - record row again
            - stop pid 102
    wait    a: unknown_process(pid 101)
    -- 0.000 s
    wait    a: unknown_process(pid 101)
    ");
    world.goal = herdsman::pass::Goal::Down;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    a: unknown_process(pid 101)
    ");
    assert_eq!(world.machine.server("a").handle.pid(), 101);
}

#[test]
fn an_instance_under_another_state_directory_is_named_and_left_alone() {
    let mut world = World::new([model("chat")]);
    world.machine.foreign.insert("/models.d/chat.toml".to_owned(), (name("chat").to_string(), 4711));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    chat: foreign_instance(pid 4711)
    ");
}

/// Found by simulated histories.
#[test]
fn what_serves_something_else_is_not_replaced_by_a_generation_that_failed() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").fate("dies").stop_on_failure());
    world.settle();
    assert!(world.machine.of("chat").is_empty());
    world.stray(&model("chat").option("ctx_size", "7"), 8150);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat status loading and why
    adopt   chat: unrecorded(pid 103)
            - record chat instance loading
    -- 0.000 s
    wait    chat: edit(generation 2)
    wait    chat: ready(deadline 602.000 s, pid 103)
    -- 1.000 s
    found   chat ready(pid 103)
    note    chat instance ready
    note    chat status running and why
    wait    chat: edit(generation 2)
    -- 1.000 s
    wait    chat: edit(generation 2)
    ");
    assert_eq!(world.machine.of("chat").len(), 1);
}

#[test]
fn an_adopted_instance_is_recorded_with_the_generation_it_serves() {
    let mut world = World::settled(["a", "b"].map(model));
    world.store = Store::default();
    world.define(model("b").option("ctx_size", "2"));
    world.pass();
    let records = world.store.records();
    assert_eq!(records.models["a"].instances[0].generation, 1);
    assert_eq!(records.models["b"].instances[0].generation, 0, "of none that is recorded");
}

#[test]
fn an_instance_that_its_records_lost_is_adopted_as_the_generation_it_serves() {
    let mut world = World::settled([model("a")]);
    world.define(model("a").option("ctx_size", "2").fate("slow"));
    world.pass();
    let loading = world.machine.server("a").id.clone();
    world.store.commit(&[herdsman::model::Change::RemoveInstance(loading)]);
    world.pass();
    assert_eq!(world.store.records().models["a"].instances[0].generation, 2);
}

#[test]
fn an_adopted_instance_that_loads_takes_a_start_slot_and_one_that_is_ready_none() {
    let mut world = World::settled([model("a")]);
    world.store = Store::default();
    world.define(model("b"));
    world.limits.parallel = 1;
    assert_snapshot!(world.planned(), @"
    adopt   a: definition_added(models.d/a.toml, state running); unrecorded(pid 101)
            - record row, a port 8100, generation 1, a instance ready
    create  b: definition_added(models.d/b.toml, state running)
            - record row, b port 8101, generation 1, generation 1 accepted by release 1
            - start generation 1 of b on port 8101
    ");
    let mut world = World::new([model("a").fate("slow")]);
    world.pass();
    world.store = Store::default();
    world.define(model("b"));
    world.limits.parallel = 1;
    assert_snapshot!(world.planned(), @"
    adopt   a: definition_added(models.d/a.toml, state running); unrecorded(pid 101)
            - record row, a port 8100, generation 1, a instance loading
    create  b: definition_added(models.d/b.toml, state running)
            - record row, b port 8101, generation 1, generation 1 accepted by release 1
    wait    b: start_slot
    ");
}

#[test]
fn of_two_instances_one_that_is_being_stopped_is_not_kept() {
    let mut world = World::settled([model("chat").port(8150)]);
    world.define(model("chat").port(8150).stopped());
    // The intent.
    world.kill_after = Some(1);
    world.try_settle().unwrap_err();
    world.kill_after = None;
    world.define(model("chat").port(8150));
    world.stray(&model("chat"), 8151);
    world.machine.servers[1].spec = world.machine.servers[0].spec.clone();
    assert_snapshot!(world.planned(), @"
    note    chat status loading
    adopt   chat: duplicate(kept 102, pid 101); unrecorded(pid 102)
            - stop pid 101 (status stays)
            - record chat instance loading
    ");
}

#[test]
fn of_two_instances_without_the_wanted_spec_the_one_on_the_recorded_port_is_kept() {
    let mut world = World::settled([model("chat")]);
    world.stray(&model("chat").option("ctx_size", "old"), 8150);
    world.machine.servers[1].started_at = herdsman::model::Timestamp(0);
    world.define(model("chat").option("ctx_size", "2"));
    assert_snapshot!(world.planned(), @"
    restart chat: duplicate(kept 101, pid 102); field_changed(ctx_size set to 2, impact restart, models.d/chat.toml:2)
            - stop pid 102 (status stays)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    ");
}

#[test]
fn of_two_recorded_instances_the_one_that_lives_stays_recorded_when_the_other_is_gone() {
    let mut world = World::settled([model("chat")]);
    let lives = world.store.instances()[0].clone();
    let handle = lives.handle.clone().map(|handle| ProcessId { pid: 99, ..handle.process().clone() }.into());
    let gone = InstanceRecord { id: InstanceId("gone".to_owned()), handle, ..lives };
    world.store.commit(&[Change::PutInstance(gone)]);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    found   chat crashed(spec)
    note    instance gone
    note    chat crashes 1
    -- 0.000 s
    nothing, 1 matching
    ");
    assert_eq!(world.store.instances().len(), 1);
}
