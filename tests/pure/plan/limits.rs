//! `--target`, `--max-restarting`, `--parallel` and what they leave waiting.

use insta::assert_snapshot;

use crate::simulated::{Edit, World, model, name};

#[test]
fn only_targets_are_touched() {
    let mut world = World::settled(["a", "b", "c"].map(model));
    world.define(model("a").option("ctx_size", "2"));
    world.define(model("b").option("ctx_size", "2"));
    world.remove("c");
    world.limits.targets = [name("b")].into();
    assert_snapshot!(world.planned(), @"
    restart b: field_changed(ctx_size set to 2, impact restart, models.d/b.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 102
            - start generation 2 of b on port 8101
    ");
}

#[test]
fn more_restarts_at_once_are_allowed_on_demand() {
    let mut world = World::settled(["a", "b", "c"].map(model));
    ["a", "b", "c"].into_iter().for_each(|n| world.define(model(n).option("ctx_size", "2")));
    world.limits.max_restarting = 2;
    assert_snapshot!(world.planned(), @"
    restart a: field_changed(ctx_size set to 2, impact restart, models.d/a.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of a on port 8100
    restart b: field_changed(ctx_size set to 2, impact restart, models.d/b.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 102
            - start generation 2 of b on port 8101
    wait    c: restart_slot(other a)
    ");
}

#[test]
fn a_restart_under_way_keeps_its_slot() {
    let mut world = World::settled(["a", "b"].map(model));
    world.define(model("b").option("ctx_size", "2"));
    world.pass();
    world.define(model("a").option("ctx_size", "2"));
    assert_snapshot!(world.planned(), @"
    wait    a: restart_slot(other b)
    wait    b: ready(deadline 601.000 s, pid 103)
    ");
}

#[test]
fn a_crash_is_repaired_while_another_model_restarts() {
    let mut world = World::settled(["a", "b"].map(model));
    world.define(model("a").option("ctx_size", "2").fate("slow"));
    world.pass();
    world.advance(10);
    world.machine.kill("b", herdsman::model::FailureCause::Spec, "segmentation fault");
    assert_snapshot!(world.planned(), @"
    found   b crashed(spec)
    note    instance gone
    note    b crashes 1
    note    b status error and why
    start   b: process_gone(crashes 1, death(cause spec))
            - start generation 1 of b on port 8101
    wait    a: ready(deadline 601.000 s, pid 103)
    ");
}

#[test]
fn what_is_missing_comes_back_before_anything_else_goes() {
    let mut world = World::settled(["a", "b"].map(model));
    world.advance(60);
    world.machine.kill("b", herdsman::model::FailureCause::Spec, "segmentation fault");
    world.define(model("a").option("ctx_size", "2"));
    assert_snapshot!(world.planned(), @"
    found   b crashed(spec)
    note    instance gone
    note    b crashes 1
    note    b status error and why
    start   b: process_gone(crashes 1, death(cause spec))
            - start generation 1 of b on port 8101
    wait    a: restart_slot(other b)
    ");
}

#[test]
fn what_never_ran_and_what_waits_for_its_port_hold_up_no_restart() {
    let mut world = World::settled([model("a"), model("b").stopped(), model("c")]);
    world.define(model("a").option("ctx_size", "2"));
    world.define(model("b"));
    world.advance(60);
    world.machine.kill("c", herdsman::model::FailureCause::Spec, "segmentation fault");
    world.machine.strangers.insert(8101, "nginx (pid 7)".to_owned());
    assert_snapshot!(world.planned(), @"
    found   c crashed(spec)
    note    instance gone
    note    c crashes 1
    note    c status error and why
    restart a: field_changed(ctx_size set to 2, impact restart, models.d/a.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of a on port 8100
    start   b: state_wanted(models.d/b.toml, state running)
            - record row again, b port 8102, generation 1 accepted by release 1
            - start generation 1 of b on port 8102
    wait    c: port(holder nginx (pid 7), port 8101)
    ");
}

#[test]
fn a_server_that_drains_to_restart_keeps_its_slot_and_one_that_drains_to_stop_takes_none() {
    let mut world = World::settled(["a", "b"].map(model));
    world.machine.server("b").busy = herdsman::model::Busy::Yes(1);
    world.define(model("b").option("ctx_size", "2"));
    world.pass();
    world.define(model("a").option("ctx_size", "2"));
    assert_snapshot!(world.planned(), @"
    wait    a: restart_slot(other b)
    wait    b: drain(busy 1, deadline 31.000 s)
    ");
    world.define(model("b").stopped());
    world.pass();
    assert_snapshot!(world.planned(), @"
    wait    a: ready(deadline 601.000 s, pid 103)
    wait    b: drain(busy 1, deadline 31.000 s)
    ");
}

#[test]
fn a_restart_takes_a_start_slot_too() {
    let mut world = World::settled(["a", "b"].map(model));
    ["a", "b"].into_iter().for_each(|n| world.define(model(n).option("ctx_size", "2")));
    world.define(model("c"));
    (world.limits.max_restarting, world.limits.parallel) = (2, 2);
    assert_snapshot!(world.planned(), @"
    restart a: field_changed(ctx_size set to 2, impact restart, models.d/a.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of a on port 8100
    restart b: field_changed(ctx_size set to 2, impact restart, models.d/b.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 102
            - start generation 2 of b on port 8101
    create  c: definition_added(models.d/c.toml, state running)
            - record row, c port 8102, generation 1, generation 1 accepted by release 1
    wait    c: start_slot
    ");
    world.limits.parallel = 1;
    assert_snapshot!(world.planned(), @"
    restart a: field_changed(ctx_size set to 2, impact restart, models.d/a.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of a on port 8100
    create  c: definition_added(models.d/c.toml, state running)
            - record row, c port 8102, generation 1, generation 1 accepted by release 1
    wait    b: start_slot
    wait    c: start_slot
    ");
}

#[test]
fn a_restart_whose_port_is_not_left_in_this_pass_gives_its_start_slot_back() {
    let mut world = World::settled([model("a").port(8200), model("b").port(8300)]);
    world.machine.server("b").busy = herdsman::model::Busy::Yes(1);
    world.define(model("a").port(8300));
    world.define(model("b").port(8200));
    world.define(model("c"));
    world.limits.parallel = 1;
    assert_snapshot!(world.planned(), @"
    restart b: field_changed(port 8300 -> 8200, impact restart, models.d/b.toml:2)
            - record generation 2, generation 2 accepted by release 1, b instance draining until 31.000 s
    create  c: definition_added(models.d/c.toml, state running)
            - record row, c port 8100, generation 1, generation 1 accepted by release 1
            - start generation 1 of c on port 8100
    wait    a: port_of(other b, port 8300)
    ");
}

#[test]
fn a_restart_that_waits_for_its_turn_takes_no_start_slot() {
    let mut world = World::settled(["a", "b"].map(model));
    ["a", "b"].into_iter().for_each(|n| world.define(model(n).option("ctx_size", "2").drain(0)));
    world.define(model("c"));
    world.limits.parallel = 2;
    world.pass();
    assert_eq!(world.machine.of("c").len(), 1);
}
