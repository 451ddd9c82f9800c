//! First records and first instances.

use insta::assert_snapshot;

use crate::simulated::{Edit, World, model};

#[test]
fn a_new_definition_gets_a_record_a_port_and_an_instance() {
    let mut world = World::new([model("chat")]);
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    create  chat: models.d/chat.toml
            - record row, chat port 8100, generation 1, generation 1 accepted by release 1
            - start generation 1 of chat on port 8100
    -- 0.000 s
    wait    chat: loading (pid 101)
    -- 1.000 s
    found   chat ready (pid 101)
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
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    create  chat: models.d/chat.toml (declared stopped)
            - record row, generation 1
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_model_on_a_unix_socket_gets_no_port() {
    let mut world = World::new([model("chat").socket("/run/chat.sock")]);
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    create  chat: models.d/chat.toml
            - record row, generation 1, generation 1 accepted by release 1
            - start generation 1 of chat on /run/chat.sock
    -- 0.000 s
    wait    chat: loading (pid 101)
    -- 1.000 s
    found   chat ready (pid 101)
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
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    create  a: models.d/a.toml
            - record row, a port 8100, generation 1, generation 1 accepted by release 1
            - start generation 1 of a on port 8100
    create  b: models.d/b.toml
            - record row, b port 8101, generation 1, generation 1 accepted by release 1
            - start generation 1 of b on port 8101
    create  c: models.d/c.toml
            - record row, c port 8102, generation 1, generation 1 accepted by release 1
    create  d: models.d/d.toml
            - record row, d port 8103, generation 1, generation 1 accepted by release 1
    wait    c: waits for the starts before it (--parallel)
    wait    d: waits for the starts before it (--parallel)
    -- 0.000 s
    wait    a: loading (pid 101)
    wait    b: loading (pid 102)
    wait    c: waits for the starts before it (--parallel)
    wait    d: waits for the starts before it (--parallel)
    -- 1.000 s
    found   a ready (pid 101)
    found   b ready (pid 102)
    note    a generation 1 ready
    note    a port 8100 proven
    note    a instance ready
    note    a status running
    note    b generation 1 ready
    note    b port 8101 proven
    note    b instance ready
    note    b status running
    start   c: declared running, no instance
            - start generation 1 of c on port 8102
    start   d: declared running, no instance
            - start generation 1 of d on port 8103
    -- 1.000 s
    wait    c: loading (pid 103)
    wait    d: loading (pid 104)
    -- 2.000 s
    found   c ready (pid 103)
    found   d ready (pid 104)
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
