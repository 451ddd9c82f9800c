//! What is recorded of a plan that is carried out.

use herdsman::model::{FailureCause, InstanceRecord, Progress};
use herdsman::pass::apply;

use crate::simulated::{Edit, World, model, name};

fn instance(world: &World, model: &str) -> InstanceRecord {
    world.store.records().models[&name(model)].instances[0].clone()
}

#[test]
fn records_a_start_as_of_when_it_was_made() {
    let mut world = World::new([model("chat")]);
    let plan = world.plan();
    // The stops before it took as long.
    world.advance(5);
    apply(&mut world, &plan, "test").unwrap();
    let (now, recorded) = (world.now, instance(&world, "chat"));
    assert_eq!(recorded.started_at, now);
    assert_eq!(recorded.progress, (Progress(0), now));
}

#[test]
fn only_the_beginning_of_a_drain_is_told_as_begun() {
    let mut world = World::settled(["a", "b", "c", "d", "e"].map(model));
    ["a", "b", "c"].into_iter().for_each(|n| world.machine.server(n).busy = herdsman::model::Busy::Yes(1));
    world.define(model("a").option("ctx_size", "2"));
    world.define(model("b").stopped());
    world.remove("c");
    world.define(model("d").stopped());
    world.remove("e");
    world.define(model("f").stopped());
    let begun = |world: &mut World| -> Vec<_> {
        world.pass().outcomes.iter().map(|o| format!("{} {} {}", o.kind.as_str(), o.model, o.only_begun)).collect()
    };
    assert_eq!(
        begun(&mut world),
        ["restart a true", "stop b true", "delete c true", "stop d false", "delete e false", "create f false"]
    );
    world.advance(30);
    assert_eq!(begun(&mut world), ["restart a false", "stop b false", "delete c false"]);
    world.settle();
    // A deletion of what does not run is one transaction, and no beginning.
    world.remove("b");
    assert_eq!(begun(&mut world), ["delete b false"]);
}

#[test]
fn a_plan_is_empty_when_nothing_is_to_be_done_or_waited_for() {
    let mut world = World::new([model("chat")]);
    assert!(!world.plan().is_empty(), "an action");
    world.pass();
    assert!(!world.plan().is_empty(), "a wait");
    world.settle();
    assert!(world.plan().is_empty());
    world.machine.install("release 2");
    assert!(world.plan().is_empty(), "a note");
    world.define(model("chat").option("ctx_size", "2").port(8200));
    world.machine.strangers.insert(8200, "nginx (pid 7)".to_owned());
    assert!(!world.plan().is_empty(), "a wait without an action");
}

#[test]
fn models_without_an_action_or_a_wait_match_and_only_those_that_are_declared() {
    let mut world = World::settled(["a", "b", "c"].map(model));
    assert_eq!(world.plan().matching, 3);
    world.define(model("a").description("new"));
    assert_eq!(world.plan().matching, 2, "one is updated");
    world.settle();
    world.store.rows_mut().get_mut(&1).unwrap().status = herdsman::model::Status::Error;
    assert_eq!(world.plan().matching, 3, "only its status is put back");
    world.settle();
    world.machine.install("release 2");
    assert_eq!(world.plan().matching, 3, "each has a note");
    world.machine.install("release 1");
    world.define(model("b").option("ctx_size", "2").fate("slow"));
    world.pass();
    assert_eq!(world.plan().matching, 2, "one is loading");
    world.define(model("c").option("ctx_size", "2"));
    assert_eq!(world.plan().matching, 1, "and one waits for its turn");
    world.settle();
    world.machine.kill("c", FailureCause::Spec, "segmentation fault");
    world.goal = herdsman::pass::Goal::Down;
    world.pass();
    assert_eq!(world.plan().matching, 0, "nothing is declared");
}

#[test]
fn what_is_held_back_in_part_says_why_once() {
    let mut world = World::settled(["a", "b"].map(model));
    world.define(model("a").option("ctx_size", "2"));
    world.define(model("b").option("ctx_size", "2"));
    world.define(model("c"));
    world.limits.parallel = 1;
    let plan = world.plan();
    let reasons: Vec<_> = plan.waiting.iter().map(|w| (w.model.as_str(), w.reasons.len())).collect();
    assert_eq!(reasons, [("b", 1), ("c", 0)], "b does not restart yet; c is created and does not start yet");
}

#[test]
fn a_thousand_models_are_planned_as_a_few_are() {
    let names: Vec<String> = (0..1_000).map(|n| format!("m{n:04}")).collect();
    let mut world = World::settled(names.iter().map(|n| model(n).stopped()));
    assert_eq!(world.plan().matching, 1_000);
    world.define(model("m0000").stopped().description("new"));
    world.define(model("m0999").stopped().description("new"));
    let plan = world.plan();
    let changed: Vec<_> = plan.actions.iter().map(|action| action.model.as_str()).collect();
    assert_eq!((changed, plan.matching), (vec!["m0000", "m0999"], 998));
}
