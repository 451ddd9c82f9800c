//! `start`, `stop` and `restart`: what they do, and what ends them.

use insta::assert_snapshot;

use herdsman::model::{FailureCause, OverrideKind, SecretRef, SecretSource};
use herdsman::pass::Goal;
use herdsman::plan::{Command, Limits, Refusal};

use crate::simulated::{Edit, World, model, name};

fn stopped(definition: herdsman::model::Definition) -> World {
    let mut world = World::settled([definition]);
    world.by_hand("chat", Command::Stop).unwrap();
    world.settle();
    assert!(world.machine.servers.is_empty(), "{}", world.planned());
    world
}

fn runs(world: &World) -> bool {
    world.machine.servers.len() == 1
}

fn is_by_hand(world: &World) -> bool {
    world.store.overrides(&name("chat")).state.is_some()
}

#[test]
fn a_model_is_stopped_by_hand_and_started_again() {
    let mut world = World::settled([model("chat")]);
    world.by_hand("chat", Command::Stop).unwrap();
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    stop    chat: by_hand(by ann)
            - stop pid 101
    wait    chat: state_by_hand(by ann, state stopped)
    -- 0.000 s
    wait    chat: state_by_hand(by ann, state stopped)
    ");
    let events = world.store.events.len();
    world.by_hand("chat", Command::Stop).unwrap();
    assert_eq!(world.store.events.len(), events, "it is stopped already");
    world.by_hand("chat", Command::Start).unwrap();
    assert_snapshot!(world.story_of(2), @"
    -- 0.000 s
    start   chat: not_running
            - start generation 1 of chat on port 8100
    -- 0.000 s
    wait    chat: ready(deadline 601.000 s, pid 102)
    ");
}

#[test]
fn a_start_after_a_stop_by_hand_is_no_restart_after_a_crash() {
    let crashes = |world: &World| world.store.records().models["chat"].crashes.count;
    let mut world = World::settled([model("chat")]);
    world.machine.kill("chat", FailureCause::NoMemory, "killed");
    world.settle();
    assert_eq!(crashes(&world), 1);
    for seen in [true, false] {
        if !seen {
            world.machine.kill("chat", FailureCause::NoMemory, "killed");
        }
        world.by_hand("chat", Command::Stop).unwrap();
        world.pass();
        world.by_hand("chat", Command::Start).unwrap();
        let text = world.planned();
        assert!(text.contains("start   chat: not_running\n"), "crash seen {seen}: {text}");
        world.settle();
        assert_eq!(crashes(&world), 0, "crash seen {seen}");
    }
}

#[test]
fn a_model_declared_stopped_is_started_by_hand_and_stopped_again() {
    let mut world = World::settled([model("chat").stopped()]);
    world.by_hand("chat", Command::Stop).unwrap();
    assert!(!is_by_hand(&world), "it is declared so");
    world.by_hand("chat", Command::Start).unwrap();
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    start   chat: by_hand(by ann)
            - record chat port 8100, generation 1 accepted by release 1
            - start generation 1 of chat on port 8100
    wait    chat: state_by_hand(by ann, state running)
    -- 0.000 s
    wait    chat: state_by_hand(by ann, state running)
    wait    chat: ready(deadline 600.000 s, pid 101)
    -- 1.000 s
    found   chat ready(pid 101)
    note    chat generation 1 ready
    note    chat port 8100 proven
    note    chat instance ready
    note    chat status running
    wait    chat: state_by_hand(by ann, state running)
    -- 1.000 s
    wait    chat: state_by_hand(by ann, state running)
    ");
    // Its crash is answered as that of any other.
    let id = world.machine.server("chat").id.clone();
    world.machine.die(&id, FailureCause::NoMemory, "killed");
    world.settle();
    assert!(runs(&world));
    world.by_hand("chat", Command::Stop).unwrap();
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    note    chat crashes 0
    stop    chat: state_wanted(models.d/chat.toml:2, state stopped)
            - stop pid 102
    -- 0.000 s
    nothing, 1 matching
    ");
}

#[test]
fn what_changes_how_it_is_served_ends_a_stop() {
    type Edited = fn() -> herdsman::model::Definition;
    let edits: [(&str, Edited); 4] = [
        ("option", || model("chat").option("ctx_size", "16384")),
        ("default", || model("chat").default_option("threads", "8", 4)),
        ("drain", || model("chat").drain(7)),
        ("patience", || model("chat").ready_timeout(7)),
    ];
    for (what, edited) in edits {
        let mut world = stopped(model("chat"));
        world.define(edited());
        world.settle();
        assert!(runs(&world) && !is_by_hand(&world), "{what}");
    }
    let mut world = stopped(model("chat"));
    world.define(model("chat").stopped());
    world.settle();
    assert!(!runs(&world) && !is_by_hand(&world), "declared so by now");
    world.define(model("chat"));
    world.settle();
    assert!(runs(&world), "the definition was last");
}

#[test]
fn what_is_only_recorded_or_replaced_in_its_place_ends_no_stop() {
    let secret = |digest: &str| {
        let mut definition = model("chat");
        let secret = SecretRef { source: SecretSource::File("/run/key".to_owned()), digest: digest.to_owned() };
        definition.spec.secrets = [("LLAMA_API_KEY".into(), secret)].into_iter().collect();
        definition
    };
    let mut world = stopped(secret("1"));
    for edited in [secret("1").description("new"), secret("1").new_weights(), secret("2")] {
        world.define(edited);
        assert!(world.planned().contains("state_by_hand(by ann, state stopped)"));
        world.settle();
        assert!(!runs(&world) && is_by_hand(&world), "{}", world.planned());
    }
    world.spoil("chat", Some("chat"));
    world.settle();
    assert!(!runs(&world) && is_by_hand(&world), "a file that cannot be read says nothing");
}

#[test]
fn when_it_stops_and_who_stops_for_it_ends_no_start() {
    let mut world = World::new([model("chat").on_demand()]).with_gateway();
    world.settle();
    world.by_hand("chat", Command::Start).unwrap();
    world.settle();
    let on_demand = || model("chat").on_demand();
    let mut listed = on_demand();
    listed.serve.listed = false;
    let edits = [on_demand().stop_after(Some(1)), on_demand().stop_after(None), on_demand().priority(1), listed];
    for edited in edits {
        world.define(edited.clone());
        world.settle();
        world.advance(3_000);
        world.settle();
        assert!(runs(&world) && is_by_hand(&world), "{:?}: {}", edited.idle, world.planned());
    }
    // Once it is on demand again, the new time counts.
    world.define(on_demand().stop_after(Some(1)));
    world.settle();
    world.define(on_demand().stop_after(Some(1)).drain(7));
    world.settle();
    world.advance(2);
    world.settle();
    assert!(!runs(&world) && !is_by_hand(&world), "{}", world.planned());
}

#[test]
fn one_whose_file_is_broken_is_stopped_until_that_can_be_read_and_started_as_recorded() {
    let mut world = World::settled([model("chat"), model("off").stopped()]);
    world.spoil("chat", Some("chat"));
    world.spoil("off", Some("off"));
    world.by_hand("chat", Command::Stop).unwrap();
    world.settle();
    assert!(!runs(&world) && is_by_hand(&world), "{}", world.planned());
    let events = world.store.events.len();
    world.by_hand("chat", Command::Stop).unwrap();
    assert_eq!(world.store.events.len(), events, "it is stopped already");
    world.by_hand("chat", Command::Start).unwrap();
    world.settle();
    assert!(runs(&world) && !is_by_hand(&world), "{}", world.planned());
    for (name, command) in [("chat", Command::Restart), ("off", Command::Start)] {
        assert!(matches!(world.by_hand(name, command), Err(Refusal::Unresolved { .. })), "{name}");
    }
    world.by_hand("chat", Command::Stop).unwrap();
    world.settle();
    world.define(model("chat"));
    world.settle();
    assert!(runs(&world) && !is_by_hand(&world), "it was restored: {}", world.planned());
}

#[test]
fn one_that_was_started_by_hand_is_stopped_again_although_its_file_is_broken() {
    let mut world = World::settled([model("chat").stopped()]);
    world.by_hand("chat", Command::Start).unwrap();
    world.settle();
    assert!(runs(&world));
    world.spoil("chat", Some("chat"));
    world.by_hand("chat", Command::Stop).unwrap();
    world.settle();
    assert!(!runs(&world), "{}", world.planned());
    world.define(model("chat").stopped());
    world.settle();
    assert!(!runs(&world) && !is_by_hand(&world), "{}", world.planned());
}

#[test]
fn a_server_that_the_database_lost_is_taken_up_and_restarted() {
    let mut world = World::settled([model("chat")]);
    let before = world.machine.server("chat").handle.pid();
    world.lose_database();
    world.by_hand("chat", Command::Restart).unwrap();
    world.settle();
    assert_ne!(world.machine.server("chat").handle.pid(), before);
    assert!(world.store.records().overrides.is_empty());
}

#[test]
fn a_stop_of_before_the_file_broke_lasts_beyond_its_mending() {
    let mut world = stopped(model("chat"));
    world.spoil("chat", Some("chat"));
    world.by_hand("chat", Command::Stop).unwrap();
    world.settle();
    world.define(model("chat"));
    world.settle();
    assert!(!runs(&world) && is_by_hand(&world), "it says what it said: {}", world.planned());
}

#[test]
fn a_stop_with_another_reason_is_recorded_with_that() {
    let mut world = stopped(model("chat"));
    world.by_hand_because("chat", Command::Stop, Some("new driver")).unwrap();
    assert!(
        world.planned().contains("state_by_hand(because new driver, by ann, state stopped)"),
        "{}",
        world.planned()
    );
    world.by_hand("chat", Command::Stop).unwrap();
    assert!(world.planned().contains("(because new driver, by ann,"), "{}", world.planned());
}

#[test]
fn a_deleted_model_takes_what_was_asked_for_with_it() {
    let mut world = stopped(model("chat"));
    world.remove("chat");
    world.settle();
    assert!(world.store.records().overrides.is_empty());
    world.define(model("chat"));
    world.settle();
    assert!(runs(&world), "one of that name is another model");
}

#[test]
fn down_and_a_lost_database_and_a_stop() {
    let mut world = stopped(model("chat"));
    world.goal = Goal::Down;
    world.settle();
    world.goal = Goal::Definitions;
    world.settle();
    assert!(!runs(&world) && is_by_hand(&world), "down is no change of the definition");
    world.lose_database();
    world.settle();
    assert!(runs(&world), "nobody knows of it any more");
}

#[test]
fn a_restart_ends_one_instance_whoever_looks_how_often() {
    let mut world = World::settled([model("chat"), model("other")]);
    world.by_hand("chat", Command::Restart).unwrap();
    world.by_hand("chat", Command::Restart).unwrap();
    // Another model's pass leaves it be.
    world.limits = Limits { targets: [name("other")].into(), ..Limits::default() };
    world.settle();
    assert_eq!(world.machine.server("chat").handle.pid(), 101);
    world.limits = Limits::default();
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: by_hand(by ann)
            - stop pid 101
            - start generation 1 of chat on port 8100
    -- 0.000 s
    note    chat restart by hand is over
    wait    chat: ready(deadline 601.000 s, pid 103)
    -- 0.000 s
    wait    chat: ready(deadline 601.000 s, pid 103)
    -- 1.000 s
    found   chat ready(pid 103)
    note    chat instance ready
    note    chat status running
    -- 1.000 s
    nothing, 2 matching
    ");
    assert!(world.store.records().overrides.is_empty());
    // While it loads, one more is one more.
    world.by_hand("chat", Command::Restart).unwrap();
    world.pass();
    world.by_hand("chat", Command::Restart).unwrap();
    world.settle();
    assert_eq!(world.machine.server("chat").handle.pid(), 105);
}

#[test]
fn a_restart_is_over_once_its_instance_is_gone_however_it_went() {
    type Goes = fn(&mut World);
    let ways: [(&str, Goes); 5] = [
        ("a crash", |world| {
            let id = world.machine.server("chat").id.clone();
            world.machine.die(&id, FailureCause::NoMemory, "killed");
        }),
        ("a reboot", World::reboot),
        ("an edit to one that never becomes ready", |world| {
            world.define(model("chat").fate("hangs").ready_timeout(20));
        }),
        ("a stop", |world| world.by_hand("chat", Command::Stop).unwrap()),
        ("a removal", |world| world.remove("chat")),
    ];
    for (way, goes) in ways {
        let mut world = World::settled([model("chat"), model("other")]);
        world.by_hand("chat", Command::Restart).unwrap();
        goes(&mut world);
        for _ in 0..3 {
            world.pass();
        }
        assert_eq!(world.store.overrides(&name("chat")).restart, None, "{way}: {}", world.planned());
    }
}

#[test]
fn a_restart_of_what_serves_for_a_failed_generation_is_of_that_and_tries_nothing_again() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").fate("dies"));
    world.settle();
    let before = world.machine.server("chat").handle.pid();
    world.by_hand("chat", Command::Restart).unwrap();
    assert_snapshot!(world.story(), @"
    -- 0.000 s
    restart chat: by_hand(by ann)
            - stop pid 103
            - start generation 1 of chat on port 8100
    wait    chat: edit(generation 2, serving 1)
    -- 0.000 s
    note    chat restart by hand is over
    note    chat status loading and why
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 603.000 s, pid 104)
    -- 0.000 s
    wait    chat: edit(generation 2, serving 1)
    wait    chat: ready(deadline 603.000 s, pid 104)
    -- 1.000 s
    found   chat ready(pid 104)
    note    chat instance ready
    note    chat status running and why
    wait    chat: edit(generation 2, serving 1)
    -- 1.000 s
    wait    chat: edit(generation 2, serving 1)
    ");
    assert_ne!(world.machine.server("chat").handle.pid(), before);
    assert!(world.store.records().overrides.is_empty());
}

#[test]
fn a_restart_beside_an_edit_that_goes_back_to_what_serves_is_of_a_new_generation() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").fate("dies"));
    world.settle();
    world.by_hand("chat", Command::Restart).unwrap();
    world.define(model("chat"));
    assert_snapshot!(world.story_of(1), @"
    -- 0.000 s
    note    chat status running
    restart chat: field_changed(fate no longer dies, impact record, models.d/chat.toml); by_hand(by ann)
            - record row again, generation 3, generation 3 accepted by release 1
            - stop pid 103
            - start generation 3 of chat on port 8100
    ");
    world.settle();
    assert_eq!(world.planned(), "nothing, 1 matching\n");
}

#[test]
fn what_nobody_knows_how_to_start_again_is_not_restarted() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").fate("dies").stop_on_failure());
    world.settle();
    assert!(world.machine.servers.is_empty());
    world.stray(&model("chat").option("ctx_size", "1"), 8150);
    world.settle();
    let before = world.machine.server("chat").handle.pid();
    world.by_hand("chat", Command::Restart).unwrap();
    world.settle();
    assert_eq!(world.machine.server("chat").handle.pid(), before);
    assert!(world.store.records().overrides.is_empty(), "and nobody waits for it");
}

#[test]
fn a_restart_in_the_midst_of_requests_drains() {
    let mut world = World::settled([model("chat").drain(30)]);
    world.machine.server("chat").busy = herdsman::model::Busy::Yes(1);
    world.by_hand("chat", Command::Restart).unwrap();
    assert_snapshot!(world.story_of(3), @"
    -- 0.000 s
    restart chat: by_hand(by ann)
            - record chat instance draining until 31.000 s
    -- 0.000 s
    wait    chat: drain(busy 1, deadline 31.000 s)
    -- 30.000 s
    restart chat: by_hand(by ann)
            - stop pid 101
            - start generation 1 of chat on port 8100
    ");
}

#[test]
fn a_restart_of_one_that_crashed_records_nothing_but_that_it_was_asked_for() {
    let mut world = World::settled([model("chat")]);
    let id = world.machine.server("chat").id.clone();
    world.machine.die(&id, FailureCause::NoMemory, "killed");
    let events = world.store.events.len();
    world.by_hand("chat", Command::Restart).unwrap();
    assert_eq!(world.store.overrides(&name("chat")).restart, None);
    let asked: Vec<_> = world.store.events[events..].iter().map(|event| &event.action).collect();
    assert_eq!(asked, ["restart_asked"]);
}

#[test]
fn a_record_of_what_is_over_is_no_harm() {
    let mut world = World::settled([model("chat")]);
    let kinds = [OverrideKind::Suspended, OverrideKind::State, OverrideKind::Restart];
    let end = |kind| herdsman::model::Change::EndOverride { model: name("chat"), kind };
    world.store.commit(&kinds.map(end));
    assert_snapshot!(world.planned(), @"nothing, 1 matching");
}
