//! Ports that pass from one model to another.

use insta::assert_snapshot;

use crate::simulated::{Edit, World, model, show};

#[test]
fn two_models_exchange_their_declared_ports() {
    let mut world = World::settled([model("a").port(8200), model("b").port(8300)]);
    world.define(model("a").port(8300));
    world.define(model("b").port(8200));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart a: field_changed(port 8200 -> 8300, impact restart, models.d/a.toml:2)
            - record generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of a on port 8300, once its port is left
    restart b: field_changed(port 8300 -> 8200, impact restart, models.d/b.toml:2)
            - record generation 2, generation 2 accepted by release 1
            - stop pid 102
            - start generation 2 of b on port 8200, once its port is left
    -- 0.000 s
    wait    a: ready(deadline 601.000 s, pid 103)
    wait    b: ready(deadline 601.000 s, pid 104)
    -- 1.000 s
    found   a ready(pid 103)
    found   b ready(pid 104)
    note    a generation 2 ready
    note    a port 8300 proven
    note    a instance ready
    note    a status running
    note    b generation 2 ready
    note    b port 8200 proven
    note    b instance ready
    note    b status running
    -- 1.000 s
    nothing, 2 matching
    ");
}

#[test]
fn two_models_exchange_their_declared_ports_although_one_is_busy() {
    let mut world = World::settled([model("a").port(8200), model("b").port(8300)]);
    world.machine.server("a").busy = herdsman::model::Busy::Yes(1);
    world.define(model("a").port(8300));
    world.define(model("b").port(8200));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart a: field_changed(port 8200 -> 8300, impact restart, models.d/a.toml:2)
            - record generation 2, generation 2 accepted by release 1, a instance draining until 31.000 s
    wait    b: port_of(other a, port 8200)
    -- 0.000 s
    wait    a: drain(busy 1, deadline 31.000 s)
    wait    b: port_of(other a, port 8200)
    -- 30.000 s
    restart a: field_changed(port 8200 -> 8300, impact restart, models.d/a.toml:2)
            - stop pid 101
            - start generation 2 of a on port 8300, once its port is left
    restart b: field_changed(port 8300 -> 8200, impact restart, models.d/b.toml:2)
            - record generation 2, generation 2 accepted by release 1
            - stop pid 102
            - start generation 2 of b on port 8200, once its port is left
    -- 30.000 s
    wait    a: ready(deadline 631.000 s, pid 103)
    wait    b: ready(deadline 631.000 s, pid 104)
    -- 31.000 s
    found   a ready(pid 103)
    found   b ready(pid 104)
    note    a generation 2 ready
    note    a port 8300 proven
    note    a instance ready
    note    a status running
    note    b generation 2 ready
    note    b port 8200 proven
    note    b instance ready
    note    b status running
    -- 31.000 s
    nothing, 2 matching
    ");
}

#[test]
fn a_port_moves_to_a_new_model_once_the_old_one_has_left_it() {
    let mut world = World::settled([model("z").port(8200)]);
    world.define(model("z").port(8300));
    world.define(model("a").port(8200));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    z no port
    create  a: definition_added(models.d/a.toml, state running)
            - record row, a port 8200, generation 1, generation 1 accepted by release 1
            - start generation 1 of a on port 8200, once its port is left
    restart z: field_changed(port 8200 -> 8300, impact restart, models.d/z.toml:2)
            - record generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of z on port 8300
    -- 0.000 s
    wait    a: ready(deadline 601.000 s, pid 102)
    wait    z: ready(deadline 601.000 s, pid 103)
    -- 1.000 s
    found   a ready(pid 102)
    found   z ready(pid 103)
    note    a generation 1 ready
    note    a port 8200 proven
    note    a instance ready
    note    a status running
    note    z generation 2 ready
    note    z port 8300 proven
    note    z instance ready
    note    z status running
    -- 1.000 s
    nothing, 2 matching
    ");
}

#[test]
fn a_port_moves_from_a_removed_model_to_another() {
    let mut world = World::settled([model("old").port(8200)]);
    world.remove("old");
    world.define(model("new").port(8200));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    delete  old: definition_removed(file models.d/old.toml)
            - stop pid 101
            - record old deleted
    wait    new: port(holder model old, port 8200)
    -- 0.000 s
    create  new: definition_added(models.d/new.toml, state running)
            - record row, new port 8200, generation 1, generation 1 accepted by release 1
            - start generation 1 of new on port 8200
    -- 0.000 s
    wait    new: ready(deadline 601.000 s, pid 102)
    -- 1.000 s
    found   new ready(pid 102)
    note    new generation 1 ready
    note    new port 8200 proven
    note    new instance ready
    note    new status running
    -- 1.000 s
    nothing, 1 matching
    ");
}

#[test]
fn three_models_pass_their_ports_on() {
    let mut world = World::settled([model("a").port(8200), model("b").port(8300), model("c").port(8400)]);
    world.define(model("a").port(8300));
    world.define(model("b").port(8400));
    world.define(model("c").port(8200));
    world.pass();
    assert_eq!(["a", "b", "c"].map(|name| world.machine.server(name).port), [Some(8300), Some(8400), Some(8200)]);
}

#[test]
fn a_port_moves_from_a_model_that_is_stopped_elsewhere() {
    let mut world = World::settled([model("z").port(8200), model("b")]);
    world.define(model("z").port(8300).stopped());
    world.define(model("b").port(8200));
    world.define(model("c"));
    assert_snapshot!(world.planned(), @"
    restart b: field_changed(port 8100 -> 8200, impact restart, models.d/b.toml:2)
            - record generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of b on port 8200, once its port is left
    create  c: definition_added(models.d/c.toml, state running)
            - record row, c port 8101, generation 1, generation 1 accepted by release 1
            - start generation 1 of c on port 8101
    stop    z: field_changed(port 8200 -> 8300, impact record, models.d/z.toml:2); state_wanted(models.d/z.toml:3, state stopped)
            - record row again, generation 2
            - stop pid 102
    ");
    world.settle();
    assert_eq!(world.machine.server("b").port, Some(8200));
}

#[test]
fn a_port_moves_from_a_model_that_changes_to_a_socket() {
    let mut world = World::settled([model("z")]);
    world.define(model("z").socket("/run/z.sock"));
    world.define(model("a").port(8100));
    assert_snapshot!(world.planned(), @"
    note    z no port
    create  a: definition_added(models.d/a.toml, state running)
            - record row, a port 8100, generation 1, generation 1 accepted by release 1
            - start generation 1 of a on port 8100, once its port is left
    restart z: field_changed(host 127.0.0.1 -> /run/z.sock, impact restart, models.d/z.toml:2); field_changed(port no longer 8100, impact restart, models.d/z.toml)
            - record generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of z on /run/z.sock
    ");
    world.settle();
    assert_eq!(world.machine.server("a").port, Some(8100));
}

#[test]
fn a_model_that_loads_while_its_new_port_is_anothers_is_given_up_in_time() {
    let mut world = World::new([model("a"), model("b"), model("d").fate("crawls")]);
    world.pass();
    world.advance(1);
    world.pass();
    // d waits for a's port, and a for b's, which b keeps.
    world.define(model("a").port(8101));
    world.define(model("d").port(8100));
    world.settle();
    assert!(world.machine.of("d").is_empty());
    assert_snapshot!(world.planned(), @"
    wait    a: port(holder model b, port 8101)
    wait    d: port(holder model a, port 8100)
    ");
}

#[test]
fn a_model_stays_where_it_becomes_ready_when_its_definition_no_longer_names_a_port() {
    let mut world = World::settled([model("a").port(8200)]);
    world.define(model("a").port(8300));
    world.pass();
    world.define(model("a"));
    world.advance(1);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    found   a ready(pid 102)
    note    a generation 2 ready
    note    a port 8300 proven
    note    a instance ready
    note    a status running
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn a_model_stays_where_it_becomes_ready_when_another_declares_that_port() {
    let mut world = World::new([model("a")]);
    world.pass();
    world.define(model("b").port(8100));
    world.advance(1);
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    found   a ready(pid 101)
    note    a generation 1 ready
    note    a port 8100 proven
    note    a instance ready
    note    a status running
    wait    b: port(holder model a, port 8100)
    -- 0.000 s
    wait    b: port(holder model a, port 8100)
    ");
}

#[test]
fn a_stopped_model_is_not_recorded_on_the_port_where_another_becomes_ready() {
    let mut world = World::new([model("a")]);
    world.pass();
    world.define(model("b").port(8100).stopped());
    world.advance(1);
    let pass = world.pass();
    assert!(pass.plan.actions.iter().all(|action| action.model.as_str() == "b"), "{}", show(&pass.plan));
    world.settle();
    let port = |model: &str| world.store.records().models[model].port.map(|port| port.port);
    assert_eq!((port("a"), port("b")), (Some(8100), None));
}
