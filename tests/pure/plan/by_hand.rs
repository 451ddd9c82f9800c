//! Suspensions: nothing is done to the model, and what happens to it is seen.

use std::time::Duration;

use insta::assert_snapshot;

use herdsman::model::{Busy, FailureCause};
use herdsman::pass::Goal;
use herdsman::plan::{Command, Refusal};

use crate::simulated::{Edit, World, model};

const SUSPEND: Command = Command::Suspend(None);

fn suspended(definitions: impl IntoIterator<Item = herdsman::model::Definition>) -> World {
    let mut world = World::settled(definitions);
    world.by_hand("chat", SUSPEND).unwrap();
    world
}

#[test]
fn an_edit_of_a_suspended_model_waits_until_it_is_resumed() {
    let mut world = suspended([model("chat"), model("other")]);
    world.define(model("chat").option("ctx_size", "16384"));
    world.define(model("other").option("ctx_size", "16384"));
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart other: field_changed(ctx_size set to 16384, impact restart, models.d/other.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 102
            - start generation 2 of other on port 8101
    wait    chat: suspended(by ann, edited)
    -- 0.000 s
    wait    chat: suspended(by ann, edited)
    wait    other: ready(deadline 601.000 s, pid 103)
    -- 1.000 s
    found   other ready(pid 103)
    note    other generation 2 ready
    note    other instance ready
    note    other status running
    wait    chat: suspended(by ann, edited)
    -- 1.000 s
    wait    chat: suspended(by ann, edited)
    ");
    world.by_hand("chat", Command::Resume).unwrap();
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    restart chat: field_changed(ctx_size set to 16384, impact restart, models.d/chat.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    ");
}

#[test]
fn a_suspension_is_over_when_its_time_is() {
    let mut world = World::settled([model("chat")]);
    world.by_hand("chat", Command::Suspend(Some(Duration::from_secs(7200)))).unwrap();
    world.define(model("chat").option("ctx_size", "16384"));
    assert_snapshot!(world.story_of(4), @"
    -- 0.000 s
    wait    chat: suspended(by ann, edited, until 7201.000 s)
    -- 7200.000 s
    note    chat suspended by hand is over
    note    chat instance ready
    restart chat: field_changed(ctx_size set to 16384, impact restart, models.d/chat.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of chat on port 8100
    -- 7200.000 s
    wait    chat: ready(deadline 7801.000 s, pid 102)
    -- 7201.000 s
    found   chat ready(pid 102)
    note    chat generation 2 ready
    note    chat instance ready
    note    chat status running
    ");
    // A clock that is set back does not make two hours of it three.
    world.settle();
    world.by_hand("chat", Command::Suspend(Some(Duration::from_secs(7200)))).unwrap();
    world.set_clock(-3_600_000);
    world.settle();
    let suspended = world.store.overrides(&crate::simulated::name("chat")).suspended;
    assert!(suspended.is_none(), "{suspended:?}");
}

#[test]
fn a_crash_of_a_suspended_model_is_seen_and_it_is_started_after_that() {
    let mut world = suspended([model("chat")]);
    let id = world.machine.server("chat").id.clone();
    world.machine.die(&id, FailureCause::NoMemory, "killed");
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    found   chat crashed(no_memory)
    note    instance gone
    note    chat crashes 1
    note    chat status error and why
    wait    chat: suspended(by ann, missing)
    -- 0.000 s
    wait    chat: suspended(by ann, missing)
    ");
    world.advance(60);
    world.by_hand("chat", Command::Resume).unwrap();
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    start   chat: process_gone(crashes 1)
            - start generation 1 of chat on port 8100
    ");
}

#[test]
fn one_that_is_loading_becomes_ready_or_is_given_up_after_the_suspension() {
    for fate in ["ready", "hangs"] {
        let mut world = World::new([model("chat").fate(fate).ready_timeout(20)]);
        world.pass();
        world.by_hand("chat", SUSPEND).unwrap();
        world.advance(60);
        let pid = world.machine.server("chat").handle.pid();
        world.pass();
        world.pass();
        assert_eq!(world.machine.server("chat").handle.pid(), pid);
        world.by_hand("chat", Command::Resume).unwrap();
        let text = world.planned();
        assert_eq!(text.contains("stop    chat: not_ready_in_time"), fate == "hangs", "{text}");
    }
}

#[test]
fn a_drain_is_called_off_and_begins_anew_after_the_suspension() {
    let mut world = World::settled([model("chat").drain(30)]);
    world.machine.server("chat").busy = Busy::Yes(1);
    world.define(model("chat").drain(30).option("ctx_size", "16384"));
    world.pass();
    world.advance(20);
    world.by_hand("chat", SUSPEND).unwrap();
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat instance ready
    wait    chat: suspended(by ann, edited)
    -- 0.000 s
    wait    chat: suspended(by ann, edited)
    ");
    world.advance(3600);
    world.by_hand("chat", Command::Resume).unwrap();
    assert_snapshot!(world.story_of(3), @"
    -- 0.000 s
    note    chat instance ready
    restart chat: field_changed(ctx_size set to 16384, impact restart, models.d/chat.toml:2)
            - record chat instance draining until 3651.000 s
    -- 0.000 s
    wait    chat: drain(busy 1, deadline 3651.000 s)
    -- 30.000 s
    restart chat: field_changed(ctx_size set to 16384, impact restart, models.d/chat.toml:2)
            - stop pid 101
            - start generation 2 of chat on port 8100
    ");
}

#[test]
fn a_deleted_definition_of_a_suspended_model_is_shown_and_counts_for_the_guard() {
    let mut world = suspended(["chat", "b", "c", "d"].map(model));
    world.remove("chat");
    assert_snapshot!(world.planned(), @"wait    chat: suspended(by ann, removed)");
    // Two of four are no reason to refuse, three are.
    world.remove("b");
    assert_snapshot!(world.planned(), @"
    delete  b: definition_removed(file models.d/b.toml)
            - stop pid 101
            - record b deleted
    wait    chat: suspended(by ann, removed)
    ");
    world.remove("c");
    assert_snapshot!(world.planned(), @"
    wait    b: guard
    wait    c: guard
    wait    chat: suspended(by ann, removed)
    refused: delete 2 of 4: b, c
    ");
    world.define(model("c"));
    world.settle();
    world.by_hand("chat", Command::Resume).unwrap();
    world.settle();
    assert!(!world.store.records().models.contains_key("chat"));
    assert!(world.store.records().overrides.is_empty());
}

#[test]
fn down_leaves_a_suspended_model_alone() {
    let mut world = suspended([model("chat"), model("other")]);
    world.goal = Goal::Down;
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    other: down
            - stop pid 102
    wait    chat: suspended(by ann)
    -- 0.000 s
    wait    chat: suspended(by ann)
    ");
    assert_eq!(world.machine.servers.len(), 1);
}

#[test]
fn what_was_asked_for_again_without_a_reason_keeps_the_one_it_had() {
    let reason = |world: &World| {
        let overrides = world.store.overrides(&crate::simulated::name("chat"));
        let given = overrides.suspended.map(|s| s.given).or_else(|| overrides.state.map(|s| s.given));
        given.and_then(|given| given.because)
    };
    for command in [SUSPEND, Command::Stop] {
        let mut world = World::settled([model("chat")]);
        world.by_hand_because("chat", command, Some("new driver")).unwrap();
        world.by_hand("chat", command).unwrap();
        assert_eq!(reason(&world).as_deref(), Some("new driver"), "{command:?}");
    }
    let mut world = suspended([model("chat")]);
    world.by_hand_because("chat", SUSPEND, Some("new driver")).unwrap();
    world.by_hand_because("chat", SUSPEND, Some("noise")).unwrap();
    assert_eq!(reason(&world).as_deref(), Some("noise"));
    world.by_hand_because("chat", Command::Suspend(Some(Duration::from_secs(60))), Some("a minute")).unwrap();
    world.advance(60);
    world.by_hand("chat", SUSPEND).unwrap();
    assert_eq!(reason(&world), None, "one that is over has no reason left");
}

#[test]
fn what_is_edited_of_a_suspended_model_is_told() {
    type Edited = fn() -> herdsman::model::Definition;
    let edits: [(&str, Edited, &str); 4] = [
        ("option", || model("chat").option("ctx_size", "16384"), "suspended(by ann, edited)"),
        ("description", || model("chat").description("new"), "suspended(by ann, edited)"),
        ("state", || model("chat").stopped(), "suspended(by ann, edited)"),
        ("nothing", || model("chat"), "suspended(by ann)"),
    ];
    for (what, edited, shown) in edits {
        let mut world = suspended([model("chat")]);
        world.define(edited());
        assert!(world.planned().contains(shown), "{what}: {}", world.planned());
    }
    // What stands in for a failed generation stays as it is.
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").fate("dies"));
    world.settle();
    world.by_hand("chat", SUSPEND).unwrap();
    assert!(!world.planned().contains("edited"), "{}", world.planned());
    world.spoil("chat", Some("chat"));
    assert!(!world.planned().contains("edited"), "{}", world.planned());
}

#[test]
fn one_that_is_not_recorded_yet_is_not_created() {
    let mut world = World::new([model("chat")]);
    world.by_hand("chat", SUSPEND).unwrap();
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    wait    chat: suspended(by ann, missing)
    ");
    world.remove("chat");
    assert_eq!(world.by_hand("chat", Command::Resume), Ok(()), "it is still suspended");
    assert_snapshot!(world.story(), @r"
    -- 0.000 s
    nothing, 0 matching
    ");
    assert_eq!(world.by_hand("chat", Command::Resume), Err(Refusal::Unknown));
}

#[test]
fn a_suspended_model_that_was_being_stopped_is_finished_with_after_that() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").stopped());
    // Recorded as stopping; herdsman dies before the stop.
    world.kill_after = Some(1);
    assert!(world.try_pass().is_err());
    world.kill_after = None;
    world.by_hand("chat", SUSPEND).unwrap();
    world.settle();
    assert_eq!(world.machine.servers.len(), 1);
    world.by_hand("chat", Command::Resume).unwrap();
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    stop    chat: state_wanted(models.d/chat.toml:2, state stopped)
            - stop pid 101
    ");
}

#[test]
fn who_is_named_wrongly_is_told() {
    let mut world = World::settled([model("chat"), model("idle").stopped()]);
    world.store.add_row("hand-made");
    for command in [SUSPEND, Command::Resume, Command::Stop] {
        assert_eq!(world.by_hand("chatt", command), Err(Refusal::Unknown));
        assert_eq!(world.by_hand("hand-made", command), Err(Refusal::Unmanaged));
    }
    assert_eq!(world.by_hand("idle", Command::Restart), Err(Refusal::NotToRun));
    let events = world.store.events.len();
    assert_eq!(world.by_hand("chat", Command::Resume), Ok(()), "nothing is to be resumed");
    assert_eq!(world.store.events.len(), events);
    world.by_hand("chat", SUSPEND).unwrap();
    for command in [Command::Start, Command::Stop, Command::Restart] {
        assert_eq!(world.by_hand("chat", command), Err(Refusal::Suspended { by: "ann".to_owned() }));
    }
    world.by_hand("chat", Command::Resume).unwrap();
    world.remove("chat");
    assert_eq!(world.by_hand("chat", Command::Stop), Err(Refusal::Removed));
    world.spoil("chat", Some("chat"));
    assert!(matches!(world.by_hand("chat", Command::Restart), Err(Refusal::Unresolved { .. })));
    assert_eq!(world.by_hand("chat", SUSPEND), Ok(()), "hands are taken off whatever the file says");
}
