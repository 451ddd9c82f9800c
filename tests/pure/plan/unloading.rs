//! Models that a client unloads.

use herdsman::plan::Command;
use insta::assert_snapshot;

use super::on_demand::{awake, on_demand};
use crate::simulated::{Edit, World, model};

#[test]
fn a_client_unloads_it_once_its_requests_have_ended() {
    let mut world = awake();
    (world.traffic("chat").in_flight, world.traffic("chat").unload) = (1, Some(world.now));
    assert_snapshot!(world.planned(), @"nothing, 1 matching");
    world.traffic("chat").in_flight = 0;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    chat: unloaded
            - withdraw
            - record chat instance draining until 33.000 s
    -- 0.000 s
    stop    chat: unloaded
            - stop pid 101
    -- 0.000 s
    nothing, 1 matching
    ");
    world.ask("chat", 1);
    assert!(world.planned().contains("start   chat"));
}

#[test]
fn a_start_by_hand_keeps_it_running_until_it_is_unloaded_or_stopped() {
    let mut world = on_demand();
    world.by_hand("chat", Command::Start).unwrap();
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    start   chat: by_hand(by ann)
            - start generation 1 of chat on port 8100
    wait    chat: state_by_hand(by ann, state running)
    -- 0.000 s
    wait    chat: state_by_hand(by ann, state running)
    wait    chat: ready(deadline 600.000 s, pid 101)
    -- 1.000 s
    found   chat ready(pid 101)
    note    chat generation 1 ready
    note    chat port 8100 proven
    note    chat instance ready
    note    chat status running
    wait    chat: state_by_hand(by ann, state running)
    -- 1.000 s
    wait    chat: state_by_hand(by ann, state running)
    ");
    world.advance(3_000);
    assert_snapshot!(world.planned(), @"
    note    chat instance ready
    wait    chat: state_by_hand(by ann, state running)
    ");
    let mut unloaded = world.clone();
    unloaded.traffic("chat").unload = Some(world.now);
    assert_snapshot!(unloaded.story(), @"
    -- 0.000 s
    note    chat state by hand is over
    note    chat instance ready
    stop    chat: unloaded
            - withdraw
            - record chat instance draining until 3031.000 s
    -- 0.000 s
    stop    chat: unloaded
            - stop pid 101
    -- 0.000 s
    nothing, 1 matching
    ");
    unloaded.ask("chat", 1);
    assert!(unloaded.planned().contains("start   chat"));
    world.by_hand("chat", Command::Stop).unwrap();
    world.settle();
    world.ask("chat", 1);
    assert_snapshot!(world.planned(), @"wait    chat: state_by_hand(by ann, state stopped)");
    world.by_hand("chat", Command::Start).unwrap();
    assert!(world.planned().contains("start   chat: by_hand"), "{}", world.planned());
}

#[test]
fn unloading_ends_the_start_by_hand_of_a_model_that_is_declared_stopped() {
    let mut world = World::new([model("chat").stopped()]).with_gateway();
    world.settle();
    world.by_hand("chat", Command::Start).unwrap();
    world.settle();
    world.advance(1);
    world.traffic("chat").unload = Some(world.now);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat state by hand is over
    stop    chat: state_wanted(models.d/chat.toml:2, state stopped)
            - withdraw
            - record chat instance draining until 32.000 s
    -- 0.000 s
    stop    chat: state_wanted(models.d/chat.toml:2, state stopped)
            - stop pid 101
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_client_unloads_one_whose_file_cannot_be_used() {
    let mut world = awake();
    world.spoil("chat", Some("chat"));
    world.traffic("chat").unload = Some(world.now);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    chat: unloaded
            - withdraw
            - record chat instance draining until 33.000 s
    wait    chat: definition(file models.d/chat.toml)
    -- 0.000 s
    stop    chat: unloaded
            - stop pid 101
    wait    chat: definition(file models.d/chat.toml)
    -- 0.000 s
    wait    chat: definition(file models.d/chat.toml)
    ");
    world.ask("chat", 1);
    assert!(world.planned().contains("start   chat: asked_for"), "{}", world.planned());
}

#[test]
fn unloading_ends_a_start_by_hand_although_the_file_cannot_be_used() {
    let mut world = on_demand();
    world.by_hand("chat", Command::Start).unwrap();
    world.settle();
    world.spoil("chat", Some("chat"));
    world.advance(1);
    world.traffic("chat").unload = Some(world.now);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat state by hand is over
    stop    chat: unloaded
            - withdraw
            - record chat instance draining until 32.000 s
    wait    chat: definition(file models.d/chat.toml)
    -- 0.000 s
    stop    chat: unloaded
            - stop pid 101
    wait    chat: definition(file models.d/chat.toml)
    -- 0.000 s
    wait    chat: definition(file models.d/chat.toml)
    ");
}
