//! Programs that start llama-server instead of becoming it.

use herdsman::model::{Definition, FailureCause};
use herdsman::pass::Goal;
use herdsman::plan::Command;
use insta::assert_snapshot;

use crate::simulated::{Edit, World, model, name};

/// Ready, and each leaves a helper when it dies, ten seconds after its start.
fn helped<const N: usize>(models: [&str; N]) -> World {
    let definition = |name: &str| -> Definition { model(name).fate("leaves-helper") };
    let mut world = World::new(models.map(definition));
    world.pass();
    world.advance(1);
    world.pass();
    world
}

#[test]
fn a_wrapper_whose_child_answers_has_failed_and_is_tried_again_ever_later_on_the_same_port() {
    let mut world = World::new([model("chat").fate("wraps")]);
    assert_snapshot!(world.story_of(8), @"
    -- 0.000 s
    create  chat: definition_added(models.d/chat.toml, state running)
            - record row, chat port 8100, generation 1, generation 1 accepted by release 1
            - start generation 1 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 600.000 s, pid 101)
    -- 1.000 s
    found   chat start_failed(spec)
    note    chat crashes 1
    note    chat instance stopping
    note    chat status error and why
    stop    chat: wrapped(child 1101, pid 101)
            - stop pid 101 (status stays)
    -- 1.000 s
    start   chat: process_gone(crashes 1)
            - start generation 1 of chat on port 8100
    -- 1.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    -- 2.000 s
    found   chat start_failed(spec)
    note    chat crashes 2
    note    chat instance stopping
    note    chat status error and why
    stop    chat: wrapped(child 1102, pid 102)
            - stop pid 102 (status stays)
    -- 2.000 s
    wait    chat: backoff(crashes 2, until 3.000 s)
    -- 3.000 s
    start   chat: process_gone(crashes 2)
            - start generation 1 of chat on port 8100
    ");
    assert_eq!(world.store.records().models["chat"].port.map(|port| port.port), Some(8100));
}

#[test]
fn an_edit_to_a_wrapper_whose_child_answers_is_rolled_back() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").fate("wraps"));
    world.settle();
    assert_snapshot!(world.planned(), @"wait    chat: edit(generation 2, serving 1)");
    assert!(!world.machine.of("chat").is_empty());
}

#[test]
fn what_a_wrapper_left_behind_is_the_instance_from_then_on() {
    let mut world = World::new([model("chat").fate("leaves")]);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    create  chat: definition_added(models.d/chat.toml, state running)
            - record row, chat port 8100, generation 1, generation 1 accepted by release 1
            - start generation 1 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 600.000 s, pid 101)
    -- 1.000 s
    note    chat instance loading
    wait    chat: ready(deadline 600.000 s, pid 102)
    -- 1.000 s
    wait    chat: ready(deadline 600.000 s, pid 102)
    -- 2.000 s
    found   chat ready(pid 102)
    note    chat generation 1 ready
    note    chat port 8100 proven
    note    chat instance ready
    note    chat status running
    -- 2.000 s
    nothing, 1 matching
    ");
    let server = world.machine.server("chat").handle.clone();
    assert_eq!(world.store.records().models["chat"].instances[0].handle.as_ref(), Some(&server));
    world.define(model("chat").fate("leaves").stopped());
    world.settle();
    assert!(world.machine.of("chat").is_empty());
}

#[test]
fn what_an_instance_left_ends_before_the_next_starts() {
    let mut world = helped(["chat"]);
    world.advance(10);
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    found   chat crashed(spec)
    note    chat instance stopping
    note    chat crashes 1
    note    chat status error and why
    start   chat: leftover(pid 102); process_gone(crashes 1, death(cause spec))
            - stop pid 102 (status stays)
            - start generation 1 of chat on port 8100
    ");
    assert!(world.machine.leftovers.is_empty());
}

#[test]
fn what_an_instance_left_ends_with_down_too_and_with_a_definition_that_is_gone() {
    let mut world = helped(["a", "b", "c"]);
    world.machine.kill("a", FailureCause::Spec, "segmentation fault");
    world.remove("a");
    world.limits.targets = [name("a")].into();
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    found   a crashed(spec)
    note    a instance stopping
    note    a crashes 1
    delete  a: leftover(pid 104); definition_removed(file models.d/a.toml)
            - stop pid 104 (status stays)
            - record a deleted
    ");
    world.limits.targets.clear();
    world.machine.kill("b", FailureCause::Spec, "segmentation fault");
    world.goal = Goal::Down;
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    found   b crashed(spec)
    note    b instance stopping
    note    b crashes 1
    note    b crashes 0
    note    b status idle
    stop    b: leftover(pid 105)
            - stop pid 105 (status stays)
    stop    c: down
            - stop pid 103
    ");
    assert!(world.machine.leftovers.is_empty());
}

#[test]
fn nothing_starts_beside_what_does_not_end() {
    let mut world = helped(["chat"]);
    world.advance(10);
    // The records, then the stop.
    world.fail_at = Some(1);
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    found   chat crashed(spec)
    note    chat instance stopping
    note    chat crashes 1
    note    chat status error and why
    start   chat: leftover(pid 102); process_gone(crashes 1, death(cause spec))
            - stop pid 102 (status stays)
            - start generation 1 of chat on port 8100
    failed: chat: it does not end
    ");
    assert_eq!(world.machine.leftovers.len(), 1);
    world.advance(1);
    world.pass();
    assert_eq!((world.machine.leftovers.len(), world.machine.of("chat").len()), (0, 1));
}

#[test]
fn a_suspended_model_keeps_what_its_instance_left() {
    let mut world = helped(["chat"]);
    world.by_hand("chat", Command::Suspend(None)).unwrap();
    world.advance(10);
    world.pass();
    assert_eq!(world.machine.leftovers.len(), 1);
}

#[test]
fn another_port_does_not_make_a_failure_be_forgotten() {
    let mut world = World::new([model("chat").fate("dies").stop_on_failure()]);
    world.settle();
    // Never ready, so the port may be exchanged, and is.
    world.machine.strangers.insert(8100, "nginx (pid 7)".to_owned());
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    chat: edit(generation 1)
    ");
}

#[test]
fn ports_are_not_exchanged_again_and_again() {
    let mut world = World::new([model("chat")]);
    for port in 8100..8104 {
        let tried = world.pass();
        assert!(!tried.plan.actions.is_empty(), "on {port}");
        world.machine.kill("chat", FailureCause::PortBusy, "couldn't bind HTTP server socket");
        world.machine.strangers.insert(port, "llama-server (pid 7)".to_owned());
    }
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    found   chat start_failed(port_busy)
    note    instance gone
    note    chat crashes 4
    note    chat status error and why
    wait    chat: backoff(crashes 4, until 8.000 s)
    -- 0.000 s
    wait    chat: backoff(crashes 4, until 8.000 s)
    -- 8.000 s
    wait    chat: port(holder llama-server (pid 7), port 8103)
    ");
}
