//! Definitions that go, and files that cannot be read.

use herdsman::model::Busy;
use herdsman::plan::MaxDeletes;
use insta::assert_snapshot;

use crate::simulated::{Edit, World, model};

#[test]
fn a_removed_definition_takes_its_model_with_it() {
    let mut world = World::settled([model("a"), model("b"), model("c")]);
    world.machine.server("a").busy = Busy::Yes(1);
    world.remove("a");
    world.remove("c");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    delete  a: definition_removed(file models.d/a.toml)
            - record a instance draining until 31.000 s
    delete  c: definition_removed(file models.d/c.toml)
            - stop pid 103
            - record c deleted
    -- 0.000 s
    wait    a: drain(busy 1, deadline 31.000 s)
    -- 30.000 s
    delete  a: definition_removed(file models.d/a.toml)
            - stop pid 101
            - record a deleted
    -- 30.000 s
    nothing, 1 matching
    ");
    assert_eq!(world.store.rows().len(), 1);
}

#[test]
fn a_definition_that_comes_back_ends_the_removal() {
    let mut world = World::settled([model("a"), model("b"), model("c")]);
    world.machine.server("a").busy = Busy::Yes(1);
    world.remove("a");
    world.pass();
    world.define(model("a"));
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    note    a instance ready
    -- 0.000 s
    nothing, 3 matching
    ");
}

#[test]
fn a_file_that_cannot_be_read_protects_the_model_recorded_from_it() {
    let mut world = World::settled([model("a"), model("b"), model("c")]);
    world.spoil("a", None);
    world.remove("b");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    delete  b: definition_removed(file models.d/b.toml)
            - stop pid 102
            - record b deleted
    wait    a: definition(file models.d/a.toml)
    -- 0.000 s
    wait    a: definition(file models.d/a.toml)
    ");
    assert_eq!(world.machine.of("a").len(), 1);
}

#[test]
fn a_file_that_cannot_be_read_protects_the_model_it_names() {
    let mut world = World::settled([model("a"), model("b"), model("c")]);
    world.remove("a");
    world.spoil("renamed", Some("a"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    a: definition(file models.d/renamed.toml)
    ");
    assert_eq!(world.machine.of("a").len(), 1);
}

#[test]
fn a_file_of_which_nothing_is_known_blocks_every_deletion() {
    let mut world = World::settled([model("a"), model("b"), model("c")]);
    world.remove("a");
    world.spoil("mystery", None);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    a: deletion_blocked(file models.d/mystery.toml)
    ");
    assert_eq!(world.machine.of("a").len(), 1);
}

#[test]
fn a_model_whose_file_cannot_be_read_is_still_started_after_a_crash() {
    let mut world = World::settled([model("a").option("ctx_size", "1")]);
    world.spoil("a", None);
    world.advance(60);
    world.machine.kill("a", herdsman::model::FailureCause::Spec, "segmentation fault");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    found   a crashed(spec)
    note    instance gone
    note    a crashes 1
    note    a status error and why
    start   a: process_gone(crashes 1, death(cause spec))
            - start generation 1 of a on port 8100
    wait    a: definition(file models.d/a.toml)
    -- 0.000 s
    wait    a: definition(file models.d/a.toml)
    wait    a: ready(deadline 661.000 s, pid 102)
    -- 1.000 s
    found   a ready(pid 102)
    note    a instance ready
    note    a status running
    wait    a: definition(file models.d/a.toml)
    -- 1.000 s
    wait    a: definition(file models.d/a.toml)
    ");
}

#[test]
fn a_stop_is_not_begun_for_a_file_that_cannot_be_read_any_more() {
    let mut world = World::settled([model("a"), model("b")]);
    world.machine.server("a").busy = Busy::Yes(1);
    world.define(model("a").option("ctx_size", "2"));
    world.pass();
    world.spoil("a", Some("a"));
    world.machine.server("a").busy = Busy::No;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    a instance ready
    wait    a: definition(file models.d/a.toml)
    -- 0.000 s
    wait    a: definition(file models.d/a.toml)
    ");
}

#[test]
fn a_directory_that_lost_most_of_its_files_deletes_and_creates_nothing() {
    let mut world = World::settled(["a", "b", "c", "d"].map(model));
    ["a", "b", "c"].into_iter().for_each(|name| world.remove(name));
    world.define(model("new").weights("/weights/b.gguf"));
    world.define(model("d").option("ctx_size", "2"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart d: field_changed(ctx_size set to 2, impact restart, models.d/d.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 104
            - start generation 2 of d on port 8103
    wait    a: guard
    wait    b: guard
    wait    c: guard
    wait    new: guard
    refused: delete 3 of 4: a, b, c
            rename b to new?
    -- 0.000 s
    wait    a: guard
    wait    b: guard
    wait    c: guard
    wait    d: ready(deadline 601.000 s, pid 105)
    wait    new: guard
    refused: delete 3 of 4: a, b, c
            rename b to new?
    -- 1.000 s
    found   d ready(pid 105)
    note    d generation 2 ready
    note    d instance ready
    note    d status running
    wait    a: guard
    wait    b: guard
    wait    c: guard
    wait    new: guard
    refused: delete 3 of 4: a, b, c
            rename b to new?
    -- 1.000 s
    wait    a: guard
    wait    b: guard
    wait    c: guard
    wait    new: guard
    refused: delete 3 of 4: a, b, c
            rename b to new?
    ");
    assert_eq!(world.machine.servers.len(), 4);
}

#[test]
fn an_explicit_limit_allows_the_deletions() {
    let mut world = World::settled(["a", "b", "c", "d"].map(model));
    ["a", "b", "c"].into_iter().for_each(|name| world.remove(name));
    world.limits.max_deletes = Some(MaxDeletes::Count(2));
    assert_snapshot!(world.planned(), @"
    wait    a: guard
    wait    b: guard
    wait    c: guard
    refused: delete 3 of 4: a, b, c
    ");
    world.limits.max_deletes = Some(MaxDeletes::Percent(75));
    world.settle();
    assert_eq!(world.machine.servers.len(), 1);
}

#[test]
fn the_guard_counts_models_whose_database_was_lost() {
    let mut world = World::settled([model("a"), model("b")]);
    world.store = crate::simulated::Store::default();
    world.remove("a");
    world.remove("b");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    a: guard
    wait    b: guard
    refused: delete 2 of 2: a, b
    ");
    assert_eq!(world.machine.servers.len(), 2);
}

#[test]
fn an_instance_of_a_model_that_neither_files_nor_records_know_is_stopped() {
    let mut world = World::settled([model("a")]);
    world.stray(&model("lost"), 8150);
    world.machine.server("lost").busy = Busy::Yes(1);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    delete  lost: definition_removed(file definition of lost)
            - stop pid 102 (status stays)
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_record_of_an_instance_without_a_model_is_forgotten_once_it_is_gone() {
    let mut world = World::settled([model("a")]);
    world.stray(&model("lost"), 8150);
    let lost = world.machine.server("lost").clone();
    let known = world.store.records().models["a"].instances[0].clone();
    let orphan = herdsman::model::InstanceRecord {
        id: lost.id.clone(),
        model: lost.model,
        handle: Some(lost.handle),
        started_at: lost.started_at,
        ..known
    };
    world.store.commit(&[herdsman::model::Change::PutInstance(orphan)]);
    world.machine.server("lost").unreadable = true;
    assert_snapshot!(world.planned(), @"nothing, 1 matching");
    world.machine.server("lost").unreadable = false;
    assert_snapshot!(world.planned(), @"
    delete  lost: definition_removed(file definition of lost)
            - stop pid 102 (status stays)
    ");
    world.machine.end(&lost.id);
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    note    instance gone
    -- 0.000 s
    nothing, 1 matching
    ");
    assert!(world.store.records().orphans.is_empty());
}

#[test]
fn a_new_file_that_cannot_be_read_is_told_and_nothing_else_happens() {
    let mut world = World::settled([model("a")]);
    world.spoil("new", Some("new"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    new: definition(file models.d/new.toml)
    ");
}

#[test]
fn a_drain_before_a_stop_ends_when_the_file_cannot_be_read_any_more() {
    let mut world = World::settled([model("a"), model("b")]);
    world.machine.server("a").busy = Busy::Yes(1);
    world.define(model("a").stopped());
    world.pass();
    world.spoil("a", Some("a"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    a instance ready
    wait    a: definition(file models.d/a.toml)
    -- 0.000 s
    wait    a: definition(file models.d/a.toml)
    ");
    assert_eq!(world.machine.server("a").handle.pid(), 101);
}

#[test]
fn a_stop_that_was_begun_is_finished_although_the_file_cannot_be_read_any_more() {
    let mut world = World::settled([model("a"), model("b")]);
    world.define(model("a").stopped());
    // The intent.
    world.kill_after = Some(1);
    world.try_settle().unwrap_err();
    world.kill_after = None;
    world.spoil("a", Some("a"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    a: state_wanted(models.d/a.toml, state stopped)
            - stop pid 101
    wait    a: definition(file models.d/a.toml)
    -- 0.000 s
    wait    a: definition(file models.d/a.toml)
    ");
}

#[test]
fn a_file_that_cannot_be_read_changes_nothing_of_what_was_recorded_from_it() {
    let mut world = World::settled([model("a").drain(5).description("chat").port(8200)]);
    world.spoil("a", None);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    a: definition(file models.d/a.toml)
    ");
}

#[test]
fn a_refusal_names_what_it_refuses_and_a_likely_rename() {
    let mut world = World::settled(["a", "b"].map(model));
    ["a", "b"].into_iter().for_each(|name| world.remove(name));
    world.define(model("new").weights("/weights/b.gguf"));
    assert_snapshot!(world.planned(), @"
    wait    a: guard
    wait    b: guard
    wait    new: guard
    refused: delete 2 of 2: a, b
            rename b to new?
    ");
}

#[test]
fn what_the_guard_keeps_keeps_its_port() {
    let mut world = World::settled(["a", "b", "c", "d"].map(model));
    world.store = crate::simulated::Store::default();
    world.desired.definitions.retain(|name, _| name.as_str() == "d");
    world.limits.targets = [crate::simulated::name("d")].into();
    world.settle();
    world.limits.targets.clear();
    world.define(model("d").port(8100));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    a: guard
    wait    b: guard
    wait    c: guard
    wait    d: port(holder model a, port 8100)
    refused: delete 3 of 4: a, b, c
    ");
    world.limits.max_deletes = Some(MaxDeletes::Count(3));
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    delete  a: definition_removed(file definition of a)
            - stop pid 101 (status stays)
    delete  b: definition_removed(file definition of b)
            - stop pid 102 (status stays)
    delete  c: definition_removed(file definition of c)
            - stop pid 103 (status stays)
    restart d: field_changed(port 8103 -> 8100, impact restart, models.d/d.toml:2)
            - record generation 2, generation 2 accepted by release 1
            - stop pid 104
            - start generation 2 of d on port 8100, once its port is left
    ");
}
