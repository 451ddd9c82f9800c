//! Requests in flight.

use herdsman::model::Busy;
use insta::assert_snapshot;

use crate::simulated::{Edit, World, model};

fn busy() -> World {
    let mut world = World::settled([model("chat").option("ctx_size", "8192")]);
    world.machine.server("chat").busy = Busy::Yes(2);
    world
}

#[test]
fn a_busy_server_drains_and_gives_way_when_it_is_idle() {
    let mut world = busy();
    world.define(model("chat").option("ctx_size", "16384"));
    assert_snapshot!(world.story_of(2), @r"
    -- 0.000 s
    restart chat: ctx_size 8192 -> 16384   models.d/chat.toml:2
            - record row again, generation 2, generation 2 accepted by release 1, chat instance draining until 31.000 s
    -- 0.000 s
    wait    chat: draining, 2 requests in flight
    ");
    world.machine.server("chat").busy = Busy::No;
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    restart chat: ctx_size 8192 -> 16384   models.d/chat.toml:2
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: loading (pid 102)
    -- 1.000 s
    found   chat ready (pid 102)
    note    chat generation 2 ready
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_server_that_stays_busy_gives_way_at_the_deadline() {
    let mut world = busy();
    world.define(model("chat").option("ctx_size", "16384").drain(10));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: ctx_size 8192 -> 16384   models.d/chat.toml:2; drain 30 s -> 10 s (no restart)   models.d/chat.toml
            - record row again, generation 2, generation 2 accepted by release 1, chat instance draining until 11.000 s
    -- 0.000 s
    wait    chat: draining, 2 requests in flight
    -- 10.000 s
    restart chat: ctx_size 8192 -> 16384   models.d/chat.toml:2
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 10.000 s
    wait    chat: loading (pid 102)
    -- 11.000 s
    found   chat ready (pid 102)
    note    chat generation 2 ready
    note    chat instance ready
    note    chat status running
    -- 11.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_server_that_does_not_tell_is_given_the_whole_drain_time() {
    let mut world = busy();
    world.machine.server("chat").busy = Busy::Unknown;
    world.define(model("chat").stopped().drain(5));
    assert_snapshot!(world.story(), @r#"
    -- 0.000 s
    stop    chat: ctx_size no longer 8192 (no restart)   models.d/chat.toml; drain 30 s -> 5.0 s (no restart)   models.d/chat.toml; state = "stopped"   models.d/chat.toml:2
            - record row again, generation 2, chat instance draining until 6.000 s
    -- 0.000 s
    wait    chat: draining, it does not tell what is in flight
    -- 5.000 s
    stop    chat: state = "stopped"   models.d/chat.toml:2
            - stop pid 101
    -- 5.000 s
    nothing, 1 matching
    "#);
}

#[test]
fn an_edit_taken_back_ends_the_drain() {
    let mut world = busy();
    world.define(model("chat").option("ctx_size", "16384"));
    world.pass();
    world.define(model("chat").option("ctx_size", "8192"));
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    note    chat instance ready
    update  chat: ctx_size 16384 -> 8192 (no restart)   models.d/chat.toml:2
            - record row again, generation 3
    -- 0.000 s
    note    chat generation 3 ready
    -- 0.000 s
    nothing, 1 matching
    ");
    let record = &world.store.records().models["chat"];
    assert_eq!(record.generation.outcome, herdsman::model::GenerationOutcome::Ready, "it serves, so it is proven");
}

#[test]
fn a_drain_for_another_llama_server_keeps_its_deadline() {
    let mut world = busy();
    world.machine.install("release 2");
    world.limits.upgrade_binary = true;
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    restart chat: llama-server is another one now
            - record generation 1 accepted by release 2, chat instance draining until 31.000 s
    -- 0.000 s
    wait    chat: draining, 2 requests in flight
    -- 30.000 s
    restart chat: llama-server is another one now
            - stop pid 101
            - start generation 1 of chat on port 8100
    -- 30.000 s
    wait    chat: loading (pid 102)
    -- 31.000 s
    found   chat ready (pid 102)
    note    chat instance ready
    note    chat status running
    -- 31.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_drain_time_of_zero_stops_at_once() {
    let mut world = busy();
    world.define(model("chat").option("ctx_size", "16384").drain(0));
    assert_snapshot!(world.planned(), @"
    restart chat: ctx_size 8192 -> 16384   models.d/chat.toml:2; drain 30 s -> 0.0 s (no restart)   models.d/chat.toml
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    ");
}

/// Found by simulated histories.
#[test]
fn a_drain_that_nothing_can_follow_is_called_off_and_holds_up_nobody() {
    let mut world = World::settled([model("a"), model("b"), model("c")]);
    world.machine.server("a").busy = Busy::Yes(1);
    world.define(model("a").option("ctx_size", "2"));
    world.pass();
    // The port of `c`, which keeps it.
    world.define(model("a").option("ctx_size", "2").port(8102));
    world.define(model("b").option("ctx_size", "2"));
    assert_snapshot!(world.story_of(2), @"
    -- 0.000 s
    note    a instance ready
    wait    a: port 8102 is held by model c; stop that, or choose another port
    wait    b: waits for the restart of a (--max-restarting)
    -- 0.000 s
    restart b: ctx_size set to 2   models.d/b.toml:2
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 102
            - start generation 2 of b on port 8101
    wait    a: port 8102 is held by model c; stop that, or choose another port
    ");
}

/// Found by simulated histories.
#[test]
fn one_that_loads_while_its_new_port_is_anothers_is_waited_for() {
    let mut world = World::settled([model("a"), model("b")]);
    world.define(model("a").fate("slow"));
    world.pass();
    world.define(model("a").port(8101));
    assert_snapshot!(world.planned(), @"
    wait    a: port 8101 is held by model b; stop that, or choose another port
    wait    a: loading (pid 103)
    ");
}

#[test]
fn a_server_that_still_loads_has_nothing_to_drain() {
    let mut world = World::new([model("chat").fate("slow")]);
    world.pass();
    world.machine.server("chat").busy = Busy::Yes(1);
    world.define(model("chat").option("ctx_size", "2"));
    assert_snapshot!(world.planned(), @r"
    restart chat: ctx_size set to 2   models.d/chat.toml:2; fate no longer slow   models.d/chat.toml
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    ");
}

/// Found by simulated histories.
#[test]
fn a_drain_called_off_makes_nothing_ready_that_never_was() {
    let mut world = World::new([model("chat").fate("slow")]);
    world.pass();
    (world.machine.server("chat").silent, world.machine.server("chat").busy) = (true, Busy::Yes(1));
    world.goal = herdsman::pass::Goal::Down;
    world.pass();
    world.goal = herdsman::pass::Goal::Definitions;
    world.pass();
    assert_snapshot!(world.planned(), @"wait    chat: loading (pid 101)");
}
