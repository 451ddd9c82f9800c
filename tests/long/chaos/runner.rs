//! The runner: faults at random, and what it must know to judge their effects.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::client::Client;
use super::disk::Disk;
use super::eye::{Eye, Id};
use super::fault::Fault;
use super::herdsmen::Herdsmen;
use super::strangers::{Stranger, Thief};
use super::tally::Tally;
use crate::edits::{Definition, Directory, ROTTEN, Seen, WEIGHTS};
use crate::support::{World, eventually, free_port};

/// A server that was as declared, and the definition that it was declared by.
type Unchanged = (Id, Definition);

pub struct Chaos {
    pub seed: u64,
    pub tally: Tally,
    pub(super) directory: Directory,
    pub(super) herdsmen: Herdsmen,
    pub(super) eye: Eye,
    pub(super) client: Client,
    pub(super) disk: Disk,
    pub(super) thieves: Vec<Thief>,
    pub(super) strangers: Vec<Stranger>,
    /// Servers that the runner stopped where they were.
    pub(super) frozen: Vec<Id>,
    /// Servers that nobody has had a reason to end since all was well.
    pub(super) unchanged: BTreeMap<String, Unchanged>,
    /// What each of the weights says now.
    pub(super) texts: BTreeMap<&'static str, String>,
    /// What `_defaults.toml` said last.
    pub(super) batch_size: Option<u32>,
    /// Whether the disk was full or the database deleted, since all was well.
    pub(super) storage_failed: bool,
    /// What happened since all was well.
    pub(super) history: Vec<String>,
    pub(super) rng: Rng,
    begun: Instant,
    pub(super) world: World,
}

impl Chaos {
    /// A machine on which all is well, and a watcher.
    pub fn new(seed: u64) -> Self {
        let world = World::new();
        let disk = Disk::mount(&world.state_dir());
        let texts: BTreeMap<_, _> = WEIGHTS.map(|name| (name, format!("{name}-0 "))).into();
        for (name, text) in &texts {
            world.weights(name, text);
        }
        world.weights_without_blocks(ROTTEN);
        let mut herdsmen = Herdsmen::new(&world);
        herdsmen.watch(&world);
        let id = world.state_dir().join("id");
        eventually("the watcher records", Duration::from_secs(60), || Seen::now(&world).is_ok() && id.exists());
        let eye = Eye::open(fs::read_to_string(&id).unwrap().trim_end());
        Self {
            seed,
            tally: Tally::default(),
            // Edits follow from the seed alone; what else happens also depends on them.
            directory: Directory::new(&world, Rng::with_seed(seed)).declaring(free_port),
            herdsmen,
            strangers: vec![Stranger::by_hand(&world, &eye)],
            eye,
            client: Client::new(&world),
            disk,
            thieves: Vec::new(),
            frozen: Vec::new(),
            unchanged: BTreeMap::new(),
            texts,
            batch_size: None,
            storage_failed: false,
            history: Vec::new(),
            rng: Rng::with_seed(!seed),
            begun: Instant::now(),
            world,
        }
    }

    /// Rounds of faults, each followed by a quiet point.
    pub fn run(&mut self, at_least: Duration) {
        self.quiet_point();
        while self.begun.elapsed() < at_least {
            let round = Duration::from_millis(self.rng.u64(2_000..9_000));
            let begun = Instant::now();
            while begun.elapsed() < round {
                self.step();
            }
            self.quiet_point();
        }
        self.tally.took = self.begun.elapsed();
    }

    /// Leaves nothing behind: what it amounted to.
    pub fn end(mut self) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        tally.herdsmen_killed = self.herdsmen.kills;
        {
            let sight = self.eye.sight();
            (tally.scans, tally.starts) = (sight.scans, sight.starts);
            tally.alive = sight.sightings as f64 / sight.scans as f64;
        }
        let place = self.world.path().to_owned();
        drop(self);
        assert!(!place.exists(), "{} is still there", place.display());
        tally
    }

    fn step(&mut self) {
        let fault = Fault::random(&mut self.rng);
        if let Some(what) = self.make(fault) {
            self.tally.count(fault);
            self.note(what);
        }
        self.take_something_back();
        self.judge();
        // Most edits share a burst; now and then there is time to act upon it.
        let milliseconds = if self.rng.u8(..8) == 0 { self.rng.u64(200..700) } else { self.rng.u64(..40) };
        std::thread::sleep(Duration::from_millis(milliseconds));
    }

    /// Judges what the eye has seen since, and how the herdsmen ended.
    pub(super) fn judge(&mut self) {
        if self.eye.is_blind() {
            self.fail("the eye sees no more");
        }
        let (ended, violations) = {
            let mut sight = self.eye.sight();
            (std::mem::take(&mut sight.ended), std::mem::take(&mut sight.violations))
        };
        if let Some(violation) = violations.first() {
            self.fail(violation);
        }
        for (id, model) in ended {
            if self.unchanged.get(&model).is_some_and(|(unchanged, _)| *unchanged == id) {
                self.fail(&format!("nobody had a reason to end {}, the server of {model}", id.pid));
            }
        }
        if let Err(wrong) = self.herdsmen.look_after(self.storage_failed) {
            self.fail(&wrong);
        }
        if let Some(late) = self.herdsmen.late().filter(|_| !self.herdsmen.is_frozen()) {
            self.fail(&format!("{late} does not end"));
        }
    }

    pub(super) fn note(&mut self, what: String) {
        self.history.push(format!("{:9.3} {what}", self.begun.elapsed().as_secs_f64()));
    }

    pub(super) fn fail(&self, violation: &str) -> ! {
        let log = self.herdsmen.log();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(150)..].join("\n");
        let status = self.world.run(&["status"]);
        panic!(
            "{violation}\nHERDSMAN_CHAOS_SEED={}, {:.3} s\n\nsince all was well:\n{}\n\nthe herdsmen said:\n{last}\n\n{status}",
            self.seed,
            self.begun.elapsed().as_secs_f64(),
            self.history.join("\n")
        );
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.strangers.drain(..).for_each(|stranger| stranger.end(&self.eye));
        self.herdsmen.end();
        // Finds servers by the state id, which lies on the disk.
        self.world.stop_all();
        self.disk.unmount();
    }
}
