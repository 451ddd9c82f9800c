//! herdsman is killed, or an effect fails, at every single point of a story.
//!
//! The world itself checks the promises at every effect (see `simulated`);
//! here is checked that the passes after it still reach the same end.

use herdsman::model::{Busy, Definition, DesiredState, FailureCause, Health, Status};

use crate::simulated::{Edit, Ended, Store, World, model};
use herdsman::pass::Goal;

/// What a story begins with.
type Setup = fn() -> World;

/// One story per kind of action, and those that go together.
const STORIES: [(&str, Setup); 17] = [
    ("create", || World::new([model("a"), model("b").stopped(), model("c").socket("/run/c.sock")])),
    ("take over", || {
        let mut world = World::new([model("a")]);
        world.store.add_row("a");
        world
    }),
    ("update", || edited([model("a")], [model("a").description("new")])),
    ("restart", || edited([model("a")], [model("a").option("ctx_size", "2")])),
    ("restart both", || {
        edited([model("a"), model("b")], [model("a").option("ctx_size", "2"), model("b").option("ctx_size", "2")])
    }),
    ("exchange ports", || {
        edited([model("a").port(8200), model("b").port(8300)], [model("a").port(8300), model("b").port(8200)])
    }),
    ("drain", || {
        let mut world = edited([model("a")], [model("a").option("ctx_size", "2").drain(5)]);
        world.machine.server("a").busy = Busy::Yes(1);
        world
    }),
    ("stop", || edited([model("a"), model("b")], [model("a").stopped(), model("b")])),
    ("start", || edited([model("a").stopped()], [model("a")])),
    ("crash", || {
        let mut world = World::settled([model("a")]);
        world.machine.kill("a", FailureCause::Spec, "segmentation fault");
        world
    }),
    ("delete", || {
        let mut world = World::settled([model("a"), model("b"), model("c")]);
        world.machine.server("a").busy = Busy::Yes(1);
        world.remove("a");
        world.remove("b");
        world
    }),
    ("adopt", || {
        let mut world = World::settled([model("a"), model("b")]);
        world.store = Store::default();
        world.define(model("b").option("ctx_size", "2"));
        world
    }),
    ("duplicate", || {
        let mut world = World::settled([model("a")]);
        world.stray(&model("a").option("ctx_size", "old"), 8150);
        world.stray(&model("a"), 8151);
        world.define(model("a").option("ctx_size", "2"));
        world
    }),
    ("reboot", || {
        let mut world = World::settled([model("a"), model("b")]);
        world.reboot();
        world
    }),
    ("another llama-server", || {
        let mut world = World::settled([model("a")]);
        world.machine.install("release 2");
        world.limits.upgrade_binary = true;
        world
    }),
    ("replaced by a name", || edited_and_removed([model("a"), model("b")], "a", [model("c")])),
    ("unhealthy", || {
        let mut world = World::settled([model("a").unhealthy_after(30)]);
        world.machine.server("a").silent = true;
        world.pass();
        world.advance(30);
        world
    }),
];

fn edited<const N: usize, const M: usize>(before: [Definition; N], after: [Definition; M]) -> World {
    let mut world = World::settled(before);
    after.into_iter().for_each(|d| world.define(d));
    world
}

fn edited_and_removed<const N: usize, const M: usize>(
    before: [Definition; N],
    removed: &str,
    after: [Definition; M],
) -> World {
    let mut world = edited(before, after);
    world.remove(removed);
    world
}

/// Every model is as declared, with exactly one instance or none.
fn assert_converged(world: &mut World, story: &str) {
    let desired = world.desired.definitions.clone();
    let records = world.store.records();
    assert_eq!(records.models.keys().collect::<Vec<_>>(), desired.keys().collect::<Vec<_>>(), "{story}: models");
    assert_eq!(records.orphans, [], "{story}: orphans");
    for (name, definition) in &desired {
        let record = &records.models[name];
        let live = world.machine.of(name.as_str());
        let expected = usize::from(definition.state == DesiredState::Running);
        assert_eq!(live.len(), expected, "{story}: instances of {name}");
        assert_eq!(record.instances.len(), expected, "{story}: recorded instances of {name}");
        let status = [Status::Idle, Status::Running][expected];
        assert_eq!(record.status, status, "{story}: status of {name}");
        for server in live {
            assert!(definition.is_served_as(&server.spec, server.port), "{story}: spec of {name}");
            assert_eq!(server.port, record.port.map(|p| p.port), "{story}: port of {name}");
            let seen = world.machine.observe(&[], world.now);
            assert!(seen.instances.iter().all(|i| i.health == Health::Ready), "{story}: health");
        }
    }
    let stray: Vec<_> = world.machine.servers.iter().filter(|s| !desired.contains_key(&s.model)).collect();
    assert!(stray.is_empty(), "{story}: {stray:?}");
    assert!(world.plan().is_empty(), "{story}: {}", world.planned());
}

/// Brings a world to rest although herdsman is killed, or fails, on the way.
fn settle_anyway(world: &mut World) -> Vec<Ended> {
    let mut ends = Vec::new();
    loop {
        match world.try_settle() {
            Ok(_) => return ends,
            Err(ended) => {
                ends.push(ended);
                world.kill_after = None;
            }
        }
    }
}

/// How many effects a story has when nothing comes between. To be killed
/// before an effect is to be killed after the one before it, so these are the
/// points at which it can be killed.
fn effects(setup: Setup) -> usize {
    (0..)
        .find(|effects| {
            let mut world = setup();
            world.kill_after = Some(*effects);
            settle_anyway(&mut world).is_empty()
        })
        .unwrap_or(0)
}

/// Crashes are counted where a server died by itself, and nowhere else.
fn assert_no_crash_counted(world: &World, story: &str) {
    let crashes = world.store.records().models.values().map(|r| r.crashes.count).max();
    // One that hangs counts as one that crashed, and once.
    let expected = u32::from(story.starts_with("unhealthy"));
    assert!(story.starts_with("crash") || crashes == Some(expected), "{story}: {crashes:?} crashes");
}

#[test]
fn killed_at_any_point_herdsman_goes_on_where_it_was() {
    let mut kills = 0;
    for (story, setup) in STORIES {
        for point in 0..effects(setup) {
            let mut world = setup();
            world.kill_after = Some(point);
            assert_eq!(settle_anyway(&mut world), [Ended::Killed], "{story}, point {point}");
            let story = format!("{story}, killed after {point} effects");
            assert_converged(&mut world, &story);
            assert_no_crash_counted(&world, &story);
            kills += 1;
        }
    }
    println!("{kills} of {kills} points, one kill each");
    assert!(kills > 80, "{kills} points are too few to mean anything");
}

fn serves_the_first(world: &World) -> bool {
    let specs: Vec<_> = world.machine.of("a").iter().map(|server| &server.spec).collect();
    specs == [model("a").hash()]
}

/// A story that does not end as declared: how it begins, and what is true at
/// its end.
type Odd = (&'static str, Setup, fn(&World) -> bool);

#[test]
fn killed_at_any_point_of_a_rollback_or_a_shutdown_it_ends_as_it_would_have() {
    let odd: [Odd; 4] = [
        ("roll back", || edited([model("a")], [model("a").fate("dies")]), serves_the_first),
        (
            "roll back from one that hangs",
            || edited([model("a")], [model("a").fate("hangs").ready_timeout(20)]),
            serves_the_first,
        ),
        (
            "stop on failure",
            || edited([model("a")], [model("a").fate("dies").stop_on_failure()]),
            |world| world.machine.of("a").is_empty(),
        ),
        (
            "down",
            || {
                let mut world = World::settled([model("a"), model("b").drain(5)]);
                world.machine.server("b").busy = Busy::Yes(1);
                world.goal = Goal::Down;
                world
            },
            |world| world.machine.servers.is_empty() && world.store.records().models.len() == 2,
        ),
    ];
    for (story, setup, ends) in odd {
        for point in 0..effects(setup) {
            let mut world = setup();
            world.kill_after = Some(point);
            assert_eq!(settle_anyway(&mut world), [Ended::Killed], "{story}, point {point}");
            let instances = world.store.instances().len();
            assert!(ends(&world), "{story}, killed after {point} effects: {:?}", world.machine.servers);
            assert_eq!(instances, world.machine.servers.len(), "{story}, killed after {point} effects");
            assert!(world.plan().actions.is_empty(), "{story}, killed after {point} effects: {}", world.planned());
        }
    }
}

#[test]
fn killed_at_any_two_points_herdsman_goes_on_where_it_was() {
    let mut kills = 0;
    for (story, setup) in STORIES {
        for first in 0..effects(setup) {
            // The second is counted from the first: to the end, where none is left.
            for second in 0.. {
                let mut world = setup();
                let mut ends = Vec::new();
                for point in [first, second] {
                    world.kill_after = Some(point);
                    ends.extend(world.try_settle().err());
                }
                world.kill_after = None;
                settle_anyway(&mut world);
                let story = format!("{story}, killed after {first} and {second} effects");
                assert_converged(&mut world, &story);
                assert_no_crash_counted(&world, &story);
                kills += 1;
                if ends.len() < 2 {
                    break;
                }
            }
        }
    }
    println!("{kills} pairs of points");
    assert!(kills > 600, "{kills} pairs are too few to mean anything");
}

#[test]
fn whichever_effect_fails_later_passes_make_it_good() {
    for (story, setup) in STORIES {
        for effect in 0.. {
            let mut world = setup();
            world.fail_at = Some(effect);
            settle_anyway(&mut world);
            let done = world.fail_at.take().is_some();
            assert_converged(&mut world, &format!("{story}, effect {effect} fails"));
            if done {
                break;
            }
        }
    }
}

#[test]
fn a_server_that_cannot_be_stopped_keeps_its_record_and_nothing_takes_its_place() {
    let mut world = edited([model("a")], [model("a").option("ctx_size", "2")]);
    // The intent, then the stop.
    world.fail_at = Some(1);
    let pass = world.pass();
    assert_eq!(pass.outcomes[0].result, Err("it does not end".to_owned()));
    assert_eq!(world.machine.server("a").handle.pid(), 101);
    assert_eq!(world.store.records().models["a"].instances.len(), 1);
}

#[test]
fn the_failure_of_one_action_ends_no_other() {
    let mut world = World::new([model("a"), model("b")]);
    // The intent of `a`, then its start.
    world.fail_at = Some(1);
    let pass = world.pass();
    let results: Vec<bool> = pass.outcomes.iter().map(|o| o.result.is_ok()).collect();
    assert_eq!(results, [false, true]);
    assert_eq!(world.machine.of("b").len(), 1);
}

#[test]
fn every_action_leaves_an_event_with_its_reasons_and_how_it_went() {
    let mut world = World::new([model("a")]);
    world.fail_at = Some(1);
    world.settle();
    let lines: Vec<String> = world
        .store
        .events
        .iter()
        .map(|e| format!("{} {} {} {:?}", e.cause, e.action, e.reasons[0]["reason"], e.outcome))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    test create "definition_added" Failed("permission denied")
    test start "process_gone" Done
    test ready null Done
    "#);
}
