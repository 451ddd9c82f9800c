//! What other programs do to the shared table.

use insta::assert_snapshot;

use crate::simulated::{World, model};

#[test]
fn a_changed_column_is_told_and_put_back() {
    let mut world = World::settled([model("chat")]);
    world.store.change_column("chat", "ctx_size", "8192", "512");
    world.store.change_column("chat", "threads", "4", "NULL");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    update  chat: row_drift(ctx_size 8192 -> 512); row_drift(threads 4 -> NULL)
            - record row again
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_changed_status_is_put_back() {
    let mut world = World::settled([model("chat")]);
    world.store.rows_mut().get_mut(&1).unwrap().status = herdsman::model::Status::Error;
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    note    chat status running
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_deleted_row_returns_with_its_id() {
    let mut world = World::settled([model("a"), model("b")]);
    world.store.delete_row("a");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    update  a: row_deleted(id 1)
            - record row again
    -- 0.000 s
    nothing, 2 matching
    ");
    assert_eq!(world.store.rows()[&1].name, "a");
}

#[test]
fn a_row_that_nobody_declares_is_left_alone() {
    let mut world = World::settled([model("chat")]);
    world.store.add_row("hand-made");
    let before = world.store.rows().clone();
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    nothing, 1 matching
    ");
    assert_eq!(world.plan().unmanaged.len(), 1);
    assert_eq!(*world.store.rows(), before);
}

#[test]
fn a_definition_takes_over_the_row_of_its_name() {
    let mut world = World::new([model("chat")]);
    world.store.add_row("chat");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    create  chat: definition_added(models.d/chat.toml, state running); takes_over_row(id 1)
            - record row 1 taken over, chat port 8100, generation 1, generation 1 accepted by release 1
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
    assert_eq!(world.store.rows().len(), 1);
}

#[test]
fn a_row_that_is_taken_over_is_no_longer_told_as_unmanaged() {
    let mut world = World::new([model("chat")]);
    world.store.add_row("hand-made");
    world.store.add_row("chat");
    let unmanaged: Vec<String> = world.plan().unmanaged.into_iter().map(|row| row.name).collect();
    assert_eq!(unmanaged, ["hand-made"]);
}

#[test]
fn of_two_rows_of_one_name_none_is_taken_over() {
    let mut world = World::new([model("chat")]);
    world.store.add_row("chat");
    world.store.add_row("chat");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    chat: one_row(ids [1,2])
    ");
}
