//! Where a gateway serves, a server leaves its rotation before it stops.

use herdsman::model::{Busy, FailureCause, InstanceState};
use herdsman::pass::Goal;
use herdsman::plan::Command;
use insta::assert_snapshot;

use crate::simulated::{Edit, World, model};

fn served(definition: herdsman::model::Definition) -> World {
    let mut world = World::new([definition]).with_gateway();
    world.settle();
    assert!(world.is_in_rotation("chat"));
    world
}

fn state(world: &World) -> InstanceState {
    world.store.records().models["chat"].instances[0].state
}

#[test]
fn an_idle_server_is_withdrawn_and_stopped_by_the_next_look() {
    let mut world = served(model("chat"));
    world.define(model("chat").option("ctx_size", "2"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: field_changed(ctx_size set to 2, impact restart, models.d/chat.toml:2)
            - withdraw
            - record row again, generation 2, generation 2 accepted by release 1, chat instance draining until 31.000 s
    -- 0.000 s
    restart chat: field_changed(ctx_size set to 2, impact restart, models.d/chat.toml:2)
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    -- 1.000 s
    found   chat ready(pid 102)
    note    chat generation 2 ready
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 1 matching
    ");
}

/// The promise that the simulated world checks: its successor listens at its address.
#[test]
fn a_dead_server_is_withdrawn_before_its_successor_starts() {
    let mut world = served(model("chat"));
    let dead = world.machine.server("chat").id.clone();
    world.machine.kill("chat", FailureCause::Spec, "killed");
    world.settle();
    assert!(!world.gateway.as_ref().unwrap().rotation.contains(&dead) && world.is_in_rotation("chat"));
}

/// A start is worth more than a request that meets a loading server.
#[test]
fn a_dead_server_restarts_though_the_gateway_does_not_confirm() {
    let mut world = served(model("chat"));
    world.machine.kill("chat", FailureCause::Spec, "killed");
    world.fail_at = Some(1);
    world.pass();
    world.settle();
    assert!(world.is_in_rotation("chat"));
}

#[test]
fn a_drain_time_of_zero_withdraws_first() {
    let mut world = served(model("chat"));
    world.machine.server("chat").busy = Busy::Yes(1);
    world.define(model("chat").stopped().drain(0));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    chat: field_changed(drain 30 s -> 0.0 s, impact record, models.d/chat.toml); state_wanted(models.d/chat.toml:2, state stopped)
            - withdraw
            - record row again, chat instance draining until 1.000 s
    -- 0.000 s
    stop    chat: state_wanted(models.d/chat.toml:2, state stopped)
            - stop pid 101
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn nothing_stops_when_the_gateway_does_not_confirm() {
    let mut world = served(model("chat"));
    world.define(model("chat").stopped());
    world.fail_at = Some(0);
    let pass = world.pass();
    assert_snapshot!(pass.outcomes[0].result.as_ref().unwrap_err(), @"cannot take it out of rotation: the gateway does not answer");
    assert_eq!((state(&world), world.is_in_rotation("chat")), (InstanceState::Ready, true));
    assert_snapshot!(world.story_of(2), @"
    -- 0.000 s
    stop    chat: state_wanted(models.d/chat.toml:2, state stopped)
            - withdraw
            - record row again, chat instance draining until 31.000 s
    -- 0.000 s
    stop    chat: state_wanted(models.d/chat.toml:2, state stopped)
            - stop pid 101
    ");
}

/// Its requests would wait until a pass succeeds.
#[test]
fn a_server_whose_drain_cannot_be_recorded_returns_to_the_rotation() {
    let mut world = served(model("chat"));
    world.define(model("chat").option("ctx_size", "2"));
    world.fail_at = Some(1);
    world.try_pass().unwrap_err();
    assert_eq!((state(&world), world.is_in_rotation("chat")), (InstanceState::Ready, true));
    world.settle();
    assert!(world.is_in_rotation("chat"));
}

#[test]
fn a_server_whose_stop_has_begun_stays_out_of_rotation_when_the_pass_fails() {
    let mut world = served(model("chat"));
    world.define(model("chat").option("ctx_size", "2"));
    world.pass();
    let stopped = world.machine.server("chat").id.clone();
    // The stop's intent is recorded, and its outcome is not.
    world.fail_at = Some(2);
    world.try_pass().unwrap_err();
    assert!(!world.gateway.as_ref().unwrap().rotation.contains(&stopped));
}

#[test]
fn a_failed_withdrawal_ends_only_its_own_action() {
    let mut world = World::new([model("chat"), model("idle").stopped()]).with_gateway();
    world.settle();
    world.define(model("chat").stopped());
    world.define(model("idle"));
    world.fail_at = Some(0);
    let results: Vec<_> = world.pass().outcomes.into_iter().map(|o| (o.model.to_string(), o.result.is_ok())).collect();
    assert_eq!(results, [("chat".to_owned(), false), ("idle".to_owned(), true)]);
}

#[test]
fn an_edit_taken_back_returns_the_server_to_the_rotation() {
    let mut world = served(model("chat"));
    world.machine.server("chat").busy = Busy::Yes(1);
    world.define(model("chat").option("ctx_size", "2"));
    world.pass();
    assert!(!world.is_in_rotation("chat"));
    world.define(model("chat"));
    world.pass();
    assert!(world.is_in_rotation("chat"));
}

#[test]
fn a_server_that_still_loads_was_never_in_rotation() {
    let mut world = World::new([model("chat").fate("slow")]).with_gateway();
    world.pass();
    world.define(model("chat").stopped());
    assert_snapshot!(world.planned(), @"
    stop    chat: field_changed(fate no longer slow, impact record, models.d/chat.toml); state_wanted(models.d/chat.toml:2, state stopped)
            - record row again, generation 2
            - stop pid 101
    ");
}

#[test]
fn whatever_ends_a_server_withdraws_it() {
    type Ends = fn(&mut World);
    let ends: [(&str, Ends); 6] = [
        ("down", |world| world.goal = Goal::Down),
        ("delete", |world| world.remove("chat")),
        ("stop", |world| world.by_hand("chat", Command::Stop).unwrap()),
        ("restart by hand", |world| world.by_hand("chat", Command::Restart).unwrap()),
        ("another port", |world| world.define(model("chat").port(8200))),
        ("another llama-server", |world| {
            world.machine.install("release 2");
            world.limits.upgrade_binary = true;
        }),
    ];
    for (what, ends) in ends {
        let mut world = served(model("chat"));
        world.limits.max_deletes = Some(herdsman::plan::MaxDeletes::Count(1));
        let pid = world.machine.server("chat").handle.pid();
        ends(&mut world);
        assert!(world.planned().contains("- withdraw\n        - record"), "{what}: {}", world.planned());
        world.pass();
        assert_eq!(world.machine.server("chat").handle.pid(), pid, "{what}: it drains first");
        world.settle();
        let still: Vec<_> = world.machine.of("chat").iter().map(|server| server.handle.pid()).collect();
        assert!(!still.contains(&pid), "{what}: it is stopped then");
    }
}

#[test]
fn a_second_server_that_was_ready_is_withdrawn_too() {
    let mut world = served(model("chat"));
    let mut second = world.machine.server("chat").clone();
    second.id = herdsman::model::InstanceId("second".to_owned());
    (second.port, second.started_at) = (Some(8150), world.now);
    let mut record = world.store.records().models["chat"].instances[0].clone();
    (record.id, record.port, record.started_at) = (second.id.clone(), second.port, world.now);
    let mut process = second.handle.process().clone();
    process.pid += 1000;
    second.handle = process.into();
    record.handle = Some(second.handle.clone());
    world.machine.servers.push(second.clone());
    world.store.commit(&[herdsman::model::Change::PutInstance(record)]);
    world.machine.servers.last_mut().unwrap().busy = Busy::Yes(1);
    // What follows waits for it: there are never three.
    world.define(model("chat").option("ctx_size", "2"));
    assert_snapshot!(world.story_of(2), @"
    -- 0.000 s
    note    chat instance ready, no answer
    stop    chat: duplicate(kept 101, pid 1101)
            - withdraw
            - record chat instance draining until 31.000 s, no answer
    -- 0.000 s
    wait    chat: drain(busy 1, deadline 31.000 s)
    ");
    world.machine.servers.last_mut().unwrap().busy = Busy::No;
    assert_snapshot!(world.story_of(3), @"
    -- 0.000 s
    restart chat: duplicate(kept 101, pid 1101); field_changed(ctx_size set to 2, impact restart, models.d/chat.toml:2)
            - stop pid 1101 (status stays)
            - withdraw
            - record row again, generation 2, generation 2 accepted by release 1, chat instance draining until 32.000 s
    -- 0.000 s
    restart chat: field_changed(ctx_size set to 2, impact restart, models.d/chat.toml:2)
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 602.000 s, pid 102)
    ");
}

#[test]
fn a_server_that_does_not_answer_is_withdrawn_and_killed_at_once() {
    let mut world = served(model("chat").unhealthy_after(30));
    world.machine.server("chat").silent = true;
    world.pass();
    world.advance(30);
    assert_snapshot!(world.planned(), @"
    note    chat crashes 1
    note    chat instance stopping, no answer
    note    chat status error and why
    stop    chat: unhealthy(for_ms 30000)
            - withdraw
            - stop pid 101 by force (status stays)
    ");
    // If the gateway does not confirm, a later pass asks it again.
    world.fail_at = Some(1);
    assert!(world.pass().outcomes[0].result.is_err());
    assert_snapshot!(world.planned(), @"
    stop    chat: stop_unfinished
            - withdraw
            - stop pid 101
    ");
}

#[test]
fn requests_that_the_gateway_has_sent_count_before_the_server_knows_of_them() {
    let mut world = served(model("chat"));
    world.define(model("chat").stopped());
    world.pass();
    world.traffic("chat").in_flight = 2;
    assert_snapshot!(world.planned(), @"wait    chat: drain(busy 2, deadline 31.000 s)");
    world.traffic("chat").in_flight = 0;
    assert_snapshot!(world.planned(), @"
    stop    chat: state_wanted(models.d/chat.toml:2, state stopped)
            - stop pid 101
    ");
}

#[test]
fn a_server_serves_until_its_successor_has_its_turn() {
    let mut world = World::new([model("chat"), model("loads").fate("slow")]).with_gateway();
    world.settle();
    world.limits.parallel = 1;
    world.define(model("loads").fate("slow").option("ctx_size", "2"));
    world.limits.max_restarting = 2;
    world.pass();
    world.pass();
    world.define(model("chat").option("ctx_size", "2"));
    assert_snapshot!(world.planned(), @"
    wait    chat: start_slot
    wait    loads: ready(deadline 660.000 s, pid 103)
    ");
    assert!(world.is_in_rotation("chat"));
}
