//! The world: files, database and machine together, and herdsman's passes in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use herdsman::apply;
use herdsman::model::{
    Busy, Change, Death, Definition, Desired, FailureCause, InstanceRecord, InstanceState, Launch, ModelName, Observed,
    ProcessId, Records, StopTarget, Timestamp, Unresolved,
};
use herdsman::plan::{Answers, Limits, Plan, Question, WaitFor, WaitKind};
use herdsman::reconcile::{Goal, Pass, look, pass};

use super::{Fate, Machine, Store, name, show};

/// Why a pass ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// herdsman was killed.
    Killed,
    /// Something could not be recorded.
    NotRecorded,
    /// The definitions cannot be read.
    Unreadable,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Killed => "killed",
            Self::NotRecorded => "disk full",
            Self::Unreadable => "/models.d cannot be read",
        })
    }
}

/// Everything a pass can see and touch.
#[derive(Clone, Debug)]
pub struct World {
    /// What the files say.
    pub desired: Desired,
    /// They cannot be read at all.
    pub unreadable: bool,
    /// The definitions as last read.
    pub read: BTreeMap<ModelName, Arc<Definition>>,
    /// The database.
    pub store: Store,
    /// The machine.
    pub machine: Machine,
    /// The time.
    pub now: Timestamp,
    /// What passes may do.
    pub limits: Limits,
    /// What passes are for.
    pub goal: Goal,
    /// herdsman dies when it has had this many more effects.
    pub kill_after: Option<usize>,
    /// The effect that fails, counted from the next.
    pub fail_at: Option<usize>,
    /// How many command lines were checked.
    pub checks: usize,
    seed: u128,
}

/// What is to happen to the next effect.
enum Next {
    Works,
    Fails,
    Killed,
}

impl World {
    /// A world with these definitions.
    pub fn new(definitions: impl IntoIterator<Item = Definition>) -> Self {
        let mut world = Self {
            desired: Desired { dir: "/models.d".into(), ..Desired::default() },
            unreadable: false,
            read: BTreeMap::new(),
            store: Store::default(),
            machine: Machine::default(),
            now: Timestamp(1_000_000_000),
            limits: Limits::default(),
            goal: Goal::Definitions,
            kill_after: None,
            fail_at: None,
            checks: 0,
            seed: 0,
        };
        definitions.into_iter().for_each(|d| world.define(d));
        world
    }

    /// The same, brought to rest.
    pub fn settled(definitions: impl IntoIterator<Item = Definition>) -> Self {
        let mut world = Self::new(definitions);
        world.settle();
        world
    }

    /// Writes a definition's file.
    pub fn define(&mut self, definition: Definition) {
        self.desired.unresolved.retain(|u| u.path != definition.path);
        self.desired.definitions.insert(definition.name.clone(), Arc::new(definition));
    }

    /// Removes a file.
    pub fn remove(&mut self, model: &str) {
        self.desired.definitions.remove(model);
        self.desired.unresolved.retain(|u| *u.path != *format!("/models.d/{model}.toml"));
    }

    /// Makes a file unreadable. `declares`: the name that can still be read.
    pub fn spoil(&mut self, model: &str, declares: Option<&str>) {
        self.remove(model);
        self.desired.unresolved.push(Unresolved {
            path: format!("/models.d/{model}.toml").into(),
            file: format!("models.d/{model}.toml").into(),
            name: declares.map(name),
            problem: "expected `=`".to_owned(),
        });
    }

    /// A live process of ours that no record knows.
    pub fn stray(&mut self, definition: &Definition, port: u16) {
        self.seed += 1;
        let launch = Launch {
            id: herdsman::model::InstanceId(format!("stray {}", self.seed)),
            model: definition.name.clone(),
            spec: definition.spec.hash(Some(port)),
            definition: definition.path.to_string(),
            binary: "/bin/llama-server".into(),
            args: ["--host", "127.0.0.1", "--port", &port.to_string()].map(str::to_owned).into(),
            env: std::collections::BTreeMap::new(),
            secrets: std::collections::BTreeMap::new(),
            log: "/logs/stray.log".into(),
            socket: None,
        };
        let _ = self.machine.spawn(&launch, self.now);
    }

    /// Lets time pass.
    pub fn advance(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.machine.pass_time(self.now);
    }

    /// One pass.
    pub fn try_pass(&mut self) -> Result<Pass, Ended> {
        let (goal, limits) = (self.goal, self.limits.clone());
        pass(self, goal, &limits, "test")
    }

    /// One pass that must work.
    pub fn pass(&mut self) -> Pass {
        self.try_pass().unwrap()
    }

    /// A dry run, as text.
    pub fn planned(&mut self) -> String {
        show(&self.plan())
    }

    /// A dry run.
    pub fn plan(&mut self) -> Plan {
        let (goal, limits, seed) = (self.goal, self.limits.clone(), self.seed);
        let plan = look(self, goal, &limits).unwrap().plan;
        self.seed = seed;
        plan
    }

    /// Passes until nothing is left to do or to wait for; what they did.
    pub fn settle(&mut self) -> Vec<Pass> {
        self.try_settle().unwrap()
    }

    /// The same, unless a pass ends before its end.
    pub fn try_settle(&mut self) -> Result<Vec<Pass>, Ended> {
        let mut passes = Vec::new();
        loop {
            assert!(passes.len() < 200, "not at rest after 200 passes:\n{}", self.planned());
            let pass = self.try_pass()?;
            let rests = self.rest(&pass);
            passes.push(pass);
            match rests {
                Rest::Acted => {}
                Rest::Until(time) => self.advance_to(time),
                Rest::Forever => return Ok(passes),
            }
        }
    }

    /// The same as a story: each plan that says something new, and when.
    pub fn story(&mut self) -> String {
        self.story_of(200)
    }

    /// The first `most` passes of a story.
    pub fn story_of(&mut self, most: usize) -> String {
        let (begun, mut story, mut told) = (self.now, String::new(), String::new());
        for _ in 0..most {
            let at = self.now.since(begun).as_millis();
            let pass = self.pass();
            let text = show(&pass.plan);
            if text != told {
                story += &format!("-- {}.{:03} s\n{text}", at / 1000, at % 1000);
                for failed in pass.outcomes.iter().filter_map(|o| Some((&o.model, o.result.as_ref().err()?))) {
                    story += &format!("failed: {}: {}\n", failed.0, failed.1);
                }
                told = text;
            }
            match self.rest(&pass) {
                Rest::Acted => {}
                Rest::Until(time) => self.advance_to(time),
                Rest::Forever => break,
            }
        }
        story
    }

    fn rest(&self, pass: &Pass) -> Rest {
        if !pass.plan.actions.is_empty() || !pass.plan.bookkeeping.is_empty() {
            return Rest::Acted;
        }
        let waits = pass.plan.waiting.iter().map(|w| &w.on);
        let deadlines = waits.clone().filter_map(WaitFor::deadline);
        let next = deadlines.filter(|t| *t > self.now).chain(self.machine.next_event(self.now)).min();
        match next {
            Some(time) => Rest::Until(time),
            None => {
                let progressing = waits.filter(|on| on.kind() == WaitKind::Progressing).count();
                assert_eq!(progressing, 0, "waits for what never comes:\n{}", show(&pass.plan));
                Rest::Forever
            }
        }
    }

    /// Lets time pass until then.
    pub fn advance_to(&mut self, time: Timestamp) {
        self.now = time;
        self.machine.pass_time(time);
    }

    fn next_effect(&mut self) -> Next {
        match &mut self.kill_after {
            Some(0) => return Next::Killed,
            Some(left) => *left -= 1,
            None => {}
        }
        match &mut self.fail_at {
            Some(0) => {
                self.fail_at = None;
                Next::Fails
            }
            Some(left) => {
                *left -= 1;
                Next::Works
            }
            None => Next::Works,
        }
    }

    fn check_change(&self, change: &Change) {
        let lives = |id: &herdsman::model::InstanceId| self.machine.servers.iter().any(|s| s.id == *id);
        match change {
            Change::RemoveInstance(id) => assert!(!lives(id), "promise broken: {id:?} is forgotten and lives"),
            Change::DeleteModel { model } => {
                assert!(self.machine.of(model.as_str()).is_empty(), "promise broken: {model} is deleted and lives");
                let kept = self.desired.unresolved.iter().any(|u| {
                    u.name.as_ref() == Some(model)
                        || self.store.records().models.get(model).is_some_and(|r| *r.source == *u.path)
                });
                assert!(!kept, "promise broken: {model} is deleted and its file cannot be read");
            }
            Change::CreateModel { config, adopt_row: Some(row) } => {
                assert_eq!(self.store.rows[row].name, config.name.as_str(), "promise broken: takes another's row");
            }
            _ => {}
        }
    }

    fn check_spawn(&self, launch: &Launch) {
        let others = self.machine.of(launch.model.as_str());
        assert!(others.is_empty(), "promise broken: a second instance of {}: {others:?}", launch.model);
        let intent = self.store.instance(&launch.id).map(|i| i.state);
        assert_eq!(intent, Some(InstanceState::Intent), "promise broken: {} starts unrecorded", launch.model);
    }

    fn check_stop(&self, target: &StopTarget) {
        let state = self.store.instance(&target.id).map(|i| i.state);
        let recorded = matches!(state, None | Some(InstanceState::Stopping));
        assert!(recorded, "promise broken: {} is stopped while recorded as {state:?}", target.model);
        let unreadable = self.machine.servers.iter().any(|s| s.id == target.id && s.unreadable);
        assert!(!unreadable, "promise broken: {} is unknown and stopped", target.model);
    }
}

/// What comes after a pass.
enum Rest {
    Acted,
    Until(Timestamp),
    Forever,
}

impl apply::World for World {
    type Error = Ended;

    fn now(&self) -> Timestamp {
        self.now
    }

    fn seed(&mut self) -> [u8; 16] {
        self.seed += 1;
        self.seed.to_le_bytes()
    }

    fn load(&mut self) -> Result<Arc<Desired>, Ended> {
        if self.unreadable {
            return Err(Ended::Unreadable);
        }
        self.read.clone_from(&self.desired.definitions);
        Ok(Arc::new(self.desired.clone()))
    }

    fn records(&mut self) -> Result<Arc<Records>, Ended> {
        Ok(Arc::new(self.store.records()))
    }

    fn observe(&mut self, records: &Records) -> Result<Observed, Ended> {
        let recorded: Vec<InstanceRecord> =
            records.models.values().flat_map(|m| &m.instances).chain(&records.orphans).cloned().collect();
        Ok(self.machine.observe(&recorded, self.now))
    }

    fn answer(&mut self, questions: &[Question], _: &Observed, answers: &mut Answers) -> Result<(), Ended> {
        for question in questions {
            match question {
                Question::Binary(declared) => {
                    answers.binaries.insert(declared.clone(), self.machine.binary(declared));
                }
                Question::Check(launch, _) => {
                    self.checks += 1;
                    let refused = launch.args.iter().find(|word| self.machine.refused.contains(*word));
                    let answer = refused.map_or(Ok(()), |word| Err(format!("error: invalid argument: {word}")));
                    answers.checks.insert((launch.model.clone(), launch.spec.clone()), answer);
                }
                Question::Busy(id) => {
                    let server = self.machine.servers.iter().find(|s| s.id == *id);
                    answers.busy.insert(id.clone(), server.map_or(Busy::Unknown, |s| s.busy));
                }
                Question::PortHolder(port) => {
                    answers.holders.insert(*port, self.machine.strangers.get(port).cloned());
                }
                Question::GpuLayers { id, .. } => {
                    let without = self.machine.servers.iter().any(|s| s.id == *id && s.fate == Fate::WithoutGpu);
                    answers.gpu_layers.insert(id.clone(), if without { 0 } else { 33 });
                }
                Question::FilesIntact { model, files } => {
                    let intact = files.keys().all(|file| !self.machine.replaced.contains(&**file));
                    answers.files_intact.insert(model.clone(), intact);
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), Ended> {
        match self.next_effect() {
            Next::Killed => Err(Ended::Killed),
            Next::Fails => Err(Ended::NotRecorded),
            Next::Works => {
                changes.iter().for_each(|change| self.check_change(change));
                self.store.commit(changes);
                Ok(())
            }
        }
    }

    fn log_length(&self, _: &Path) -> u64 {
        0
    }

    fn spawn(&mut self, launch: &Launch) -> Result<ProcessId, Death> {
        let failure = |message: &str| Err(Death { cause: FailureCause::Spawn, message: message.to_owned() });
        match self.next_effect() {
            Next::Killed => failure("killed"),
            Next::Fails => failure("permission denied"),
            Next::Works => {
                self.check_spawn(launch);
                Ok(self.machine.spawn(launch, self.now))
            }
        }
    }

    fn stop(&mut self, targets: &[StopTarget]) -> Vec<Result<(), String>> {
        let stop = |target: &StopTarget| match self.next_effect() {
            Next::Killed => Err("killed".to_owned()),
            Next::Fails => Err("it does not end".to_owned()),
            Next::Works => {
                self.check_stop(target);
                self.machine.end(&target.id);
                Ok(())
            }
        };
        targets.iter().map(stop).collect()
    }
}
