//! A watcher, a model that changes and one that must not.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Signal;

use crate::support::{Watcher, World, eventually, try_ask};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// So seldom that it has no part in a test.
const NO_RESYNC: &str = "--resync=1h";

/// A watched world in which `m` is to be changed and `other` is not.
pub struct Scene {
    /// Its watcher; first, so that it ends before its servers do.
    pub watcher: Watcher,
    /// Where.
    pub world: World,
    other: i32,
}

impl Scene {
    /// Both models run, and the watcher waits for something to happen.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// As [`Scene::new`], with arguments for the watcher.
    pub fn with(arguments: &[&str]) -> Self {
        let world = world();
        Self::of(watch(&world, arguments), world)
    }

    /// As [`Scene::new`], of a watcher that was begun in `world`.
    pub fn of(watcher: Watcher, world: World) -> Self {
        serves(&world, "m", "m");
        serves(&world, "other", "other");
        // Whatever comes now comes after what the start of both has caused.
        watcher.eventually_says("m is ready");
        watcher.eventually_says("other is ready");
        let other = world.pid("other");
        Self { watcher, world, other }
    }

    /// `models.d/m.toml`.
    pub fn definition(&self) -> PathBuf {
        self.world.models_dir().join("m.toml")
    }

    /// Waits until `m` answers with the weights `name`, and asserts that
    /// `other` noticed nothing.
    #[track_caller]
    pub fn m_serves(&self, name: &str) {
        serves(&self.world, "m", name);
        self.other_is_untouched();
    }

    /// As [`Scene::m_serves`], and waits until the watcher knows it, lest that is
    /// among the causes of what follows.
    #[track_caller]
    pub fn m_is_ready(&self, name: &str) {
        self.m_serves(name);
        let pid = format!("(pid {})", self.world.pid("m"));
        eventually("the watcher has seen m ready", PATIENCE, || {
            self.watcher.log().lines().any(|line| line.contains("m is ready") && line.contains(&pid))
        });
    }

    /// Asserts that `other` runs as before.
    #[track_caller]
    pub fn other_is_untouched(&self) {
        assert_eq!(self.world.pid("other"), self.other, "the pid of other");
    }

    /// The world and its watcher, in an order in which the watcher is dropped
    /// first.
    pub fn into_parts(self) -> (World, Watcher) {
        (self.world, self.watcher)
    }

    /// Ends the watcher as `kill -9` does, and begins another.
    pub fn watch_again(self, arguments: &[&str]) -> Self {
        let Self { watcher, world, other } = self;
        watcher.end_by(Signal::KILL);
        Self { watcher: watch(&world, arguments), world, other }
    }
}

/// A world of the two models, and weights to change to: `v2`, `v3`, `v4`.
pub fn world() -> World {
    let world = World::new();
    for name in ["m", "other"] {
        world.tiny(name);
    }
    for name in ["v2", "v3", "v4"] {
        world.weights(name, &format!("{name} "));
    }
    world
}

/// Begins to watch.
pub fn watch(world: &World, arguments: &[&str]) -> Watcher {
    watch_by(world, world.command(), arguments)
}

/// Begins to watch with `herdsman`, one of the world's commands.
pub fn watch_by(world: &World, herdsman: Command, arguments: &[&str]) -> Watcher {
    let resync = if arguments.contains(&"--resync") { &[][..] } else { &[NO_RESYNC] };
    world.watch_by(herdsman, &[resync, arguments].concat())
}

/// Waits until `model` answers with the weights `name`.
#[track_caller]
pub fn serves(world: &World, model: &str, name: &str) {
    let expected = format!("{name} ").repeat(3);
    eventually(&format!("{model} says {expected:?}"), PATIENCE, || {
        port(world, model, name).is_some_and(|port| try_ask(port).is_ok_and(|answer| answer == expected))
    });
}

/// Kills the server of `model` once it has run for longer than the first delay
/// of the backoff; waits until it has a successor that serves.
#[track_caller]
pub fn kill_and_see_it_return(world: &World, model: &str) {
    let (running, begun) = (world.pid(model), Instant::now());
    eventually("it has run for a while", PATIENCE, || begun.elapsed() > Duration::from_secs(1));
    assert_eq!(world.pid(model), running);
    let pid = world.signal(model, Signal::KILL);
    eventually(&format!("{model} is back"), PATIENCE, || {
        world.instances().iter().any(|(now, name)| name == model && *now != pid)
    });
    serves(world, model, model);
}

/// The port of the server of `model` that has these weights. One that is to go
/// is not asked: it would have to be drained.
fn port(world: &World, model: &str, weights: &str) -> Option<u16> {
    let server = world.servers().into_iter().find(|process| process.variable("HERDSMAN_MODEL") == Some(model))?;
    let file = format!("/{weights}.gguf");
    server.arguments.iter().find(|argument| argument.ends_with(&file))?;
    let at = server.arguments.iter().position(|argument| argument == "--port")?;
    server.arguments.get(at + 1)?.parse().ok()
}

/// An action that was recorded.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// When it began, in milliseconds.
    pub begun: i64,
    /// What.
    pub action: String,
    /// What made the pass.
    pub cause: String,
}

/// What was done to `model`, oldest first.
pub fn events(world: &World, model: &str) -> Vec<Event> {
    let connection = Connection::open(world.state_dir().join("herdsman.db")).unwrap();
    let sql = "SELECT at - duration_ms, action, cause FROM herdsman_events WHERE name = ?1 ORDER BY id";
    let mut statement = connection.prepare(sql).unwrap();
    let read = |row: &rusqlite::Row<'_>| Ok(Event { begun: row.get(0)?, action: row.get(1)?, cause: row.get(2)? });
    statement.query_map([model], read).unwrap().map(Result::unwrap).collect()
}

/// Waits until the `action`s on `model` that were recorded have these causes: a
/// server answers before its start is recorded.
#[track_caller]
pub fn causes_are(world: &World, model: &str, action: &str, expected: &[&str]) {
    let begun = Instant::now();
    loop {
        let found = causes(world, model, action);
        if found == expected {
            return;
        }
        let may_come = found.len() < expected.len() && begun.elapsed() < PATIENCE;
        assert!(may_come, "{action} of {model} because of {found:?}, not {expected:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The causes of those of its `action`s that were recorded.
pub fn causes(world: &World, model: &str, action: &str) -> Vec<String> {
    events(world, model).into_iter().filter(|event| event.action == action).map(|event| event.cause).collect()
}
