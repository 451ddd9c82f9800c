//! The end of a history: faults stop, and herdsman has to come to rest with
//! everything as declared.

use std::sync::Arc;
use std::time::Duration;

use herdsman::model::{Busy, DesiredState, FailureCause, GenerationOutcome, ModelName, Status};
use herdsman::plan::{Command, MaxDeletes, WaitFor};

use super::deed::{Deed, MODELS, Try};
use super::watched::Watched;
use crate::simulated::{Edit, Fate, Server, World, name, show};

/// Stops faults and inputs, and holds herdsman to its first promise.
pub fn ends_well(world: &mut World) {
    calm(world);
    // What never works is tried for ever or given up: neither is rest, and no
    // promise may break meanwhile.
    for _ in 0..3 {
        Deed::Pass(Try::default()).act(world);
        world.advance(20);
    }
    mend(world);
    // Who asks now is answered, or learns why not.
    for model in MODELS {
        world.client(model, Duration::from_secs(3), None);
    }
    world.gateway.iter_mut().for_each(|gateway| gateway.refused.clear());
    if world.tally.happened("while watched") {
        // What a watcher began, a watcher can end.
        Watched { seconds: 900, deeds: Vec::new(), interferences: Vec::new() }.watch(world);
        assert_as_declared(world);
    }
    let passes = world.settle().len();
    world.tally.at_least("passes to come to rest", u64::try_from(passes).unwrap_or(u64::MAX));
    assert_as_declared(world);
    assert_answered(world);
    stays_at_rest(world);
}

/// Every client was answered, or its model cannot run and the plan says why.
fn assert_answered(world: &mut World) {
    let Some(gateway) = world.gateway.clone() else { return };
    assert!(gateway.clients.is_empty(), "promise broken: {:?} wait for ever", gateway.clients);
    let is_stopped = |model: &ModelName| {
        world.desired.definitions.get(model).is_none_or(|definition| definition.state == DesiredState::Stopped)
    };
    let refused: Vec<_> = gateway.refused.iter().filter(|model| !is_stopped(model)).collect();
    assert!(refused.is_empty(), "promise broken: {refused:?} were asked for in vain, and nothing says why");
}

fn stays_at_rest(world: &mut World) {
    let events = world.store.events.len();
    for hours in [1, 20] {
        world.advance(hours * 3600);
        world.settle();
    }
    assert_eq!(world.store.events.len(), events, "promise broken: it does not stay at rest");
    let plan = world.plan();
    assert!(plan.actions.is_empty(), "promise broken: it does not stay at rest:\n{}", world.planned());
}

fn calm(world: &mut World) {
    world.unreadable = false;
    world.machine.strangers.clear();
    world.machine.foreign.clear();
    world.machine.fates.clear();
    world.machine.binaries.clear();
    world.machine.replaced.clear();
    for server in &mut world.machine.servers {
        (server.silent, server.unreadable) = (false, false);
        if world.site.has_gateway {
            // A client of its own port would keep it awake for ever.
            server.busy = Busy::No;
        }
        if matches!(&server.fate, Fate::Dies(death) if death.cause != FailureCause::Spec) {
            server.fate = Fate::of("ready");
        }
    }
    world.desired.unresolved.clear();
    for (index, model) in MODELS.iter().enumerate() {
        if world.store.overrides(&name(model)).suspended.is_some() {
            // A model that is suspended need not be as declared.
            Deed::ByHand(index, Command::Resume).act(world);
        }
    }
    world.limits.max_deletes = Some(MaxDeletes::Percent(100));
    for (name, ids) in world.store.homonyms() {
        // Of two rows by the name of one definition, its people have to choose.
        ids.into_iter().skip(1).for_each(|id| world.store.remove_row(id));
        world.tally.add("calm", if name.is_empty() { "rows" } else { "rows of one name" });
    }
}

/// Edits every definition that waits for an edit, or whose server cannot work.
fn mend(world: &mut World) {
    let records = world.store.records();
    let failed =
        |name| records.models.get(name).is_some_and(|r| matches!(r.generation.outcome, GenerationOutcome::Failed(_)));
    let definitions = world.desired.definitions.values();
    let broken = definitions.filter(|d| d.spec.options.contains_key("fate") || failed(&d.name)).cloned();
    for definition in broken.collect::<Vec<_>>() {
        world.define(Arc::unwrap_or_clone(definition).fate("ready").option("repaired", "true"));
    }
}

fn assert_as_declared(world: &mut World) {
    let plan = world.plan();
    let text = show(&plan);
    let records = world.store.records();
    let undeclared = records.models.keys().find(|name| !world.desired.definitions.contains_key(*name));
    assert_eq!(undeclared, None, "promise broken: recorded and not declared: {text}");
    assert!(records.orphans.is_empty(), "promise broken: {:?}", records.orphans);
    for (name, definition) in &world.desired.definitions {
        // A declared port that another model had before, and proved, stays with it.
        let is_in_the_way = |on: &WaitFor| matches!(on, WaitFor::Port { .. } | WaitFor::NoRoom { .. });
        if plan.waiting.iter().any(|w| w.model == *name && is_in_the_way(&w.on)) {
            continue;
        }
        let (record, live) = (records.models.get(name), world.machine.of(name.as_str()));
        let record = record.unwrap_or_else(|| panic!("promise broken: {name} is not recorded: {text}"));
        let overrides = records.overrides.get(name).cloned().unwrap_or_default();
        let is_over = overrides.suspended.is_none() && overrides.restart.is_none();
        assert!(is_over, "promise broken: {name} keeps what is over: {overrides:?}: {text}");
        let in_force = overrides.state.is_none() || overrides.state_instead(definition).is_some();
        assert!(in_force, "promise broken: {name} keeps a state by hand: {overrides:?}: {text}");
        if records.wanted_state(definition) == DesiredState::Stopped {
            assert!(live.is_empty() && record.status == Status::Idle, "promise broken: {name} is not stopped: {text}");
        } else if records.wanted_state(definition) == DesiredState::OnDemand && live.is_empty() {
            let is_told = [Status::Idle, Status::Error].contains(&record.status);
            assert!(is_told, "promise broken: {name} does not run: {text}");
        } else {
            let port = record.port.map(|port| port.port);
            let is_as_declared = |s: &&Server| s.port == port && definition.is_served_as(&s.spec, port);
            let as_declared = live.iter().copied().filter(is_as_declared).count();
            assert_eq!((as_declared, live.len()), (1, 1), "promise broken: {name} does not run as declared: {text}");
            assert_eq!(record.status, Status::Running, "promise broken: {name}: {text}");
        }
        assert_eq!(live.len(), record.instances.len(), "promise broken: {name}: {text}");
    }
    let forgotten = records.overrides.keys().find(|name| !world.desired.definitions.contains_key(*name));
    assert_eq!(forgotten, None, "promise broken: by hand and not declared: {text}");
    assert_eq!(world.machine.leftovers, [], "promise broken: something is left: {text}");
    let strays = world.machine.servers.iter().filter(|s| !world.desired.definitions.contains_key(&s.model)).count();
    assert_eq!(strays, 0, "promise broken: servers that nobody declares: {text}");
}
