//! llama-servers that are missing, refuse, or change.

use herdsman::plan::WaitKind;
use insta::assert_snapshot;

use crate::simulated::{Edit, World, model};

#[test]
fn without_a_llama_server_what_runs_goes_on() {
    let mut world = World::settled([model("a").option("ctx_size", "1"), model("b")]);
    world.machine.binaries.insert(None, Err("no llama-server on PATH".to_owned()));
    world.define(model("a").option("ctx_size", "2"));
    world.define(model("c"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    a: binary
    wait    c: binary
    ");
    assert_eq!(world.machine.servers.len(), 2);
}

#[test]
fn nothing_stops_for_a_command_line_that_llama_server_refuses() {
    let mut world = World::settled([model("chat").option("ctx_size", "1")]);
    world.machine.refused.insert("--ctx-size".to_owned());
    world.define(model("chat").option("ctx_size", "2x"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    chat: accepted(models.d/chat.toml:2)
    ");
    assert_eq!(world.machine.server("chat").process.pid, 101);
}

#[test]
fn a_changed_llama_server_is_told_and_applied_on_demand() {
    let mut world = World::settled(["a", "b"].map(model));
    world.machine.install("release 2");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    a: binary_upgrade
    wait    b: binary_upgrade
    ");
    world.limits.upgrade_binary = true;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart a: binary_changed
            - record generation 1 accepted by release 2
            - stop pid 101
            - start generation 1 of a on port 8100
    wait    b: restart_slot(other a)
    -- 0.000 s
    wait    a: ready(deadline 601.000 s, pid 103)
    wait    b: restart_slot(other a)
    -- 1.000 s
    found   a ready(pid 103)
    note    a instance ready
    note    a status running
    restart b: binary_changed
            - record generation 1 accepted by release 2
            - stop pid 102
            - start generation 1 of b on port 8101
    -- 1.000 s
    wait    b: ready(deadline 602.000 s, pid 104)
    -- 2.000 s
    found   b ready(pid 104)
    note    b instance ready
    note    b status running
    -- 2.000 s
    nothing, 2 matching
    ");
}

#[test]
fn a_llama_server_that_is_gone_is_nothing_to_a_model_that_runs() {
    let mut world = World::settled([model("chat")]);
    world.machine.binaries.insert(None, Err("no llama-server on PATH".to_owned()));
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn another_binary_in_the_definition_is_a_restart() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").binary("/opt/llama.cpp/llama-server"));
    assert_snapshot!(world.planned(), @"
    restart chat: field_changed(binary set to /opt/llama.cpp/llama-server, impact restart, models.d/chat.toml:2)
            - record generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    ");
}

#[test]
fn an_accepted_command_line_is_not_checked_again() {
    let mut world = World::settled([model("chat")]);
    world.machine.kill("chat", herdsman::model::FailureCause::Spec, "segmentation fault");
    world.settle();
    assert_eq!(world.checks, 1);
}

#[test]
fn a_server_that_still_loads_is_not_restarted_for_another_llama_server() {
    let mut world = World::new([model("chat").fate("slow")]);
    world.pass();
    world.machine.install("release 2");
    world.limits.upgrade_binary = true;
    assert_snapshot!(world.planned(), @"wait    chat: ready(deadline 600.000 s, pid 101)");
}

#[test]
fn a_model_whose_file_cannot_be_read_is_not_restarted_for_another_llama_server() {
    let mut world = World::settled(["a", "b"].map(model));
    world.spoil("a", None);
    world.machine.install("release 2");
    world.limits.upgrade_binary = true;
    assert_snapshot!(world.planned(), @"
    restart b: binary_changed
            - record generation 1 accepted by release 2
            - stop pid 102
            - start generation 1 of b on port 8101
    wait    a: definition(file models.d/a.toml)
    ");
}

#[test]
fn a_refusal_is_blamed_on_the_line_of_the_option_it_names() {
    // Words as short as "in" are in many a message.
    let definition = |value: &str| model("chat").option("a", "in").option("b_long", "1").option("zeta", value);
    let mut world = World::settled([definition("1")]);
    world.machine.refused.insert("--zeta".to_owned());
    world.define(definition("2x"));
    assert_snapshot!(world.planned(), @"wait    chat: accepted(models.d/chat.toml:4)");
}

#[test]
fn a_definition_whose_llama_server_has_not_answered_waits_alone() {
    let mut world = World::settled(["fork", "gone"].map(model));
    world.withhold("fork");
    world.withhold("new");
    world.remove("gone");
    // Its file can be read, so it is nobody else's.
    assert_snapshot!(world.planned(), @"
    delete  gone: definition_removed(file /models.d/gone.toml)
            - stop pid 102
            - record gone deleted
    wait    fork: binary(pending)
    wait    new: binary(pending)
    ");
    assert!(world.plan().waiting.iter().all(|waiting| waiting.on.kind() == WaitKind::Progressing));
    // What crashes meanwhile comes back as it was.
    world.machine.kill("fork", herdsman::model::FailureCause::Spec, "segmentation fault");
    assert_snapshot!(world.planned(), @"
    found   fork crashed(spec)
    note    instance gone
    note    fork crashes 1
    note    fork status error and why
    start   fork: process_gone(crashes 1, death(cause spec))
            - start generation 1 of fork on port 8100
    delete  gone: definition_removed(file /models.d/gone.toml)
            - stop pid 102
            - record gone deleted
    wait    fork: binary(pending)
    wait    new: binary(pending)
    ");
}
