//! First records and first instances.

use insta::assert_snapshot;

use crate::simulated::{Edit, World, model};

#[test]
fn a_new_definition_gets_a_record_a_port_and_an_instance() {
    let mut world = World::new([model("chat")]);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    create  chat: definition_added(models.d/chat.toml, state running)
            - record row, chat port 8100, generation 1, generation 1 accepted by release 1
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
    assert_eq!(world.checks, 1, "its command line is checked once");
}

#[test]
fn a_definition_that_wants_no_instance_gets_a_record_alone() {
    let mut world = World::new([model("chat").stopped()]);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    create  chat: definition_added(models.d/chat.toml, state stopped)
            - record row, generation 1
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_model_on_a_unix_socket_gets_no_port() {
    let mut world = World::new([model("chat").socket("/run/chat.sock")]);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    create  chat: definition_added(models.d/chat.toml, state running)
            - record row, generation 1, generation 1 accepted by release 1
            - start generation 1 of chat on /run/chat.sock
    -- 0.000 s
    wait    chat: ready(deadline 600.000 s, pid 101)
    -- 1.000 s
    found   chat ready(pid 101)
    note    chat generation 1 ready
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 1 matching
    ");
}

#[test]
fn starts_run_in_parallel_up_to_the_limit() {
    let mut world = World::new(["a", "b", "c", "d"].map(model));
    world.limits.parallel = 2;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    create  a: definition_added(models.d/a.toml, state running)
            - record row, a port 8100, generation 1, generation 1 accepted by release 1
            - start generation 1 of a on port 8100
    create  b: definition_added(models.d/b.toml, state running)
            - record row, b port 8101, generation 1, generation 1 accepted by release 1
            - start generation 1 of b on port 8101
    create  c: definition_added(models.d/c.toml, state running)
            - record row, c port 8102, generation 1, generation 1 accepted by release 1
    create  d: definition_added(models.d/d.toml, state running)
            - record row, d port 8103, generation 1, generation 1 accepted by release 1
    wait    c: start_slot
    wait    d: start_slot
    -- 0.000 s
    wait    a: ready(deadline 600.000 s, pid 101)
    wait    b: ready(deadline 600.000 s, pid 102)
    wait    c: start_slot
    wait    d: start_slot
    -- 1.000 s
    found   a ready(pid 101)
    found   b ready(pid 102)
    note    a generation 1 ready
    note    a port 8100 proven
    note    a instance ready
    note    a status running
    note    b generation 1 ready
    note    b port 8101 proven
    note    b instance ready
    note    b status running
    start   c: not_running
            - start generation 1 of c on port 8102
    start   d: not_running
            - start generation 1 of d on port 8103
    -- 1.000 s
    wait    c: ready(deadline 601.000 s, pid 103)
    wait    d: ready(deadline 601.000 s, pid 104)
    -- 2.000 s
    found   c ready(pid 103)
    found   d ready(pid 104)
    note    c generation 1 ready
    note    c port 8102 proven
    note    c instance ready
    note    c status running
    note    d generation 1 ready
    note    d port 8103 proven
    note    d instance ready
    note    d status running
    -- 2.000 s
    nothing, 4 matching
    ");
}
