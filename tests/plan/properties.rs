//! Random worlds: whatever people, programs and faults do, the promises hold.
//!
//! A world is made by a list of deeds, passes among them; `simulated::World`
//! checks every effect. Then faults stop, and it has to come to rest.

use std::collections::BTreeSet;
use std::sync::Arc;

use herdsman::apply::World as _;
use herdsman::model::{Busy, Change, Definition, DesiredState, FailureCause, InstanceState, Observed, Records, Status};
use herdsman::plan::{Answers, Input, MaxDeletes, Plan, Planner, Step, plan};
use proptest::prelude::*;

use crate::simulated::{Edit, Fate, Store, World, model, name, show};

const MODELS: [&str; 4] = ["a", "b", "c", "d"];

/// What can happen.
#[derive(Clone, Debug)]
enum Deed {
    Define {
        model: usize,
        spec: u8,
        port: Option<u16>,
        stopped: bool,
        broken: bool,
        description: u8,
    },
    Remove(usize),
    Spoil {
        model: usize,
        named: bool,
    },
    SpoilUnknown,
    Pass,
    Advance(u64),
    SetClockBack,
    /// herdsman is killed after so many effects of a pass.
    Kill(usize),
    /// An effect of a pass fails.
    Fail(usize),
    Crash(usize),
    WorldFate {
        model: usize,
        cause: u8,
    },
    Busy(usize, bool),
    Silent(usize, bool),
    Unreadable(usize, bool),
    Stray {
        model: usize,
        spec: u8,
    },
    Stranger(u16, bool),
    Reboot,
    LoseDatabase,
    DeleteRow(usize),
    Drift(usize),
    ForeignRow,
    Install(bool),
    Missing(bool),
    Retry,
    Upgrade,
}

fn deed() -> impl Strategy<Value = Deed> {
    let model = || 0..MODELS.len();
    let port = || prop_oneof![2 => Just(None), 1 => (8100..8104_u16).prop_map(Some)];
    let define = (model(), 0..3_u8, port(), prop::bool::weighted(0.2), prop::bool::weighted(0.15), 0..2_u8);
    prop_oneof![
        8 => define.prop_map(|(model, spec, port, stopped, broken, description)| {
            Deed::Define { model, spec, port, stopped, broken, description }
        }),
        2 => model().prop_map(Deed::Remove),
        2 => (model(), any::<bool>()).prop_map(|(model, named)| Deed::Spoil { model, named }),
        1 => Just(Deed::SpoilUnknown),
        10 => Just(Deed::Pass),
        6 => prop_oneof![4 => 0..5_u64, 1 => 0..1000_u64].prop_map(Deed::Advance),
        1 => Just(Deed::SetClockBack),
        3 => (0..8_usize).prop_map(Deed::Kill),
        2 => (0..8_usize).prop_map(Deed::Fail),
        3 => model().prop_map(Deed::Crash),
        2 => (model(), 0..4_u8).prop_map(|(model, cause)| Deed::WorldFate { model, cause }),
        3 => (model(), any::<bool>()).prop_map(|(model, on)| Deed::Busy(model, on)),
        2 => (model(), any::<bool>()).prop_map(|(model, on)| Deed::Silent(model, on)),
        2 => (model(), any::<bool>()).prop_map(|(model, on)| Deed::Unreadable(model, on)),
        2 => (model(), 0..3_u8).prop_map(|(model, spec)| Deed::Stray { model, spec }),
        2 => (8100..8105_u16, any::<bool>()).prop_map(|(port, on)| Deed::Stranger(port, on)),
        1 => Just(Deed::Reboot),
        1 => Just(Deed::LoseDatabase),
        1 => model().prop_map(Deed::DeleteRow),
        1 => model().prop_map(Deed::Drift),
        1 => Just(Deed::ForeignRow),
        1 => any::<bool>().prop_map(Deed::Install),
        1 => any::<bool>().prop_map(Deed::Missing),
        1 => Just(Deed::Retry),
        1 => Just(Deed::Upgrade),
    ]
}

/// The definition of a deed. No two share a declared port: `herdsman::definition` sees to that.
fn define(world: &World, deed: &Deed) -> Option<Definition> {
    let Deed::Define { model: index, spec, port, stopped, broken, description } = deed else { return None };
    let mut definition = model(MODELS[*index]).option("ctx_size", &spec.to_string()).unhealthy_after(30).drain(5);
    let taken =
        |port| world.desired.definitions.values().any(|d| d.name != definition.name && d.spec.port == Some(port));
    if let Some(port) = port.filter(|port| !taken(*port)) {
        definition = definition.port(port);
    }
    if *stopped {
        definition = definition.stopped();
    }
    if *broken {
        definition = definition.fate("dies");
    }
    Some(definition.description(&description.to_string()))
}

fn act(world: &mut World, deed: &Deed) {
    let servers = |world: &mut World, index: usize, change: &dyn Fn(&mut crate::simulated::Server)| {
        world.machine.servers.iter_mut().filter(|s| s.model.as_str() == MODELS[index]).for_each(change);
    };
    match deed {
        Deed::Define { .. } => {
            let definition = define(world, deed);
            definition.into_iter().for_each(|d| world.define(d));
        }
        Deed::Remove(index) => world.remove(MODELS[*index]),
        Deed::Spoil { model, named } => {
            world.spoil(MODELS[*model], named.then_some(MODELS[*model]));
        }
        Deed::SpoilUnknown => world.spoil("mystery", None),
        Deed::Pass => checked_pass(world),
        Deed::Advance(seconds) => world.advance(*seconds),
        Deed::SetClockBack => world.now.0 -= 3_000,
        Deed::Kill(effects) => {
            world.kill_after = Some(*effects);
            checked_pass(world);
            world.kill_after = None;
        }
        Deed::Fail(effect) => {
            world.fail_at = Some(*effect);
            checked_pass(world);
            world.fail_at = None;
        }
        Deed::Crash(index) => {
            while let Some(server) = world.machine.of(MODELS[*index]).first() {
                let id = server.id.clone();
                world.machine.die(&id, FailureCause::NoMemory, "killed");
            }
        }
        Deed::WorldFate { model, cause } => {
            let causes =
                [FailureCause::NoMemory, FailureCause::DiskFull, FailureCause::Download, FailureCause::PortBusy];
            let fate = Fate::dies(causes[usize::from(*cause)], "for now");
            world.machine.fates.insert(name(MODELS[*model]), fate);
        }
        Deed::Busy(index, on) => {
            let busy = if *on { Busy::Yes(1) } else { Busy::No };
            servers(world, *index, &|s| s.busy = busy);
        }
        Deed::Silent(index, on) => servers(world, *index, &|s| s.silent = *on),
        Deed::Unreadable(index, on) => recorded_unreadable(world, *index, *on),
        Deed::Stray { model: index, spec } => {
            let port = 8150 + u16::try_from(world.machine.servers.len()).unwrap();
            world.stray(&model(MODELS[*index]).option("ctx_size", &spec.to_string()), port);
        }
        Deed::Stranger(port, true) if !world.machine.servers.iter().any(|s| s.port == Some(*port)) => {
            world.machine.strangers.insert(*port, "nginx".to_owned());
        }
        Deed::Stranger(port, _) => {
            world.machine.strangers.remove(port);
        }
        Deed::Reboot => world.reboot(),
        // Servers that cannot be read and are not recorded cannot be found.
        Deed::LoseDatabase if world.machine.servers.iter().all(|s| !s.unreadable) => world.store = Store::default(),
        Deed::LoseDatabase => {}
        Deed::DeleteRow(index) => world.store.delete_row(MODELS[*index]),
        Deed::Drift(index) => world.store.change_column(MODELS[*index], "ctx_size", "1", "2"),
        Deed::ForeignRow => {
            world.store.add_row("hand-made");
        }
        Deed::Install(other) => world.machine.install(if *other { "release 2" } else { "release 1" }),
        Deed::Missing(missing) => {
            let release = world.machine.binary(&Some("/bin/llama-server".to_owned()));
            world.machine.binaries.insert(None, if *missing { Err("no llama-server".to_owned()) } else { release });
        }
        Deed::Retry => {
            world.limits.retry = true;
            checked_pass(world);
            world.limits.retry = false;
        }
        Deed::Upgrade => {
            world.limits.upgrade_binary = true;
            checked_pass(world);
            world.limits.upgrade_binary = false;
        }
    }
}

/// Only a server whose process is recorded can be unknown; of others nothing
/// would tell at all.
fn recorded_unreadable(world: &mut World, index: usize, on: bool) {
    let store = &world.store;
    for server in world.machine.servers.iter_mut().filter(|s| s.model.as_str() == MODELS[index]) {
        let recorded = store.instance(&server.id).is_some_and(|i| i.process.as_ref() == Some(&server.process));
        server.unreadable = on && recorded;
    }
}

/// A pass, what it planned held against what must never be planned.
fn checked_pass(world: &mut World) {
    let before = world.clone();
    let plan = world.plan();
    assert_plan_is_sound(&before, &plan);
    let unmanaged: Vec<_> = before.store.records().unmanaged;
    let _ = world.try_pass();
    for row in unmanaged {
        let after = world.store.rows.get(&row.id);
        let adopted = world.store.records().models.values().any(|r| r.id == row.id);
        assert!(adopted || after == before.store.rows.get(&row.id), "row {row:?} is not ours");
    }
    for model in MODELS {
        let (was, is) = (before.machine.of(model).len(), world.machine.of(model).len());
        assert!(is <= was.max(1), "{model} has {is} instances, had {was}:\n{}", show(&plan));
    }
    let mut ports = BTreeSet::new();
    let live = world.machine.servers.iter().filter_map(|s| s.port);
    live.for_each(|port| assert!(ports.insert(port), "two live instances on port {port}"));
}

fn assert_plan_is_sound(world: &World, plan: &Plan) {
    let text = show(plan);
    let steps = || plan.actions.iter().flat_map(|a| a.steps.iter().map(move |s| (&a.model, s)));
    let stopped: BTreeSet<_> =
        steps().filter_map(|(_, s)| if let Step::Stop { target, .. } = s { Some(&target.id) } else { None }).collect();
    let mut ports = BTreeSet::new();
    for (model, step) in steps() {
        let live = world.machine.of(model.as_str());
        let unknown = live.iter().any(|s| s.unreadable && world.store.instance(&s.id).is_some());
        match step {
            Step::Start { record, after, .. } => {
                let leaves = live.iter().all(|s| stopped.contains(&s.id));
                assert!(leaves && !unknown, "{model} starts beside a live instance:\n{text}");
                assert!(record.port.is_none_or(|port| ports.insert(port)), "a port is given twice:\n{text}");
                assert!(after.iter().all(|id| stopped.contains(id)), "{model} waits for no stop:\n{text}");
            }
            Step::Stop { target, duplicate, .. } => {
                assert!(!unknown, "{model} is unknown and stopped:\n{text}");
                let begun = world.store.instance(&target.id).map(|i| i.state) == Some(InstanceState::Stopping);
                let silent = live.iter().any(|s| s.silent);
                let spoilt = is_unresolved(world, model.as_str());
                assert!(!spoilt || begun || *duplicate || silent, "{model} cannot be read and is stopped:\n{text}");
            }
            Step::Record(changes) => {
                let deletes = changes.iter().any(|c| matches!(c, Change::DeleteModel { .. }));
                assert!(!deletes || !unknown && !is_unresolved(world, model.as_str()), "{model} is deleted:\n{text}");
                let any_unknown = world
                    .desired
                    .unresolved
                    .iter()
                    .any(|u| !world.store.records().models.values().any(|r| *r.source == *u.path));
                assert!(!deletes || !any_unknown, "{model} is deleted beside an unknown file:\n{text}");
            }
        }
    }
}

fn is_unresolved(world: &World, model: &str) -> bool {
    let record = world.store.records().models.get(model).map(|r| r.source.clone());
    let unresolved = &world.desired.unresolved;
    let by_path = unresolved.iter().any(|u| record.as_deref() == Some(&*u.path));
    by_path
        || unresolved.iter().any(|u| u.name.as_ref().is_some_and(|n| n.as_str() == model))
            && !world.desired.definitions.contains_key(model)
}

/// Faults stop, and inputs stop changing.
fn calm(world: &mut World) {
    world.machine.strangers.clear();
    world.machine.fates.clear();
    world.machine.binaries.clear();
    for server in &mut world.machine.servers {
        (server.silent, server.unreadable) = (false, false);
        if matches!(&server.fate, Fate::Dies(death) if death.cause != FailureCause::Spec) {
            server.fate = Fate::of("ready");
        }
    }
    world.desired.unresolved.clear();
    world.limits.max_deletes = Some(MaxDeletes::Percent(100));
}

/// Edits every definition whose server cannot work.
fn mend(world: &mut World) {
    let broken = world.desired.definitions.values().filter(|d| d.spec.options.contains_key("fate")).cloned();
    for definition in broken.collect::<Vec<_>>() {
        world.define(Arc::unwrap_or_clone(definition).fate("ready"));
    }
}

fn assert_as_declared(world: &mut World) {
    let text = world.planned();
    let records = world.store.records();
    let undeclared = records.models.keys().find(|name| !world.desired.definitions.contains_key(*name));
    assert_eq!(undeclared, None, "{text}");
    assert!(records.orphans.is_empty(), "{:?}", records.orphans);
    for (name, definition) in &world.desired.definitions {
        // A declared port that another model had before, and proved, stays with it.
        if text.contains(&format!("wait    {name}: port ")) {
            continue;
        }
        let (record, live) = (records.models.get(name), world.machine.of(name.as_str()));
        let record = record.unwrap_or_else(|| panic!("{name} is not recorded: {text}"));
        if definition.state == DesiredState::Stopped {
            assert!(live.is_empty() && record.status == Status::Idle, "{name}: {text}");
        } else {
            let wanted = definition.spec.hash(record.port.map(|p| p.port));
            assert_eq!(live.iter().map(|s| &s.spec).collect::<Vec<_>>(), [&wanted], "{name}: {text}");
            assert_eq!(record.status, Status::Running, "{name}: {text}");
        }
        assert_eq!(live.len(), record.instances.len(), "{name}: {text}");
    }
    let strays = world.machine.servers.iter().filter(|s| !world.desired.definitions.contains_key(&s.model)).count();
    assert_eq!(strays, 0, "{text}");
}

struct Asked {
    world: World,
    records: Arc<Records>,
    observed: Observed,
    answers: Answers,
}

impl Asked {
    fn new(mut world: World) -> Self {
        let records = world.records().unwrap();
        let observed = world.observe(&records).unwrap();
        let (mut planner, desired, limits) = (Planner::default(), world.desired.clone(), world.limits.clone());
        let mut asked = Self { world, records, observed, answers: Answers::default() };
        for _ in 0..8 {
            let questions = asked.plan(&asked.records, &asked.observed).questions;
            let Self { world, records, observed, answers } = &asked;
            let (now, desired) = (world.now, Some(&desired));
            let input = Input { now, desired, records, observed, answers, limits: &limits, id_seed: [7; 16] };
            assert_eq!(planner.plan(&input), asked.plan(records, observed), "round by round, or at once");
            asked.world.answer(&questions, &asked.observed, &mut asked.answers).unwrap();
        }
        asked
    }

    fn plan(&self, records: &Records, observed: &Observed) -> Plan {
        let (desired, limits, answers) = (Some(&self.world.desired), &self.world.limits, &self.answers);
        plan(&Input { now: self.world.now, desired, records, observed, answers, limits, id_seed: [7; 16] })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn when_faults_stop_every_world_comes_to_rest_as_declared(deeds in prop::collection::vec(deed(), 0..40)) {
        let mut world = World::new([]);
        deeds.iter().for_each(|deed| act(&mut world, deed));
        calm(&mut world);
        // What never works is tried for ever, or given up; then it is mended.
        (0..20).for_each(|_| { checked_pass(&mut world); world.advance(20) });
        mend(&mut world);
        world.settle();
        assert_as_declared(&mut world);
        let events = world.store.events.len();
        for _ in 0..3 {
            world.advance(700);
            world.settle();
        }
        prop_assert_eq!(world.store.events.len(), events, "it stays at rest");
        prop_assert!(world.plan().actions.is_empty());
    }

    #[test]
    fn the_order_of_what_was_seen_does_not_matter(
        deeds in prop::collection::vec(deed(), 0..30),
        seed in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new([]);
        deeds.iter().for_each(|deed| act(&mut world, deed));
        let asked = Asked::new(world);
        let plan = asked.plan(&asked.records, &asked.observed);
        prop_assert_eq!(&plan, &asked.plan(&asked.records, &asked.observed), "the same input, the same plan");
        let (mut records, mut observed) = (Records::clone(&asked.records), asked.observed.clone());
        let turn = seed.index(8);
        let n = observed.instances.len().max(1);
        observed.instances.rotate_left(turn % n);
        observed.instances.reverse();
        observed.unknown.reverse();
        records.unmanaged.reverse();
        prop_assert_eq!(plan, asked.plan(&records, &observed));
    }
}
