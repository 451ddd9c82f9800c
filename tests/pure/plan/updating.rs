//! Edits of a definition: what they need, why, and in which order.

use insta::assert_snapshot;

use herdsman::model::FileIdentity;
use herdsman::plan::WaitFor;

use crate::simulated::{Edit, World, model};

#[test]
fn weights_that_changed_just_now_restart_nothing_until_they_have_been_still_for_ten_seconds() {
    let mut world = World::settled([model("chat")]);
    let mut copied = model("chat").new_weights();
    let written_at = world.now.0 * 1_000_000;
    let fresh = |(path, file)| (path, FileIdentity { mtime_ns: written_at, ..file });
    copied.spec.files = copied.spec.files.into_iter().map(fresh).collect();
    world.define(copied);
    let until = world.now.plus(std::time::Duration::from_secs(10));
    for _ in 0..2 {
        let plan = world.plan();
        let on = &plan.waiting[0].on;
        assert_eq!(*on, WaitFor::Weights { file: "/weights/chat.gguf".to_owned(), until });
        assert!(plan.actions.is_empty());
        world.advance(9);
    }
    assert!(world.plan().waiting.is_empty());
    world.settle();
    assert_eq!(world.machine.server("chat").handle.pid(), 102);
}

#[test]
fn weights_dated_in_the_future_are_not_waited_for() {
    let mut world = World::settled([model("chat")]);
    let mut copied = model("chat").new_weights();
    let tomorrow = (world.now.0 + 86_400_000) * 1_000_000;
    let dated = |(path, file)| (path, FileIdentity { mtime_ns: tomorrow, ..file });
    copied.spec.files = copied.spec.files.into_iter().map(dated).collect();
    world.define(copied);
    world.settle();
    assert_eq!(world.machine.server("chat").handle.pid(), 102);
}

#[test]
fn a_field_that_only_the_record_holds_restarts_nothing() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").description("general chat"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    update  chat: field_changed(description set to general chat, impact record, models.d/chat.toml:2)
            - record row again
    -- 0.000 s
    nothing, 1 matching
    ");
    assert_eq!(world.machine.server("chat").handle.pid(), 101);
}

#[test]
fn a_restart_names_every_change_and_the_line_it_stands_on() {
    let before = model("chat").option("ctx_size", "8192").option("threads", "4");
    let mut world = World::settled([before]);
    let after = model("chat").option("ctx_size", "16384").option("temp", "0.7").description("new");
    world.define(after.new_weights());
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: field_changed(ctx_size 8192 -> 16384, impact restart, models.d/chat.toml:2); field_changed(temp set to 0.7, impact restart, models.d/chat.toml:3); field_changed(threads no longer 4, impact restart, models.d/chat.toml); field_changed(file /weights/chat.gguf 1000 bytes of 1970-01-01T00:00:00.000Z, inode 1 -> 1000 bytes of 1970-01-01T00:00:00.000Z, inode 2, impact restart, models.d/chat.toml); field_changed(description set to new, impact record, models.d/chat.toml:4)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    -- 1.000 s
    found   chat ready(pid 102)
    note    chat generation 2 ready
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 1 matching
    ");
}

#[test]
fn an_edit_that_changes_nothing_does_nothing() {
    let mut world = World::settled([model("chat").option("ctx_size", "8192")]);
    world.define(model("chat").stated("ctx_size", "models.d/chat.toml", 99).option("ctx_size", "8192"));
    assert_snapshot!(world.planned(), @"nothing, 1 matching");
}

#[test]
fn a_line_of_the_defaults_restarts_one_model_at_a_time() {
    let defaults = |value: &'static str| ["a", "b", "c"].map(|n| model(n).default_option("threads", value, 4));
    let mut world = World::settled(defaults("4"));
    defaults("8").into_iter().for_each(|d| world.define(d));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart a: field_changed(threads 4 -> 8, impact restart, models.d/_defaults.toml:4)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of a on port 8100
    wait    b: restart_slot(other a)
    wait    c: restart_slot(other a)
    -- 0.000 s
    wait    a: ready(deadline 601.000 s, pid 104)
    wait    b: restart_slot(other a)
    wait    c: restart_slot(other a)
    -- 1.000 s
    found   a ready(pid 104)
    note    a generation 2 ready
    note    a instance ready
    note    a status running
    restart b: field_changed(threads 4 -> 8, impact restart, models.d/_defaults.toml:4)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 102
            - start generation 2 of b on port 8101
    wait    c: restart_slot(other b)
    -- 1.000 s
    wait    b: ready(deadline 602.000 s, pid 105)
    wait    c: restart_slot(other b)
    -- 2.000 s
    found   b ready(pid 105)
    note    b generation 2 ready
    note    b instance ready
    note    b status running
    restart c: field_changed(threads 4 -> 8, impact restart, models.d/_defaults.toml:4)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 103
            - start generation 2 of c on port 8102
    -- 2.000 s
    wait    c: ready(deadline 603.000 s, pid 106)
    -- 3.000 s
    found   c ready(pid 106)
    note    c generation 2 ready
    note    c instance ready
    note    c status running
    -- 3.000 s
    nothing, 3 matching
    ");
}

#[test]
fn siblings_of_a_failed_restart_keep_serving_what_they_serve() {
    let defaults = |word: &'static str| ["a", "b", "c"].map(|n| model(n).default_option("fate", word, 4));
    let mut world = World::settled(defaults("ready"));
    defaults("dies").into_iter().for_each(|d| world.define(d));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart a: field_changed(fate ready -> dies, impact restart, models.d/_defaults.toml:4)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of a on port 8100
    wait    b: restart_slot(other a)
    wait    c: restart_slot(other a)
    -- 0.000 s
    wait    a: ready(deadline 601.000 s, pid 104)
    wait    b: restart_slot(other a)
    wait    c: restart_slot(other a)
    -- 1.000 s
    found   a start_failed(spec)
    note    instance gone
    note    a generation 2 failed(spec)
    note    a crashes 0
    note    a status error and why
    start   a: rolled_back(failed 2, to 1)
            - start generation 1 of a on port 8100
    wait    a: edit(generation 2, serving 1)
    wait    b: sibling(models.d/_defaults.toml:4, other a)
    wait    c: sibling(models.d/_defaults.toml:4, other a)
    -- 1.000 s
    note    a status loading and why
    wait    a: edit(generation 2, serving 1)
    wait    a: ready(deadline 602.000 s, pid 105)
    wait    b: sibling(models.d/_defaults.toml:4, other a)
    wait    c: sibling(models.d/_defaults.toml:4, other a)
    -- 1.000 s
    wait    a: edit(generation 2, serving 1)
    wait    a: ready(deadline 602.000 s, pid 105)
    wait    b: sibling(models.d/_defaults.toml:4, other a)
    wait    c: sibling(models.d/_defaults.toml:4, other a)
    -- 2.000 s
    found   a ready(pid 105)
    note    a instance ready
    note    a status running and why
    wait    a: edit(generation 2, serving 1)
    wait    b: sibling(models.d/_defaults.toml:4, other a)
    wait    c: sibling(models.d/_defaults.toml:4, other a)
    -- 2.000 s
    wait    a: edit(generation 2, serving 1)
    wait    b: sibling(models.d/_defaults.toml:4, other a)
    wait    c: sibling(models.d/_defaults.toml:4, other a)
    ");
}

#[test]
fn an_old_crash_does_not_make_a_restart_that_loads_a_failed_one() {
    let defaults = |value: &'static str| ["a", "b"].map(|n| model(n).default_option("threads", value, 4));
    let mut world = World::settled(defaults("4"));
    world.machine.kill("a", herdsman::model::FailureCause::Spec, "segmentation fault");
    world.settle();
    defaults("8").into_iter().for_each(|d| world.define(d));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart a: field_changed(threads 4 -> 8, impact restart, models.d/_defaults.toml:4)
            - record row again, generation 2, a crashes 0, generation 2 accepted by release 1
            - stop pid 103
            - start generation 2 of a on port 8100
    wait    b: restart_slot(other a)
    -- 0.000 s
    wait    a: ready(deadline 602.000 s, pid 104)
    wait    b: restart_slot(other a)
    -- 1.000 s
    found   a ready(pid 104)
    note    a generation 2 ready
    note    a instance ready
    note    a status running
    restart b: field_changed(threads 4 -> 8, impact restart, models.d/_defaults.toml:4)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 102
            - start generation 2 of b on port 8101
    -- 1.000 s
    wait    b: ready(deadline 603.000 s, pid 105)
    -- 2.000 s
    found   b ready(pid 105)
    note    b generation 2 ready
    note    b instance ready
    note    b status running
    -- 2.000 s
    nothing, 2 matching
    ");
}

#[test]
fn an_edit_did_not_fail_on_a_model_that_it_stops() {
    let defaults = |value: &'static str| ["a", "b"].map(|n| model(n).default_option("threads", value, 4));
    let mut world = World::settled(defaults("4"));
    world.machine.kill("a", herdsman::model::FailureCause::Spec, "segmentation fault");
    world.settle();
    let [a, b] = defaults("8");
    world.define(a.stopped());
    world.settle();
    // Found by chaos: b's turn came later, and it waited for ever for an edit of
    // a, which had crashed before.
    world.define(b);
    world.settle();
    assert_eq!(world.planned().trim_end(), "nothing, 2 matching");
}

#[test]
fn a_stopped_model_is_started_when_its_definition_says_so_and_the_reverse() {
    let mut world = World::settled([model("chat").stopped()]);
    world.define(model("chat"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    start   chat: state_wanted(models.d/chat.toml, state running)
            - record row again, chat port 8100, generation 1 accepted by release 1
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
    world.define(model("chat").stopped());
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    chat: state_wanted(models.d/chat.toml:2, state stopped)
            - record row again
            - stop pid 101
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn weights_that_have_been_still_for_long_enough_are_acted_on_at_that_moment() {
    let mut world = World::settled([model("chat")]);
    let mut copied = model("chat").new_weights();
    let written_at = world.now.0 * 1_000_000;
    let fresh = |(path, file)| (path, FileIdentity { mtime_ns: written_at, ..file });
    copied.spec.files = copied.spec.files.into_iter().map(fresh).collect();
    world.define(copied);
    world.advance(10);
    assert!(world.plan().waiting.is_empty());
}

#[test]
fn a_value_that_serves_the_same_as_another_type_is_recorded_and_told() {
    let mut world = World::settled([model("chat").option("ctx_size", "8192")]);
    let mut edited = model("chat").option("ctx_size", "8192");
    edited.parameters.insert("ctx_size".into(), 8192.into());
    edited.parameters.insert("threads".into(), 4.into());
    world.define(edited);
    assert_snapshot!(world.story(), @r#"
    -- 0.000 s
    update  chat: field_changed(ctx_size "8192" -> 8192, impact record, models.d/chat.toml:2); field_changed(threads set to 4, impact record, models.d/chat.toml)
            - record row again
    -- 0.000 s
    nothing, 1 matching
    "#);
}

#[test]
fn an_edit_that_fails_for_the_world_holds_its_siblings_back() {
    let defaults = |value: &'static str| ["a", "b"].map(|n| model(n).default_option("threads", value, 4));
    let mut world = World::settled(defaults("4"));
    defaults("8").into_iter().for_each(|d| world.define(d));
    world.pass();
    world.machine.kill("a", herdsman::model::FailureCause::NoMemory, "out of memory");
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    found   a start_failed(no_memory)
    note    instance gone
    note    a crashes 1
    note    a status error and why
    wait    a: backoff(crashes 1, until 2.000 s)
    wait    b: sibling(models.d/_defaults.toml:4, other a)
    ");
}

#[test]
fn an_edit_did_not_fail_on_a_model_that_ran_on_it_and_crashed_later() {
    let defaults = |value: &'static str| ["a", "b"].map(|n| model(n).default_option("threads", value, 4));
    let mut world = World::settled(defaults("4"));
    let [a, b] = defaults("8");
    world.define(a);
    world.settle();
    world.machine.kill("a", herdsman::model::FailureCause::Spec, "segmentation fault");
    world.settle();
    world.define(b);
    assert_snapshot!(world.planned(), @"
    restart b: field_changed(threads 4 -> 8, impact restart, models.d/_defaults.toml:4)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 102
            - start generation 2 of b on port 8101
    ");
}

#[test]
fn siblings_share_a_line_and_not_a_whole_file() {
    let defaults = |word: &'static str| ["a", "b"].map(|n| model(n).default_option("fate", word, 0));
    let mut world = World::settled(defaults("ready"));
    let [a, b] = defaults("dies");
    world.define(a);
    world.settle();
    world.define(b);
    assert_snapshot!(world.planned(), @"
    restart b: field_changed(fate ready -> dies, impact restart, models.d/_defaults.toml)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 102
            - start generation 2 of b on port 8101
    wait    a: edit(generation 2, serving 1)
    ");
}
