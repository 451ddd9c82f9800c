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
    assert_snapshot!(world.planned(), @r"
    restart b: ctx_size set to 2   models.d/b.toml:2
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
    assert_snapshot!(world.planned(), @r"
    restart a: ctx_size set to 2   models.d/a.toml:2
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of a on port 8100
    restart b: ctx_size set to 2   models.d/b.toml:2
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 102
            - start generation 2 of b on port 8101
    wait    c: waits for the restart of a (--max-restarting)
    ");
}

#[test]
fn a_restart_under_way_keeps_its_slot() {
    let mut world = World::settled(["a", "b"].map(model));
    world.define(model("b").option("ctx_size", "2"));
    world.pass();
    world.define(model("a").option("ctx_size", "2"));
    assert_snapshot!(world.planned(), @r"
    wait    a: waits for the restart of b (--max-restarting)
    wait    b: loading (pid 103)
    ");
}

#[test]
fn a_crash_is_repaired_while_another_model_restarts() {
    let mut world = World::settled(["a", "b"].map(model));
    world.define(model("a").option("ctx_size", "2").fate("slow"));
    world.pass();
    world.advance(10);
    world.machine.kill("b", herdsman::model::FailureCause::Spec, "segmentation fault");
    assert_snapshot!(world.planned(), @r"
    found   b crashed: segmentation fault
    note    instance gone
    note    b crashes 1
    note    b status error (segmentation fault)
    start   b: process gone: segmentation fault
            - start generation 1 of b on port 8101
    wait    a: loading (pid 103)
    ");
}
