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
    assert_snapshot!(world.story_of(2), @"
    -- 0.000 s
    restart chat: field_changed(ctx_size 8192 -> 16384, impact restart, models.d/chat.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1, chat instance draining until 31.000 s
    -- 0.000 s
    wait    chat: drain(busy 2, deadline 31.000 s)
    ");
    world.machine.server("chat").busy = Busy::No;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: field_changed(ctx_size 8192 -> 16384, impact restart, models.d/chat.toml:2)
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 631.000 s, pid 102)
    -- 1.000 s
    found   chat ready(pid 102)
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
    restart chat: field_changed(ctx_size 8192 -> 16384, impact restart, models.d/chat.toml:2); field_changed(drain 30 s -> 10 s, impact record, models.d/chat.toml)
            - record row again, generation 2, generation 2 accepted by release 1, chat instance draining until 11.000 s
    -- 0.000 s
    wait    chat: drain(busy 2, deadline 11.000 s)
    -- 10.000 s
    restart chat: field_changed(ctx_size 8192 -> 16384, impact restart, models.d/chat.toml:2)
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 10.000 s
    wait    chat: ready(deadline 611.000 s, pid 102)
    -- 11.000 s
    found   chat ready(pid 102)
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
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    chat: field_changed(ctx_size no longer 8192, impact record, models.d/chat.toml); field_changed(drain 30 s -> 5.0 s, impact record, models.d/chat.toml); state_wanted(models.d/chat.toml:2, state stopped)
            - record row again, generation 2, chat instance draining until 6.000 s
    -- 0.000 s
    wait    chat: drain(deadline 6.000 s)
    -- 5.000 s
    stop    chat: state_wanted(models.d/chat.toml:2, state stopped)
            - stop pid 101
    -- 5.000 s
    nothing, 1 matching
    ");
}

#[test]
fn an_edit_taken_back_ends_the_drain() {
    let mut world = busy();
    world.define(model("chat").option("ctx_size", "16384"));
    world.pass();
    world.define(model("chat").option("ctx_size", "8192"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat instance ready
    update  chat: field_changed(ctx_size 16384 -> 8192, impact record, models.d/chat.toml:2)
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
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: binary_changed
            - record generation 1 accepted by release 2, chat instance draining until 31.000 s
    -- 0.000 s
    wait    chat: drain(busy 2, deadline 31.000 s)
    -- 30.000 s
    restart chat: binary_changed
            - stop pid 101
            - start generation 1 of chat on port 8100
    -- 30.000 s
    wait    chat: ready(deadline 631.000 s, pid 102)
    -- 31.000 s
    found   chat ready(pid 102)
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
    restart chat: field_changed(ctx_size 8192 -> 16384, impact restart, models.d/chat.toml:2); field_changed(drain 30 s -> 0.0 s, impact record, models.d/chat.toml)
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
    wait    a: port(holder model c, port 8102)
    wait    b: restart_slot(other a)
    -- 0.000 s
    restart b: field_changed(ctx_size set to 2, impact restart, models.d/b.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 102
            - start generation 2 of b on port 8101
    wait    a: port(holder model c, port 8102)
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
    wait    a: port(holder model b, port 8101)
    wait    a: ready(deadline 601.000 s, pid 103)
    ");
}

#[test]
fn a_server_that_still_loads_has_nothing_to_drain() {
    let mut world = World::new([model("chat").fate("slow")]);
    world.pass();
    world.machine.server("chat").busy = Busy::Yes(1);
    world.define(model("chat").option("ctx_size", "2"));
    assert_snapshot!(world.planned(), @"
    restart chat: field_changed(ctx_size set to 2, impact restart, models.d/chat.toml:2); field_changed(fate no longer slow, impact restart, models.d/chat.toml)
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
    assert_snapshot!(world.planned(), @"wait    chat: ready(deadline 600.000 s, pid 101)");
}
