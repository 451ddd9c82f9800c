//! Who serves where.

use herdsman::model::FailureCause;
use insta::assert_snapshot;

use crate::simulated::{Edit, Fate, World, model, name};

#[test]
fn a_port_somebody_holds_is_not_allotted() {
    let mut world = World::new([model("a"), model("b").port(8101)]);
    world.machine.strangers.insert(8100, "nginx (pid 7)".to_owned());
    assert_snapshot!(world.planned(), @"
    create  a: definition_added(models.d/a.toml, state running)
            - record row, a port 8102, generation 1, generation 1 accepted by release 1
            - start generation 1 of a on port 8102
    create  b: definition_added(models.d/b.toml, state running)
            - record row, b port 8101, generation 1, generation 1 accepted by release 1
            - start generation 1 of b on port 8101
    ");
}

#[test]
fn a_conflict_before_the_first_readiness_allots_another_port() {
    let mut world = World::new([model("chat")]);
    world.pass();
    world.machine.kill("chat", FailureCause::PortBusy, "couldn't bind HTTP server socket");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    found   chat start_failed(port_busy)
    note    instance gone
    note    chat crashes 1
    note    chat status error and why
    start   chat: process_gone(crashes 1, death(cause port_busy))
            - record chat port 8101
            - start generation 1 of chat on port 8101
    -- 0.000 s
    wait    chat: ready(deadline 600.000 s, pid 102)
    -- 1.000 s
    found   chat ready(pid 102)
    note    chat generation 1 ready
    note    chat port 8101 proven
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_conflict_after_it_names_the_holder_and_waits() {
    let mut world = World::settled([model("chat")]);
    world.machine.kill("chat", FailureCause::Spec, "segmentation fault");
    world.machine.strangers.insert(8100, "nginx (pid 7)".to_owned());
    world.advance(5);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    found   chat crashed(spec)
    note    instance gone
    note    chat crashes 1
    note    chat status error and why
    wait    chat: port(holder nginx (pid 7), port 8100)
    -- 0.000 s
    wait    chat: port(holder nginx (pid 7), port 8100)
    ");
    world.machine.strangers.clear();
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    start   chat: process_gone(crashes 1)
            - start generation 1 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 606.000 s, pid 102)
    -- 1.000 s
    found   chat ready(pid 102)
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_declared_port_that_a_stranger_holds_is_waited_for() {
    let mut world = World::new([model("chat").port(8200)]);
    world.machine.strangers.insert(8200, "nginx (pid 7)".to_owned());
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    create  chat: definition_added(models.d/chat.toml, state running)
            - record row, chat port 8200, generation 1, generation 1 accepted by release 1
    wait    chat: port(holder nginx (pid 7), port 8200)
    -- 0.000 s
    wait    chat: port(holder nginx (pid 7), port 8200)
    ");
}

#[test]
fn nothing_stops_for_a_port_that_a_stranger_holds() {
    let mut world = World::settled([model("a").port(8200)]);
    world.machine.strangers.insert(8300, "nginx (pid 7)".to_owned());
    world.define(model("a").port(8300));
    world.define(model("b").port(8200));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    a no port
    create  b: definition_added(models.d/b.toml, state running)
            - record row, b port 8200, generation 1, generation 1 accepted by release 1
    wait    a: port(holder nginx (pid 7), port 8300)
    wait    b: port(holder model a, port 8200)
    -- 0.000 s
    wait    a: port(holder nginx (pid 7), port 8300)
    wait    b: port(holder model a, port 8200)
    ");
    assert_eq!(world.machine.server("a").handle.pid(), 101);
}

#[test]
fn a_declared_port_that_was_allotted_to_another_and_not_proven_is_given_up() {
    let mut world = World::new([model("b")]);
    world.machine.fates.insert(name("b"), Fate::Hangs);
    world.pass();
    world.machine.fates.clear();
    world.define(model("a").port(8100));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    b no port
    create  a: definition_added(models.d/a.toml, state running)
            - record row, a port 8100, generation 1, generation 1 accepted by release 1
            - start generation 1 of a on port 8100, once its port is left
    restart b: field_changed(port 8100 -> 8101, impact restart, models.d/b.toml)
            - record b port 8101
            - stop pid 101
            - start generation 1 of b on port 8101
    -- 0.000 s
    wait    a: ready(deadline 600.000 s, pid 102)
    wait    b: ready(deadline 600.000 s, pid 103)
    -- 1.000 s
    found   a ready(pid 102)
    found   b ready(pid 103)
    note    a generation 1 ready
    note    a port 8100 proven
    note    a instance ready
    note    a status running
    note    b generation 1 ready
    note    b port 8101 proven
    note    b instance ready
    note    b status running
    -- 1.000 s
    nothing, 2 matching
    ");
}

#[test]
fn a_declared_port_that_was_allotted_to_another_and_proven_is_waited_for() {
    let mut world = World::settled([model("b")]);
    world.define(model("a").port(8100));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    a: port(holder model b, port 8100)
    ");
}

#[test]
fn a_full_range_is_told() {
    let mut world = World::new([model("a"), model("b")]);
    world.site.port_range = (8100, 8100);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    create  a: definition_added(models.d/a.toml, state running)
            - record row, a port 8100, generation 1, generation 1 accepted by release 1
            - start generation 1 of a on port 8100
    wait    b: free_port(range [8100,8100])
    -- 0.000 s
    wait    a: ready(deadline 600.000 s, pid 101)
    wait    b: free_port(range [8100,8100])
    -- 1.000 s
    found   a ready(pid 101)
    note    a generation 1 ready
    note    a port 8100 proven
    note    a instance ready
    note    a status running
    wait    b: free_port(range [8100,8100])
    -- 1.000 s
    wait    b: free_port(range [8100,8100])
    ");
}

#[test]
fn a_port_survives_a_stop() {
    let mut world = World::settled([model("a"), model("b")]);
    world.define(model("a").stopped());
    world.settle();
    world.define(model("c"));
    world.define(model("a"));
    world.settle();
    assert_eq!(world.machine.server("a").port, Some(8100));
    assert_eq!(world.machine.server("c").port, Some(8102));
}

#[test]
fn a_restart_that_cannot_come_takes_no_slot_from_one_that_can() {
    let mut world = World::settled(["a", "b", "c"].map(model));
    world.machine.strangers.insert(8300, "nginx (pid 7)".to_owned());
    world.define(model("a").port(8300));
    world.define(model("b").port(8300 + 1));
    world.define(model("c").option("ctx_size", "2"));
    world.limits.targets = ["a", "c"].map(name).into();
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart c: field_changed(ctx_size set to 2, impact restart, models.d/c.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 103
            - start generation 2 of c on port 8102
    wait    a: port(holder nginx (pid 7), port 8300)
    -- 0.000 s
    wait    a: port(holder nginx (pid 7), port 8300)
    wait    c: ready(deadline 601.000 s, pid 104)
    -- 1.000 s
    found   c ready(pid 104)
    note    c generation 2 ready
    note    c instance ready
    note    c status running
    wait    a: port(holder nginx (pid 7), port 8300)
    -- 1.000 s
    wait    a: port(holder nginx (pid 7), port 8300)
    ");
}

#[test]
fn a_port_is_never_recorded_for_two_models_whichever_is_recorded_first() {
    let mut world = World::settled([model("z").port(8200)]);
    world.machine.server("z").busy = herdsman::model::Busy::Yes(1);
    world.define(model("a").port(8200).stopped());
    world.define(model("z").port(8300));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    z no port
    create  a: definition_added(models.d/a.toml, state stopped)
            - record row, a port 8200, generation 1
    restart z: field_changed(port 8200 -> 8300, impact restart, models.d/z.toml:2)
            - record generation 2, generation 2 accepted by release 1, z instance draining until 31.000 s
    -- 0.000 s
    wait    z: drain(busy 1, deadline 31.000 s)
    -- 30.000 s
    restart z: field_changed(port 8200 -> 8300, impact restart, models.d/z.toml:2)
            - record z port 8300
            - stop pid 101
            - start generation 2 of z on port 8300
    -- 30.000 s
    wait    z: ready(deadline 631.000 s, pid 102)
    -- 31.000 s
    found   z ready(pid 102)
    note    z generation 2 ready
    note    z port 8300 proven
    note    z instance ready
    note    z status running
    -- 31.000 s
    nothing, 2 matching
    ");
}

#[test]
fn a_model_whose_file_cannot_be_read_keeps_a_port_that_is_not_proven_yet() {
    let mut world = World::new([model("b").fate("slow")]);
    world.pass();
    world.spoil("b", None);
    world.define(model("a").port(8100));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    a: port(holder model b, port 8100)
    wait    b: definition(file models.d/b.toml)
    wait    b: ready(deadline 600.000 s, pid 101)
    -- 60.000 s
    found   b ready(pid 101)
    note    b generation 1 ready
    note    b port 8100 proven
    note    b instance ready
    note    b status running
    wait    a: port(holder model b, port 8100)
    wait    b: definition(file models.d/b.toml)
    -- 60.000 s
    wait    a: port(holder model b, port 8100)
    wait    b: definition(file models.d/b.toml)
    ");
}

#[test]
fn a_conflict_on_a_declared_port_is_a_crash() {
    let mut world = World::new([model("chat").port(8200)]);
    world.pass();
    world.machine.kill("chat", FailureCause::PortBusy, "couldn't bind HTTP server socket");
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    found   chat start_failed(port_busy)
    note    instance gone
    note    chat crashes 1
    note    chat status error and why
    wait    chat: backoff(crashes 1, until 1.000 s)
    ");
}

#[test]
fn a_model_that_declares_its_port_restarts_on_it() {
    let mut world = World::settled([model("chat").port(8200)]);
    world.define(model("chat").port(8200).option("ctx_size", "2"));
    assert_snapshot!(world.planned(), @"
    restart chat: field_changed(ctx_size set to 2, impact restart, models.d/chat.toml:3)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8200
    ");
}

#[test]
fn a_port_that_a_stranger_takes_before_the_first_start_is_exchanged() {
    let mut world = World::new(["a", "b"].map(model));
    world.limits.parallel = 1;
    world.pass();
    world.machine.strangers.insert(8101, "nginx (pid 7)".to_owned());
    world.settle();
    assert_eq!(world.machine.server("b").port, Some(8102));
}

#[test]
fn a_stopped_model_keeps_its_port_whoever_listens_there() {
    let mut world = World::new([model("a")]);
    world.pass();
    world.define(model("a").stopped());
    world.settle();
    // What a wrapper leaves when it ends, and what becomes of that.
    world.machine.strangers.insert(8100, "llama-server (pid 7)".to_owned());
    assert_snapshot!(world.planned(), @"nothing, 1 matching");
    world.settle();
    world.machine.strangers.clear();
    assert_snapshot!(world.planned(), @"nothing, 1 matching");
    world.machine.strangers.insert(8100, "nginx (pid 8)".to_owned());
    world.define(model("a"));
    world.settle();
    assert_eq!(world.machine.server("a").port, Some(8101));
}
