//! Where the requests for each model go after a pass, in the simulated world.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use herdsman::model::{Busy, FailureCause};
use herdsman::pass::Pass;
use herdsman::pass::next::looks;
use herdsman::plan::Command;
use herdsman::serve::gateway::publish::{Known, routes};
use herdsman::serve::gateway::{Routes, Standing};
use insta::assert_snapshot;

use crate::simulated::{Edit, World, model};

/// Each model's standing.
fn standings(pass: &Pass) -> String {
    let mut out = String::new();
    for route in routes(pass, |_| Known::default()) {
        let standing = match &route.standing {
            Standing::Ready(backend) => format!("ready: generation {}", backend.generation),
            Standing::Coming => "waits".to_owned(),
            Standing::OnDemand => "starts".to_owned(),
            Standing::Unavailable(why) => format!("fails: {why}"),
        };
        // What time it is depends on where the test runs.
        let word = |word: &'_ str| if word.matches(':').count() > 1 { "TIME".to_owned() } else { word.to_owned() };
        let standing: Vec<String> = standing.split(' ').map(word).collect();
        let _ = writeln!(out, "{}: {}", route.model, standing.join(" "));
    }
    out
}

#[test]
fn a_start_an_edit_and_a_crash_cost_waiting_time() {
    let mut world = World::new([model("chat")]).with_gateway();
    assert_eq!(standings(&world.pass()), "chat: waits\n", "it is about to start");
    world.settle();
    world.advance(1);
    assert_eq!(standings(&world.pass()), "chat: ready: generation 1\n");
    world.machine.server("chat").busy = Busy::Yes(1);
    world.define(model("chat").option("ctx_size", "2"));
    assert_eq!(standings(&world.pass()), "chat: waits\n", "this pass begins to drain it");
    assert_eq!(standings(&world.pass()), "chat: waits\n", "it drains");
    world.machine.server("chat").busy = Busy::No;
    world.settle();
    world.advance(1);
    assert_eq!(standings(&world.pass()), "chat: ready: generation 2\n");
    world.machine.kill("chat", FailureCause::NoMemory, "out of memory");
    assert_eq!(standings(&world.pass()), "chat: waits\n");
}

#[test]
fn a_server_that_drains_stops_and_does_not_start() {
    let mut world = World::new([model("chat").on_demand().stop_after(Some(90)), model("always")]).with_gateway();
    let about = |pass: &Pass, name: &str| {
        let mut routes = routes(pass, |_| Known::default()).into_iter();
        routes.find(|route| route.model.as_str() == name).unwrap().about
    };
    world.pass();
    let pass = world.pass();
    assert_eq!([about(&pass, "chat").ttl, about(&pass, "always").ttl], [90, 0]);
    assert!(!about(&pass, "always").is_stopping, "it loads");
    world.ask("chat", 1);
    let pass = world.pass();
    let command = about(&pass, "chat").command;
    assert!(!about(&pass, "chat").is_stopping && command[0].starts_with('/'), "{command:?}");
    for _ in 0..3 {
        world.advance(1);
        world.pass();
    }
    world.ask("chat", 0);
    world.traffic("chat").last_used = Some(world.now);
    world.machine.server("chat").busy = Busy::Yes(1);
    world.define(model("chat").on_demand().option("ctx_size", "2"));
    for what in ["this pass begins to drain it", "it drains"] {
        assert!(about(&world.pass(), "chat").is_stopping, "{what}");
    }
    world.machine.server("chat").busy = Busy::No;
    world.settle();
    world.advance(1);
    let about = about(&world.pass(), "chat");
    assert!(!about.is_stopping && about.ttl == 600, "{about:?}");
}

#[test]
fn what_runs_keeps_serving_whatever_its_definition_says_by_now() {
    let mut world = World::settled(["broken", "left", "plain"].map(model)).with_gateway();
    world.by_hand("left", Command::Suspend(Some(Duration::from_secs(7200)))).unwrap();
    world.spoil("broken", Some("broken"));
    world.spoil("new", Some("new"));
    assert_snapshot!(standings(&world.pass()), @"
    broken: ready: generation 1
    left: ready: generation 1
    new: fails: left unchanged: models.d/new.toml: expected `=`
    plain: ready: generation 1
    ");
    world.machine.kill("left", FailureCause::NoMemory, "out of memory");
    world.machine.kill("broken", FailureCause::NoMemory, "out of memory");
    assert_snapshot!(standings(&world.pass()), @"
    broken: waits
    left: fails: suspended until TIME (in 2h 0m) or `herdsman resume` (ann, just now); it is not running, and resuming starts it
    new: fails: left unchanged: models.d/new.toml: expected `=`
    plain: ready: generation 1
    ");
}

#[test]
fn what_is_stopped_or_cannot_start_fails_with_the_reason() {
    let definitions =
        [model("cold").on_demand(), model("declared").stopped(), model("hand"), model("dies").fate("dies")];
    let mut world = World::new(definitions).with_gateway();
    let passes = |world: &mut World| {
        for _ in 0..8 {
            world.pass();
            world.advance(1);
        }
    };
    world.pass();
    assert!(standings(&world.pass()).contains("dies: waits"), "one failure may be bad luck");
    passes(&mut world);
    world.by_hand("hand", Command::Stop).unwrap();
    passes(&mut world);
    assert_snapshot!(standings(&world.pass()), @"
    cold: starts
    declared: fails: it is declared stopped (models.d/declared.toml:2)
    dies: fails: failed to start 5 times in a row, next try in 15 s (at TIME invalid magic characters
    hand: fails: stopped by hand until `herdsman start` or an edit of its definition (ann, 8.0 s ago)
    ");
}

#[test]
fn one_on_demand_whose_file_cannot_be_used_starts_if_it_is_recorded() {
    let mut world = World::new([model("chat").on_demand(), model("member").on_demand().group("chat")]).with_gateway();
    world.group("chat", 1);
    world.settle();
    world.spoil("chat", Some("chat"));
    world.spoil("member", Some("member"));
    world.spoil("new", Some("new"));
    assert_snapshot!(standings(&world.pass()), @"
    chat: starts
    member: starts
    new: fails: left unchanged: models.d/new.toml: expected `=`
    ");
    world.ask("chat", 1);
    assert!(standings(&world.pass()).contains("chat: waits"));
    world.ask("chat", 0);
    // Nobody knows how much room there is.
    world.desired.groups.clear();
    for waiting in [0, 1] {
        world.ask("member", waiting);
        assert!(standings(&world.pass()).contains("member: fails: models.d/member.toml: expected `=`"));
    }
}

#[test]
fn who_does_not_give_way_is_not_said() {
    let holder = model("secret").group("gpu").never_evicted();
    let mut world = World::new([model("chat").on_demand().group("gpu"), holder]).with_gateway();
    world.group("gpu", 1);
    world.settle();
    world.advance(1);
    world.ask("chat", 1);
    assert_snapshot!(standings(&world.pass()), @"
    chat: fails: no room in group gpu: its members never stop for it; stop one or raise max_running
    secret: ready: generation 1
    ");
}

#[test]
fn what_would_not_start_fails_although_nobody_asks_for_it() {
    let forbidden = model("forbidden").on_demand().option("rpc", "here");
    let taken = model("taken").on_demand().port(8300);
    let odd = model("odd").on_demand().option("threads", "many");
    let mut world = World::new([model("cold").on_demand(), forbidden, odd, taken]).with_gateway();
    world.machine.forbidden.insert("rpc".to_owned());
    world.machine.refused.insert("many".to_owned());
    world.machine.foreign.insert("/models.d/taken.toml".to_owned(), ("other".to_owned(), 7));
    world.settle();
    let pass = world.pass();
    assert!(pass.plan.is_empty() && pass.plan.matching == 4, "all of them match: {}", world.planned());
    assert_snapshot!(standings(&pass), @"
    cold: starts
    forbidden: fails: the policy does not allow `rpc`
    odd: fails: error: invalid argument: many (models.d/odd.toml:3)
    taken: fails: pid 7 serves this definition for another state directory; stop it there first
    ");
    let checks = world.checks;
    world.pass();
    assert_eq!(world.checks - checks, 1, "what llama-server accepts is recorded");
    (world.machine.forbidden, world.machine.refused, world.machine.foreign) = Default::default();
    assert_snapshot!(standings(&world.pass()), @"
    cold: starts
    forbidden: starts
    odd: starts
    taken: starts
    ");
}

#[test]
fn one_that_failed_to_start_can_be_asked_for_again_once_its_delay_is_over() {
    let mut world = World::new([model("dies").on_demand().fate("dies")]).with_gateway();
    world.settle();
    world.ask("dies", 1);
    for _ in 0..8 {
        world.pass();
        world.advance(1);
    }
    world.ask("dies", 0);
    let pass = world.pass();
    assert_snapshot!(standings(&pass), @"dies: fails: failed to start 4 times in a row, can start again in 7.0 s (at TIME invalid magic characters");
    let after = looks(&pass).map(|(_, after)| after).min().unwrap();
    world.advance_ms(u64::try_from(after.as_millis()).unwrap());
    assert_eq!(standings(&world.pass()), "dies: starts\n");
}

#[test]
fn a_file_that_cannot_be_used_takes_no_name_from_a_recorded_model() {
    let alias = |name: &str, alias: &str| {
        let mut definition = model(name);
        definition.aliases.push(alias.to_owned());
        definition
    };
    let mut world = World::settled([alias("always", "gpt"), alias("cold", "claude").on_demand()]).with_gateway();
    // The new files are called as the old ones' aliases, so none of the four can be used.
    for name in ["always", "claude", "cold", "gpt", "other"] {
        world.spoil(name, Some(name));
    }
    let pass = world.pass();
    assert_snapshot!(standings(&pass), @"
    always: ready: generation 1
    cold: starts
    other: fails: left unchanged: models.d/other.toml: expected `=`
    ");
    let routes = Routes::new(Instant::now(), routes(&pass, |_| Known::default()));
    let found = ["always", "gpt", "cold", "claude"].map(|name| routes.find(name).unwrap().model.to_string());
    assert_eq!(found, ["always", "always", "cold", "cold"]);
}

#[test]
fn one_on_demand_can_be_unloaded_after_a_start_by_hand() {
    let mut world = World::new([model("chat").on_demand(), model("always")]).with_gateway();
    world.settle();
    let on_demand = |world: &mut World| {
        let all = routes(&world.pass(), |_| Known::default());
        all.iter().filter(|route| route.on_demand).map(|route| route.model.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(on_demand(&mut world), ["chat"]);
    for (command, expected) in [(Command::Start, &["chat"][..]), (Command::Stop, &[])] {
        world.by_hand("chat", command).unwrap();
        world.settle();
        assert_eq!(on_demand(&mut world), expected, "{command:?}");
    }
}

#[test]
fn while_a_model_is_asked_for_it_is_looked_at_when_it_could_be_idle() {
    let mut world = World::new([model("chat").on_demand()]).with_gateway();
    world.settle();
    let after = |pass: &Pass| looks(pass).map(|(_, after)| after).min();
    assert_eq!(after(&world.pass()), None);
    world.ask("chat", 1);
    for _ in 0..3 {
        world.pass();
        world.advance(1);
    }
    assert_eq!(after(&world.pass()), Some(Duration::from_secs(600)), "nothing rings when its last request ends");
}

#[test]
fn a_model_that_runs_only_by_hand_may_be_unloaded() {
    let mut world = World::new([model("chat").stopped(), model("always")]).with_gateway();
    world.settle();
    let unloads = |world: &mut World| {
        let pass = world.pass();
        routes(&pass, |_| Known::default()).iter().map(herdsman::serve::gateway::Route::unloads).collect::<Vec<_>>()
    };
    assert_eq!(unloads(&mut world), [false, false]);
    world.by_hand("chat", Command::Start).unwrap();
    world.settle();
    assert_eq!(unloads(&mut world), [false, true], "in order of name: always, chat");
}
