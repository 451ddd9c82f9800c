//! Members whose file cannot be used.

use super::*;

#[test]
fn a_member_whose_file_cannot_be_used_keeps_its_place() {
    let mut world = world([member("a"), member("b")]);
    wake(&mut world, "a");
    world.spoil("a", Some("a"));
    world.ask("b", 1);
    assert_snapshot!(world.planned(), @r#"
    wait    a: definition(file models.d/a.toml)
    wait    b: no_room(group chat, holders ["a"])
    "#);
}

#[test]
fn one_whose_file_cannot_be_used_starts_in_the_groups_it_was_recorded_in() {
    let mut world = world([member("a"), member("b")]);
    wake(&mut world, "a");
    world.spoil("b", Some("b"));
    world.ask("b", 1);
    assert_snapshot!(world.story_of(3), @r#"
    -- 0.000 s
    stop    a: makes_room(group chat, other b)
            - withdraw
            - record a instance draining until 12.000 s
    wait    b: definition(file models.d/b.toml)
    wait    b: room(busy ["a"], group chat)
    -- 0.000 s
    stop    a: makes_room(group chat, other b)
            - stop pid 101
    start   b: asked_for(waiting 1)
            - start generation 1 of b on port 8101, once there is room
    wait    b: definition(file models.d/b.toml)
    -- 0.000 s
    wait    b: definition(file models.d/b.toml)
    wait    b: ready(deadline 602.000 s, pid 102)
    "#);
    assert_eq!(running(&world), ["b"]);
}

#[test]
fn one_whose_file_cannot_be_used_does_not_start_while_its_groups_are_unknown() {
    let mut world = world([member("a"), member("b")]);
    wake(&mut world, "a");
    // `_groups.toml` is broken, and with it everything that names a group.
    world.desired.groups.clear();
    world.spoil("a", Some("a"));
    world.spoil("b", Some("b"));
    world.ask("b", 1);
    assert_snapshot!(world.planned(), @"
    wait    a: definition(file models.d/a.toml)
    wait    b: definition(file models.d/b.toml)
    ");
    world.group("chat", 2);
    assert!(world.planned().contains("start   b: asked_for"), "{}", world.planned());
}
