//! The view of a pass: what it answers for every model, in the simulated world.

use std::fmt::Write as _;
use std::time::Duration;

use herdsman::model::{Busy, FailureCause};
use herdsman::pass::{Goal, Pass};
use herdsman::plan::Command;
use herdsman::view::{Drift, ModelView, View};
use insta::assert_snapshot;

use crate::simulated::{Edit, World, model, name, show::clock, variant};

/// Everything a view answers, but for prose.
fn shown(pass: &Pass) -> String {
    let view = View::of(pass);
    let mut out: String = view.models().map(|model| one(model, &view)).collect();
    let _ = writeln!(out, "{}", view.totals.with_names());
    out
}

fn one(model: &ModelView<'_>, view: &View<'_>) -> String {
    let mut out = format!("{}: {}", model.name, model.status.as_str());
    let mut add = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(out, ", {what} {value}");
        }
    };
    add("wanted", model.wanted.state().map(|state| state.as_str().to_owned()));
    add("declared", model.wanted.declared.map(|state| state.as_str().to_owned()));
    add("generation", Some(model.generation().to_string()));
    add("serving", model.serving().map(|number| number.to_string()));
    add("pid", model.pid().map(|pid| pid.to_string()));
    add("port", model.port().map(|port| port.to_string()));
    add("url", model.url());
    add("up", model.uptime(view.now).map(|up| format!("{} s", up.as_secs())));
    add("file", model.file().map(str::to_owned));
    add("origin", model.origin().map(|origin| origin.to_string()));
    add("deadline", model.deadline().map(clock));
    add("next try", model.next_try().map(clock));
    add("crashes", Some(model.crashes.count.to_string()).filter(|count| count != "0"));
    add("failed of", model.last_failure().map(|death| format!("{:?}", death.cause)));
    for asked in model.by_hand() {
        add("by hand", Some(format!("{} ({})", asked.what, asked.given)));
    }
    let Drift { columns, deleted } = model.drift();
    columns.iter().for_each(|drift| add("drift of", Some(drift.column.clone())));
    add("deleted row", deleted.map(|id| id.to_string()));
    add("outcome", model.outcome.map(|done| format!("{} {:?}", done.kind.as_str(), done.result)));
    add("as of", model.is_last_known.then(|| "the last record".to_owned()));
    if !model.is_out_of_sync() {
        out.push_str(", in sync");
    }
    for reason in model.reasons() {
        let kind = model.action.map(|action| action.kind.as_str()).unwrap_or_default();
        let _ = write!(out, "\n  {kind}: {}", variant(reason, "reason"));
    }
    for waiting in &model.waits {
        let _ = write!(out, "\n  waits for {}", variant(&waiting.on, "waiting_for"));
    }
    out.push('\n');
    out
}

#[test]
fn a_model_that_matches_its_definition_needs_no_words() {
    let mut world = World::settled([model("chat"), model("spare").stopped()]);
    world.advance(60);
    assert_snapshot!(shown(&world.look()), @"
    chat: running, wanted running, declared running, generation 1, serving 1, pid 101, port 8100, url http://127.0.0.1:8100, up 61 s, file models.d/chat.toml, origin models.d/chat.toml, in sync
    spare: idle, wanted stopped, declared stopped, generation 1, file models.d/spare.toml, origin models.d/spare.toml, in sync
    2 models match their definitions
    ");
}

#[test]
fn a_model_is_loading_until_its_deadline() {
    let mut world = World::new([model("chat").fate("slow")]);
    assert_snapshot!(shown(&world.pass()), @"
    chat: idle, wanted running, declared running, generation 0, file models.d/chat.toml, origin models.d/chat.toml, outcome create Ok(())
      create: definition_added(models.d/chat.toml, state running)
    0 models match their definitions
    ");
    assert_snapshot!(shown(&world.pass()), @"
    chat: loading, wanted running, declared running, generation 1, serving 1, pid 101, port 8100, url http://127.0.0.1:8100, up 0 s, file models.d/chat.toml, origin models.d/chat.toml, deadline 600.000 s
      waits for ready(deadline 600.000 s, pid 101)
    0 models match their definitions, 1 does not (yet): chat
    ");
}

#[test]
fn an_edit_names_its_line_and_a_rollback_names_both_generations() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").fate("dies"));
    assert_snapshot!(shown(&world.look()), @"
    chat: running, wanted running, declared running, generation 1, serving 1, pid 101, port 8100, url http://127.0.0.1:8100, up 1 s, file models.d/chat.toml, origin models.d/chat.toml:2
      restart: field_changed(fate set to dies, impact restart, models.d/chat.toml:2)
    0 models match their definitions
    ");
    world.settle();
    assert_snapshot!(shown(&world.look()), @"
    chat: running, wanted running, declared running, generation 2, serving 1, pid 103, port 8100, url http://127.0.0.1:8100, up 1 s, file models.d/chat.toml, origin models.d/chat.toml:2, failed of Spec
      waits for edit(generation 2, serving 1)
    0 models match their definitions, 1 does not (yet): chat
    ");
}

#[test]
fn a_crash_that_is_not_recorded_yet_counts() {
    let mut world = World::settled([model("chat")]);
    world.machine.kill("chat", FailureCause::NoMemory, "out of memory");
    assert_snapshot!(shown(&world.look()), @"
    chat: error, wanted running, declared running, generation 1, port 8100, file models.d/chat.toml, origin models.d/chat.toml, crashes 1, failed of NoMemory
      start: process_gone(crashes 1, death(cause no_memory))
    0 models match their definitions
    ");
    for _ in 0..3 {
        world.settle();
        world.machine.kill("chat", FailureCause::NoMemory, "out of memory");
    }
    world.pass();
    let pass = world.look();
    assert_snapshot!(shown(&pass), @"
    chat: error, wanted running, declared running, generation 1, port 8100, file models.d/chat.toml, origin models.d/chat.toml, deadline 15.000 s, next try 15.000 s, crashes 4
      waits for backoff(crashes 4, until 15.000 s, was_ready)
    0 models match their definitions, 1 does not (yet): chat
    ");
    let view = View::of(&pass);
    let chat = view.model(&name("chat")).unwrap();
    assert!(chat.waits_in_words(view.now)[0].contains("next try in "), "{:?}", chat.waits_in_words(view.now));
}

#[test]
fn what_somebody_wants_by_hand_is_wanted() {
    let mut world = World::settled(["a", "b", "c", "d"].map(model));
    world.by_hand("a", Command::Suspend(Some(Duration::from_secs(7200)))).unwrap();
    world.define(model("a").option("ctx_size", "2"));
    world.by_hand("b", Command::Stop).unwrap();
    world.machine.server("c").busy = Busy::Yes(1);
    world.by_hand("c", Command::Restart).unwrap();
    world.pass();
    assert_snapshot!(shown(&world.look()), @"
    a: running, wanted running, declared running, generation 1, serving 1, pid 101, port 8100, url http://127.0.0.1:8100, up 1 s, file models.d/a.toml, origin models.d/a.toml, deadline 7201.000 s, by hand suspended (ann), in sync
      waits for suspended(by ann, edited, until 7201.000 s)
    b: idle, wanted stopped, declared running, generation 1, port 8101, file models.d/b.toml, origin models.d/b.toml, by hand stopped (ann), in sync
      waits for state_by_hand(by ann, state stopped)
    c: running, wanted running, declared running, generation 1, serving 1, pid 103, port 8102, url http://127.0.0.1:8102, up 1 s, file models.d/c.toml, origin models.d/c.toml, deadline 31.000 s, by hand restart (ann)
      waits for drain(busy 1, deadline 31.000 s)
    d: running, wanted running, declared running, generation 1, serving 1, pid 104, port 8103, url http://127.0.0.1:8103, up 1 s, file models.d/d.toml, origin models.d/d.toml, in sync
    1 model matches its definition, 1 is suspended, 1 is stopped by hand, 1 does not (yet): c
    ");
}

/// A model that died after somebody stopped it is stopped, and not broken.
#[test]
fn a_model_stopped_by_hand_is_idle_whatever_was_recorded() {
    let mut world = World::settled([model("chat")]);
    world.by_hand("chat", Command::Stop).unwrap();
    world.machine.kill("chat", FailureCause::NoMemory, "out of memory");
    let pass = world.look();
    let view = View::of(&pass);
    assert_eq!(view.model(&name("chat")).unwrap().status.as_str(), "idle");
}

#[test]
fn an_invalid_file_stands_for_the_model_it_names_and_the_one_recorded_from_it() {
    let mut world = World::settled([model("a"), model("b")]);
    world.spoil("a", Some("a"));
    world.spoil("b", None);
    world.spoil("new", Some("new"));
    assert_snapshot!(shown(&world.look()), @"
    a: running, wanted running, declared running, generation 1, serving 1, pid 101, port 8100, url http://127.0.0.1:8100, up 1 s, file models.d/a.toml, origin models.d/a.toml
      waits for definition(file models.d/a.toml)
    b: running, wanted running, declared running, generation 1, serving 1, pid 102, port 8101, url http://127.0.0.1:8101, up 1 s, file models.d/b.toml, origin models.d/b.toml
      waits for definition(file models.d/b.toml)
    new: idle, generation 0, file models.d/new.toml, origin models.d/new.toml
      waits for definition(file models.d/new.toml)
    0 models match their definitions, 3 do not (yet): a, b, new
    ");
}

#[test]
fn drift_is_told_by_column() {
    let mut world = World::settled([model("a"), model("b")]);
    world.store.change_column("a", "ctx_size", "8192", "512");
    world.store.delete_row("b");
    assert_snapshot!(shown(&world.pass()), @"
    a: running, wanted running, declared running, generation 1, serving 1, pid 101, port 8100, url http://127.0.0.1:8100, up 1 s, file models.d/a.toml, origin models.d/a.toml, drift of ctx_size, outcome update Ok(())
      update: row_drift(ctx_size 8192 -> 512)
    b: running, wanted running, declared running, generation 1, serving 1, pid 102, port 8101, url http://127.0.0.1:8101, up 1 s, file models.d/b.toml, origin models.d/b.toml, deleted row 2, outcome update Ok(())
      update: row_deleted(id 2)
    0 models match their definitions
    ");
}

#[test]
fn totals_hold_the_guards_refusal_and_the_rows_of_other_programs() {
    let mut world = World::settled(["a", "b"].map(model));
    world.store.add_row("hand-made");
    world.remove("a");
    world.remove("b");
    let pass = world.look();
    let view = View::of(&pass);
    assert_eq!(view.totals.guard.map(|refusal| refusal.deletions.len()), Some(2));
    assert_eq!(view.totals.unmanaged[0].name, "hand-made");
    assert!(view.model(&name("a")).unwrap().is_managed(), "its record stays");
    assert_eq!(view.totals.to_string(), "0 models match their definitions, 2 do not (yet)");
    assert_eq!(view.totals.with_names(), "0 models match their definitions, 2 do not (yet): a, b");
}

#[test]
fn a_pass_that_stops_everything_follows_no_definition() {
    let mut world = World::settled([model("chat")]);
    world.goal = Goal::Down;
    let pass = world.look();
    assert!(!View::of(&pass).follows_definitions);
    assert_snapshot!(shown(&pass), @"
    chat: running, wanted running, declared running, generation 1, serving 1, pid 101, port 8100, url http://127.0.0.1:8100, up 1 s, origin models.d/chat.toml
      stop: down
    0 models match their definitions
    ");
}
