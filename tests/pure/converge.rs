//! Passes until nothing is left to wait for, in the simulated world.

use std::collections::BTreeSet;
use std::time::Duration;

use herdsman::model::{ModelName, Timestamp};
use herdsman::pass::Pass;
use herdsman::pass::converge::{Converged, Ground, Patience, converge};
use herdsman::pass::next::Awaited;
use herdsman::plan::ActionKind;

use crate::simulated::{Edit, Ended, World, model};

/// A world whose clock goes forward only while a run waits.
struct Clocked {
    world: World,
    began: Timestamp,
    passes: usize,
    starts: usize,
    creations: usize,
    waits: Vec<Duration>,
    /// What another program does after each pass.
    undo: fn(&mut World),
}

impl Clocked {
    fn new(world: World) -> Self {
        Self { began: world.now, world, passes: 0, starts: 0, creations: 0, waits: Vec::new(), undo: |_| () }
    }

    fn run(&mut self, patience: Patience) -> Converged {
        converge(self, patience).unwrap()
    }
}

impl Ground for Clocked {
    type Error = Ended;

    fn pass(&mut self, tried: &BTreeSet<ModelName>) -> Result<Pass, Ended> {
        self.passes += 1;
        self.world.tried.clone_from(tried);
        self.world.try_pass()
    }

    fn made(&mut self, pass: &Pass) -> Result<(), Ended> {
        self.creations += pass.outcomes.iter().filter(|outcome| outcome.kind == ActionKind::Create).count();
        self.starts += pass.outcomes.iter().filter(|outcome| outcome.kind == ActionKind::Start).count();
        (self.undo)(&mut self.world);
        Ok(())
    }

    fn wait(&mut self, awaited: &Awaited, timeout: Duration) {
        assert!(!awaited.instances.is_empty(), "it waits for something");
        self.waits.push(timeout);
        let end = self.world.now.plus(timeout);
        let next = self.world.machine.next_event(self.world.now).filter(|next| *next < end);
        self.world.advance_to(next.unwrap_or(end));
    }

    fn uptime(&self) -> Duration {
        self.world.now.since(self.began)
    }
}

#[test]
fn ends_once_every_model_is_ready_and_looks_at_least_once_a_second_until_then() {
    let mut clocked = Clocked::new(World::new([model("quick"), model("slow").fate("slow")]));
    let end = clocked.run(Patience::default());
    assert!(!end.is_unfinished && !end.is_out_of_time);
    assert!(clocked.world.plan().is_empty());
    assert!(clocked.waits.iter().all(|wait| *wait <= Duration::from_secs(1)), "{:?}", clocked.waits);
}

#[test]
fn makes_one_pass_without_waiting() {
    let mut clocked = Clocked::new(World::new([model("chat")]));
    let end = clocked.run(Patience { no_wait: true, ..Patience::default() });
    assert_eq!((clocked.passes, clocked.waits.len()), (1, 0));
    assert!(end.is_unfinished, "it loads");
}

#[test]
fn ends_with_a_look_when_its_time_is_over() {
    let mut clocked = Clocked::new(World::new([model("chat").fate("hangs")]));
    let end = clocked.run(Patience { timeout: Some(Duration::from_secs(30)), ..Patience::default() });
    assert!(end.is_out_of_time && end.is_unfinished);
    assert!(end.last.outcomes.is_empty());
    assert_eq!(clocked.uptime(), Duration::from_secs(30));
}

#[test]
fn ends_when_another_program_undoes_every_pass() {
    let mut clocked = Clocked::new(World::settled([model("chat")]));
    clocked.undo = |world| world.store.change_column("chat", "ctx_size", "8192", "512");
    (clocked.undo)(&mut clocked.world);
    let end = clocked.run(Patience::default());
    assert!(end.is_unfinished);
    assert_eq!(clocked.passes, 101);
}

#[test]
fn retries_each_model_once() {
    let mut world = World::new([model("chat").fate("dies")]);
    world.story_of(5);
    world.limits.retry = true;
    let mut clocked = Clocked::new(world);
    let end = clocked.run(Patience::default());
    assert!(end.last.outcomes.is_empty());
    assert_eq!(clocked.starts, 1, "the retry, and no more");
}

#[test]
fn leaves_a_model_that_failed_to_start_twice_to_the_next_run() {
    let mut clocked = Clocked::new(World::new([model("hangs").fate("hangs"), model("slow").fate("slow")]));
    let end = clocked.run(Patience::default());
    assert!(end.is_unfinished);
    assert_eq!(clocked.starts + clocked.creations, 3, "one hangs twice, the other starts once");
    assert!(clocked.uptime() >= Duration::from_secs(1200), "two starts had their ten minutes");
}

#[test]
fn waits_for_a_rollback() {
    let mut world = World::settled([model("chat").option("ctx_size", "1")]);
    world.define(model("chat").option("ctx_size", "2").fate("hangs"));
    let mut clocked = Clocked::new(world);
    let end = clocked.run(Patience::default());
    assert!(!end.is_unfinished);
    assert_eq!(clocked.world.machine.servers.len(), 1);
}
