//! Models that share room.

mod unread;

use herdsman::model::{Busy, Definition, FailureCause};
use herdsman::plan::Command;
use insta::assert_snapshot;

use crate::simulated::{Edit, World, model, name};

fn member(name: &str) -> Definition {
    model(name).on_demand().group("chat").drain(10)
}

/// One of `chat`'s models at a time.
fn world(definitions: impl IntoIterator<Item = Definition>) -> World {
    let mut world = World::new([]);
    world.group("chat", 1);
    definitions.into_iter().for_each(|definition| world.define(definition));
    let mut world = world.with_gateway();
    world.settle();
    world
}

/// Makes a model ready by asking for it, and answers.
fn wake(world: &mut World, model: &str) {
    world.ask(model, 1);
    for _ in 0..4 {
        world.pass();
        world.advance_ms(500);
    }
    answer(world, model);
    assert!(world.is_in_rotation(model));
}

fn answer(world: &mut World, model: &str) {
    world.ask(model, 0);
    world.traffic(model).last_used = Some(world.now);
}

fn running(world: &World) -> Vec<String> {
    world.machine.servers.iter().map(|server| server.model.to_string()).collect()
}

#[test]
fn an_idle_member_makes_room_and_the_other_starts_in_the_pass_that_stops_it() {
    let mut world = world([member("a"), member("b")]);
    wake(&mut world, "a");
    world.ask("b", 2);
    assert_snapshot!(world.story_of(4), @r#"
    -- 0.000 s
    stop    a: makes_room(group chat, other b)
            - withdraw
            - record a instance draining until 12.000 s
    wait    b: room(busy ["a"], group chat)
    -- 0.000 s
    stop    a: makes_room(group chat, other b)
            - stop pid 101
    start   b: asked_for(waiting 2)
            - start generation 1 of b on port 8101, once there is room
    -- 0.000 s
    wait    b: ready(deadline 602.000 s, pid 102)
    -- 1.000 s
    found   b ready(pid 102)
    note    b generation 1 ready
    note    b port 8101 proven
    note    b instance ready
    note    b status running
    "#);
}

#[test]
fn a_busy_member_stays_until_the_oldest_request_has_waited_long_enough() {
    let mut world = world([member("a"), member("b")]);
    wake(&mut world, "a");
    world.traffic("a").in_flight = 2;
    world.ask("b", 1);
    assert_snapshot!(world.story_of(1), @r#"
    -- 0.000 s
    wait    b: room(busy ["a"], deadline 62.000 s, group chat)
    "#);
    world.advance(60);
    assert_snapshot!(world.story_of(2), @r#"
    -- 0.000 s
    stop    a: makes_room(group chat, other b)
            - withdraw
            - record a instance draining until 132.000 s
    wait    b: room(busy ["a"], group chat)
    -- 0.000 s
    wait    a: drain(busy 2, deadline 132.000 s)
    wait    b: room(busy ["a"], group chat)
    "#);
    // Requests for `a` wait now, and change nothing.
    world.ask("a", 3);
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    stop    a: makes_room(group chat, other b)
            - stop pid 101
    start   b: asked_for(waiting 1)
            - start generation 1 of b on port 8101, once there is room
    ");
    world.traffic("a").in_flight = 0;
    assert_snapshot!(world.story_of(3), @r#"
    -- 0.000 s
    wait    a: room(busy ["b"], group chat)
    wait    b: ready(deadline 732.000 s, pid 102)
    -- 1.000 s
    found   b ready(pid 102)
    note    b generation 1 ready
    note    b port 8101 proven
    note    b instance ready
    note    b status running
    wait    a: room(busy ["b"], group chat)
    -- 1.000 s
    wait    a: room(busy ["b"], deadline 193.000 s, group chat)
    "#);
}

#[test]
fn requests_that_came_together_take_one_swap() {
    let mut world = world([member("a"), member("b")]);
    wake(&mut world, "a");
    // Five of each, in turn: those of `a` are sent at once.
    world.traffic("a").in_flight = 5;
    world.ask("b", 5);
    for left in (0..5).rev() {
        world.pass();
        assert_eq!(running(&world), ["a"]);
        world.advance(1);
        world.traffic("a").in_flight = left;
    }
    answer(&mut world, "a");
    (0..3).for_each(|_| drop(world.pass()));
    assert_eq!(running(&world), ["b"]);
}

#[test]
fn what_was_started_for_a_request_answers_one_before_it_gives_way() {
    let mut world = world([member("a").fate("slow"), member("b")]);
    world.ask("a", 1);
    world.pass();
    world.ask("b", 1);
    // It loads for as long as `b` may wait, and longer.
    world.advance(55);
    assert_snapshot!(world.story_of(1), @r#"
    -- 0.000 s
    wait    a: ready(deadline 600.000 s, pid 101)
    wait    b: room(busy ["a"], group chat)
    "#);
    world.advance(10);
    world.pass();
    assert_snapshot!(world.planned(), @r#"wait    b: room(busy ["a"], deadline 130.000 s, group chat)"#);
    // Nor does it give way amid its first answer.
    world.advance(1);
    world.traffic("a").in_flight = 1;
    world.ask("a", 0);
    assert_snapshot!(world.planned(), @r#"wait    b: room(busy ["a"], deadline 130.000 s, group chat)"#);
    world.advance(60);
    assert_snapshot!(world.planned(), @r#"
    stop    a: makes_room(group chat, other b)
            - withdraw
            - record a instance draining until 141.000 s
    wait    b: room(busy ["a"], group chat)
    "#);
}

#[test]
fn one_that_answers_nothing_gives_way_in_the_end() {
    let mut world = world([member("a"), member("b")]);
    world.ask("a", 1);
    (0..4).for_each(|_| {
        world.pass();
        world.advance_ms(500);
    });
    world.ask("b", 1);
    world.advance(59);
    assert!(world.planned().contains("wait    b: room(busy [\"a\"]"), "{}", world.planned());
    world.advance(1);
    assert!(world.planned().contains("stop    a: makes_room"), "{}", world.planned());
}

#[test]
fn one_that_loads_and_nobody_waits_for_makes_room_at_once() {
    let mut world = world([member("a").fate("slow"), member("b")]);
    world.ask("a", 1);
    world.pass();
    world.ask("a", 0);
    world.ask("b", 1);
    assert_snapshot!(world.planned(), @"
    stop    a: makes_room(group chat, other b)
            - stop pid 101
    start   b: asked_for(waiting 1)
            - start generation 1 of b on port 8101, once there is room
    ");
}

#[test]
fn the_lowest_priority_goes_first_and_then_the_one_unused_for_longest() {
    let mut world = world([member("a").priority(1), member("b"), member("c"), member("d")]);
    world.group("chat", 3);
    for model in ["a", "c", "b"] {
        wake(&mut world, model);
    }
    world.ask("d", 1);
    assert!(world.planned().contains("stop    c: makes_room"), "{}", world.planned());
    answer(&mut world, "c");
    assert!(world.planned().contains("stop    b: makes_room"), "{}", world.planned());
    world.machine.server("b").busy = Busy::Yes(1);
    assert!(world.planned().contains("stop    c: makes_room"), "a client of its own port uses it: {}", world.planned());
    world.traffic("c").in_flight = 1;
    assert!(world.planned().contains("stop    a: makes_room"), "{}", world.planned());
}

#[test]
fn nobody_stops_for_a_request_that_has_left_meanwhile() {
    let mut world = world([member("a"), member("b")]);
    wake(&mut world, "a");
    world.ask("b", 1);
    world.pass();
    assert!(!world.is_in_rotation("a"));
    world.ask("b", 0);
    world.pass();
    assert!(world.is_in_rotation("a"));
    assert_eq!(running(&world), ["a"]);
}

#[test]
fn those_that_never_give_way_are_named() {
    let never: [Definition; 4] = [member("a").never_evicted(), model("a").group("chat"), member("a"), member("a")];
    for (case, definition) in never.into_iter().enumerate() {
        let mut world = world([definition, member("b")]);
        wake(&mut world, "a");
        match case {
            2 => world.by_hand("a", Command::Start).unwrap(),
            3 => world.by_hand("a", Command::Suspend(None)).unwrap(),
            _ => {}
        }
        world.ask("b", 1);
        let planned = world.planned();
        assert!(planned.contains("wait    b: no_room(group chat, holders [\"a\"])"), "{case}: {planned}");
    }
}

#[test]
fn what_is_to_run_starts_before_what_is_asked_for_and_waits_for_nobody() {
    let mut world = world([member("a"), member("b")]);
    wake(&mut world, "a");
    world.traffic("a").in_flight = 1;
    world.ask("b", 1);
    world.define(model("z").group("chat"));
    assert_snapshot!(world.story_of(3), @r#"
    -- 0.000 s
    create  z: definition_added(models.d/z.toml, state running)
            - record row, z port 8102, generation 1, generation 1 accepted by release 1
    wait    b: no_room(group chat, holders ["z"])
    wait    z: room(busy ["a"], deadline 61.000 s, group chat)
    -- 0.000 s
    wait    b: no_room(group chat, holders ["z"])
    wait    z: room(busy ["a"], deadline 61.000 s, group chat)
    -- 59.000 s
    stop    a: makes_room(group chat, other z)
            - withdraw
            - record a instance draining until 71.000 s
    wait    b: no_room(group chat, holders ["z"])
    wait    z: room(busy ["a"], group chat)
    "#);
    world.advance(10);
    assert_snapshot!(world.story_of(1), @r#"
    -- 0.000 s
    stop    a: makes_room(group chat, other z)
            - stop pid 101
    start   z: not_running
            - start generation 1 of z on port 8102, once there is room
    wait    b: no_room(group chat, holders ["z"])
    "#);
}

#[test]
fn the_second_that_is_to_run_has_no_room() {
    let mut world = world([]);
    world.define(model("a").group("chat"));
    world.define(model("b").group("chat"));
    assert_snapshot!(world.story(), @r#"
    -- 0.000 s
    create  a: definition_added(models.d/a.toml, state running)
            - record row, a port 8100, generation 1, generation 1 accepted by release 1
            - start generation 1 of a on port 8100
    create  b: definition_added(models.d/b.toml, state running)
            - record row, b port 8101, generation 1, generation 1 accepted by release 1
    wait    b: no_room(group chat, holders ["a"])
    -- 0.000 s
    wait    a: ready(deadline 600.000 s, pid 101)
    wait    b: no_room(group chat, holders ["a"])
    -- 1.000 s
    found   a ready(pid 101)
    note    a generation 1 ready
    note    a port 8100 proven
    note    a instance ready
    note    a status running
    wait    b: no_room(group chat, holders ["a"])
    -- 1.000 s
    wait    b: no_room(group chat, holders ["a"])
    "#);
}

#[test]
fn a_model_in_two_groups_needs_room_in_both() {
    let mut world =
        world([model("both").on_demand().group("chat").group("big"), member("a"), model("b").on_demand().group("big")]);
    world.group("big", 1);
    wake(&mut world, "a");
    wake(&mut world, "b");
    world.traffic("b").in_flight = 1;
    world.ask("both", 1);
    // Nobody stops in one group while the other has no room.
    assert_snapshot!(world.planned(), @r#"
    wait    a: idle_stop(after_ms 600000, until 602.000 s)
    wait    both: room(busy ["b"], deadline 64.000 s, group big)
    "#);
    answer(&mut world, "b");
    world.traffic("b").in_flight = 0;
    assert_snapshot!(world.story_of(3), @r#"
    -- 0.000 s
    stop    a: makes_room(group chat, other both)
            - withdraw
            - record a instance draining until 14.000 s
    stop    b: makes_room(group big, other both)
            - withdraw
            - record b instance draining until 34.000 s
    wait    both: room(busy ["a"], group chat)
    -- 0.000 s
    stop    a: makes_room(group chat, other both)
            - stop pid 101
    stop    b: makes_room(group big, other both)
            - stop pid 102
    start   both: asked_for(waiting 1)
            - start generation 1 of both on port 8102, once there is room
    -- 0.000 s
    wait    both: ready(deadline 604.000 s, pid 103)
    "#);
}

#[test]
fn whoever_waits_keeps_its_place() {
    let mut world =
        world([model("both").on_demand().group("chat").group("big"), member("a"), model("b").on_demand().group("big")]);
    world.group("big", 1);
    wake(&mut world, "b");
    world.traffic("b").in_flight = 1;
    world.ask("both", 1);
    world.advance(1);
    world.ask("a", 1);
    assert_snapshot!(world.planned(), @r#"
    wait    a: room(busy ["both"], group chat)
    wait    both: room(busy ["b"], deadline 62.000 s, group big)
    "#);
}

#[test]
fn nobody_stops_for_what_cannot_start() {
    let mut world = world([member("a"), member("b").port(8200), member("c")]);
    wake(&mut world, "a");
    world.machine.strangers.insert(8200, "nginx".to_owned());
    world.ask("b", 1);
    assert_snapshot!(world.planned(), @"
    wait    a: idle_stop(after_ms 600000, until 602.000 s)
    wait    b: port(holder nginx, port 8200)
    ");
    // And it keeps no place that others could have.
    world.advance(1);
    world.ask("c", 1);
    assert!(world.planned().contains("stop    a: makes_room(group chat, other c)"), "{}", world.planned());
    world.machine.strangers.clear();
    world.machine.fates.insert(name("b"), crate::simulated::Fate::dies(FailureCause::NoMemory, "killed"));
    world.ask("c", 0);
    for _ in 0..5 {
        world.pass();
        world.advance_ms(500);
    }
    assert!(world.planned().contains("wait    b: backoff"), "{}", world.planned());
    world.ask("a", 1);
    assert!(world.planned().contains("start   a: asked_for"), "while `b` waits for its next try: {}", world.planned());
}

#[test]
fn a_restart_keeps_its_room() {
    let mut world = world([member("a"), member("b")]);
    wake(&mut world, "a");
    world.traffic("a").in_flight = 1;
    world.define(member("a").option("ctx_size", "2"));
    world.pass();
    world.ask("b", 1);
    world.ask("a", 1);
    assert_snapshot!(world.planned(), @r#"
    wait    a: drain(busy 1, deadline 12.000 s)
    wait    b: room(busy ["a"], group chat)
    "#);
    world.traffic("a").in_flight = 0;
    world.pass();
    assert_snapshot!(world.story_of(1), @r#"
    -- 0.000 s
    wait    a: ready(deadline 602.000 s, pid 102)
    wait    b: room(busy ["a"], group chat)
    "#);
    assert_eq!(running(&world), ["a"]);
}

#[test]
fn a_model_that_needs_room_holds_up_no_restart() {
    let mut world = world([member("a"), member("b"), model("other")]);
    wake(&mut world, "b");
    wake(&mut world, "a");
    world.traffic("a").in_flight = 1;
    world.ask("b", 1);
    world.define(model("other").option("ctx_size", "2"));
    assert_snapshot!(world.planned(), @r#"
    restart other: field_changed(ctx_size set to 2, impact restart, models.d/other.toml:2)
            - withdraw
            - record row again, generation 2, generation 2 accepted by release 1, other instance draining until 35.000 s
    wait    b: room(busy ["a"], deadline 65.000 s, group chat)
    "#);
}

#[test]
fn where_nobody_serves_what_is_to_run_makes_members_on_demand_stop() {
    let mut world = world([member("a")]);
    wake(&mut world, "a");
    world.gateway = None;
    world.site.has_gateway = false;
    world.define(model("z").group("chat"));
    assert_snapshot!(world.story_of(3), @r#"
    -- 0.000 s
    create  z: definition_added(models.d/z.toml, state running)
            - record row, z port 8101, generation 1, generation 1 accepted by release 1
    wait    z: room(busy ["a"], group chat)
    -- 0.000 s
    stop    a: makes_room(group chat, other z)
            - stop pid 101
    start   z: not_running
            - start generation 1 of z on port 8101, once there is room
    -- 0.000 s
    wait    z: ready(deadline 602.000 s, pid 102)
    "#);
}

#[test]
fn a_pass_for_one_model_alone_makes_room_for_it() {
    let mut world = world([member("a")]);
    wake(&mut world, "a");
    world.define(model("z").group("chat"));
    world.limits.targets = [name("z")].into();
    assert_snapshot!(world.story_of(2), @r#"
    -- 0.000 s
    create  z: definition_added(models.d/z.toml, state running)
            - record row, z port 8101, generation 1, generation 1 accepted by release 1
    wait    z: room(busy ["a"], group chat)
    -- 0.000 s
    stop    a: makes_room(group chat, other z)
            - withdraw
            - record a instance draining until 12.000 s
    wait    z: room(busy ["a"], group chat)
    "#);
}

#[test]
fn two_models_asked_for_in_turn_get_theirs_in_turn() {
    let mut world = world([member("a"), member("b")]);
    let mut swaps = 0;
    for model in ["a", "b", "a", "b"] {
        wake(&mut world, model);
        swaps += 1;
        assert_eq!(running(&world), [model]);
    }
    assert_eq!(swaps, 4, "one for each request, and not more");
}
