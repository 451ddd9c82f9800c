//! The world: files, database and machine together, and herdsman's passes in it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use herdsman::model::{Definition, Desired, Group, Launch, ModelName, Origin, Timestamp, Unresolved, Unusable};
use herdsman::pass::{Goal, Order, Pass, look, pass};
use herdsman::plan::{Limits, Plan, Site, WaitFor, WaitKind};

use super::{Gateway, Interference, Machine, Promises, Sabotage, Store, Tally, name, show};

/// Why a pass ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// herdsman was killed.
    Killed,
    /// Something could not be recorded.
    NotRecorded,
    /// The definitions cannot be read.
    Unreadable,
    /// The records cannot be read.
    Unrecalled,
    /// The processes cannot be looked at.
    Unseen,
}

impl Ended {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::NotRecorded => "disk full",
            Self::Unreadable => "/models.d cannot be read",
            Self::Unrecalled => "database disk image is malformed",
            Self::Unseen => "/proc cannot be read",
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything a pass can see and touch.
#[derive(Clone, Debug)]
pub struct World {
    /// What the files say.
    pub desired: Desired,
    /// They cannot be read at all.
    pub unreadable: bool,
    /// The database.
    pub store: Store,
    /// The machine.
    pub machine: Machine,
    /// The gateway, if one serves.
    pub gateway: Option<Gateway>,
    /// The time.
    pub now: Timestamp,
    /// What passes may do.
    pub limits: Limits,
    /// Models tried again by an earlier pass.
    pub tried: BTreeSet<ModelName>,
    /// What instances are given.
    pub site: Site,
    /// What passes are for.
    pub goal: Goal,
    /// herdsman dies when it has had this many more effects.
    pub kill_after: Option<usize>,
    /// The effect that fails, counted from the next.
    pub fail_at: Option<usize>,
    /// What else happens in the next pass, by the number of the call to the
    /// world at which it does.
    pub interferences: Vec<(usize, Interference)>,
    /// herdsman is dead until the next pass begins.
    pub dead: bool,
    /// The promise herdsman is made to break.
    pub sabotage: Option<Sabotage>,
    /// What is checked.
    pub promises: Promises,
    /// What has happened.
    pub tally: Tally,
    /// What happened, written for people, if it is to be.
    pub story: Option<String>,
    /// How many command lines were checked.
    pub checks: usize,
    /// The files as last read.
    pub(super) last_read: Option<Arc<Desired>>,
    /// … and as this pass read them first.
    pub(super) first_read: Option<Arc<Desired>>,
    /// How often this pass has read them.
    pub(super) loads: usize,
    pub(super) in_pass: bool,
    /// The database was deleted in the midst of a pass.
    doomed: bool,
    /// Something happened in the midst of this pass.
    pub(super) disturbed: bool,
    pub(super) calls: usize,
    pub(super) seed: u128,
}

impl World {
    /// A world with these definitions.
    pub fn new(definitions: impl IntoIterator<Item = Definition>) -> Self {
        let mut world = Self {
            desired: Desired { dir: "/models.d".into(), ..Desired::default() },
            unreadable: false,
            store: Store::default(),
            machine: Machine::default(),
            gateway: None,
            now: Timestamp(1_000_000_000),
            limits: Limits::default(),
            tried: BTreeSet::new(),
            site: Site::default(),
            goal: Goal::Definitions,
            kill_after: None,
            fail_at: None,
            interferences: Vec::new(),
            dead: false,
            sabotage: None,
            promises: Promises::default(),
            tally: Tally::default(),
            story: None,
            checks: 0,
            last_read: None,
            first_read: None,
            loads: 0,
            in_pass: false,
            doomed: false,
            disturbed: false,
            calls: 0,
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

    /// Declares a group.
    pub fn group(&mut self, name: &str, max_running: usize) {
        let origin = Origin::new("models.d/_groups.toml", 1);
        self.desired.groups.insert(name.into(), Group { max_running, origin });
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
            llama_server: None,
        });
    }

    /// Makes the meaning of a file depend on a llama-server that has not answered.
    pub fn withhold(&mut self, model: &str) {
        self.spoil(model, Some(model));
        let file = self.desired.unresolved.last_mut().unwrap();
        file.problem = "/fork has not answered --help yet".to_owned();
        file.llama_server = Some(Unusable { problem: file.problem.clone(), is_pending: true });
    }

    /// A live process of ours that no record knows.
    pub fn stray(&mut self, definition: &Definition, port: u16) {
        self.seed += 1;
        let launch = Launch {
            id: herdsman::model::InstanceId(format!("stray {}", self.seed)),
            model: definition.name.clone(),
            spec: definition.hash().clone(),
            definition: definition.path.to_string(),
            binary: "/bin/llama-server".into(),
            args: ["--host", "127.0.0.1", "--port", &port.to_string()].map(str::to_owned).into(),
            env: std::collections::BTreeMap::new(),
            secrets: std::collections::BTreeMap::new(),
            log: "/logs/stray.log".into(),
            download: None,
            socket: None,
        };
        let _ = self.machine.spawn(&launch, self.now);
        self.promises.forget_start(&definition.name);
    }

    /// Lets time pass.
    pub fn advance(&mut self, seconds: u64) {
        self.advance_to(self.now.plus(Duration::from_secs(seconds)));
    }

    /// Lets milliseconds pass.
    pub fn advance_ms(&mut self, ms: u64) {
        self.advance_to(self.now.plus(Duration::from_millis(ms)));
    }

    /// The machine starts again.
    pub fn reboot(&mut self) {
        self.machine.reboot(self.now);
        self.promises.forget_starts();
        self.dead = true;
    }

    /// Somebody sets the clock, by so many milliseconds. Of a start that was
    /// never recorded and a process that cannot be read, only the clock tells
    /// that they may be the same.
    pub fn set_clock(&mut self, by: i64) {
        if self.machine.servers.iter().any(|server| server.unreadable) {
            return;
        }
        self.now.0 += by;
        self.machine.set_clock(by);
        self.gateway.iter_mut().for_each(|gateway| gateway.set_clock(by));
        self.promises.forget_times();
    }

    /// The database is deleted. Who has it open goes on writing to it.
    pub fn lose_database(&mut self) {
        if self.in_pass {
            self.doomed = true;
            return;
        }
        // Servers that cannot be read and are not recorded cannot be found.
        if self.machine.servers.iter().any(|server| server.unreadable) {
            return;
        }
        self.store = Store::default();
        self.promises.forget_times();
    }

    /// Adds to the story.
    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            *story += &what();
        }
    }

    /// Whether the files are as they were last read.
    pub fn is_as_read(&self) -> bool {
        self.last_read.as_ref().is_some_and(|read| {
            let same = |(read, now)| Arc::ptr_eq(read, now);
            read.unresolved == self.desired.unresolved
                && read.groups == self.desired.groups
                && read.definitions.len() == self.desired.definitions.len()
                && read.definitions.values().zip(self.desired.definitions.values()).all(same)
        })
    }

    /// Whether herdsman is in the midst of a pass.
    pub const fn is_in_pass(&self) -> bool {
        self.in_pass
    }

    /// Whether everything is to be stopped.
    pub(super) fn is_down(&self) -> bool {
        self.goal == Goal::Down
    }

    /// A pass begins. A dead herdsman is started anew.
    pub fn pass_begins(&mut self) {
        if self.dead && self.gateway.is_some() {
            // It serves in the same process.
            self.serve();
        }
        (self.dead, self.disturbed, self.calls, self.loads, self.in_pass) = (false, false, 0, 0, true);
        self.promises.pass_begins(self.store.instances());
    }

    /// A pass ended, one way or another.
    pub fn pass_ends(&mut self, passed: Result<&Pass, &Ended>) {
        self.in_pass = false;
        if std::mem::take(&mut self.doomed) {
            self.lose_database();
        }
        self.tally.add("passes", passed.map_or_else(|ended| ended.name(), |_| "to their end"));
        match passed {
            Ok(pass) => {
                self.publish(pass);
                let unexplained = pass.plan.actions.iter().find(|action| action.reasons.is_empty());
                assert!(unexplained.is_none(), "promise broken: no reason for {unexplained:?}");
                self.check_forgotten(&self.limits.targets);
                let now = self.now.0;
                self.tell(|| format!("-- {now}\n{}", show(&pass.plan)));
            }
            Err(ended) => self.tell(|| format!("-- {ended}\n")),
        }
    }

    /// One pass.
    pub fn try_pass(&mut self) -> Result<Pass, Ended> {
        self.pass_begins();
        let (goal, limits) = (self.goal, self.sabotaged(self.limits.clone()));
        let tried = self.tried.clone();
        let passed = pass(self, goal, Order { limits: &limits, tried: &tried, cause: "test" });
        self.pass_ends(passed.as_ref());
        passed
    }

    /// One pass that must work.
    pub fn pass(&mut self) -> Pass {
        self.try_pass().unwrap()
    }

    /// A dry run, as text.
    pub fn planned(&mut self) -> String {
        show(&self.plan())
    }

    /// The plan of a dry run.
    pub fn plan(&mut self) -> Plan {
        self.look().plan
    }

    /// A dry run.
    pub fn look(&mut self) -> Pass {
        let (goal, limits, seed) = (self.goal, self.limits.clone(), self.seed);
        self.pass_begins();
        self.in_pass = false;
        let pass = look(self, goal, &limits).unwrap();
        self.seed = seed;
        pass
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
        let (begun, mut story, mut shown) = (self.now, String::new(), String::new());
        for _ in 0..most {
            let at = self.now.since(begun).as_millis();
            let pass = self.pass();
            let text = show(&pass.plan);
            if text != shown {
                story += &format!("-- {}.{:03} s\n{text}", at / 1000, at % 1000);
                for failed in pass.outcomes.iter().filter_map(|o| Some((&o.model, o.result.as_ref().err()?))) {
                    story += &format!("failed: {}: {}\n", failed.0, failed.1);
                }
                shown = text;
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
        let clients = self.gateway.as_ref().and_then(|gateway| gateway.next_event(self.now));
        let next = deadlines.filter(|t| *t > self.now).chain(self.machine.next_event(self.now)).chain(clients).min();
        match next {
            Some(time) => Rest::Until(time),
            None => {
                let progressing = waits.filter(|on| on.kind() == WaitKind::Progressing).count();
                if progressing > 0 && self.machine.servers.iter().any(|server| !Machine::is_ready(server, self.now)) {
                    // It holds up others, and is given up at its own deadline.
                    return Rest::Until(self.now.plus(Duration::from_secs(10)));
                }
                assert_eq!(progressing, 0, "waits for what never comes:\n{}", show(&pass.plan));
                Rest::Forever
            }
        }
    }

    /// Lets time pass until then.
    pub fn advance_to(&mut self, time: Timestamp) {
        // Whatever clients do happens in order.
        while let Some(next) = self.gateway.as_ref().and_then(|gateway| gateway.next_event(self.now))
            && next < time
        {
            self.pass_time(next);
        }
        self.pass_time(time);
    }

    fn pass_time(&mut self, time: Timestamp) {
        self.now = time;
        self.machine.pass_time(time);
        if let Some(gateway) = &mut self.gateway {
            gateway.polled.values_mut().for_each(|polled| *polled = time);
        }
        self.attend();
    }
}

/// What comes after a pass.
enum Rest {
    Acted,
    Until(Timestamp),
    Forever,
}
