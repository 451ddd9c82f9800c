//! The runner: faults at random, and what it must know to judge their effects.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;

use super::client::Client;
use super::disk::Disk;
use super::eye::{Eye, Id};
use super::fault::Fault;
use super::herdsmen::Herdsmen;
use super::strangers::{Stranger, Thief};
use super::tally::Tally;
use crate::edits::{Definition, Directory, Edit, ROTTEN, Seen, WEIGHTS, option};
use crate::support::{Process, Stat, World, eventually, free_port};

/// How long the machine itself may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that was as declared, and the definition that it was declared by.
type Unchanged = (Id, Definition);

pub struct Chaos {
    pub seed: u64,
    pub tally: Tally,
    pub(super) directory: Directory,
    pub(super) herdsmen: Herdsmen,
    pub(super) eye: Option<Eye>,
    pub(super) client: Client,
    pub(super) disk: Option<Disk>,
    pub(super) thieves: Vec<Thief>,
    pub(super) strangers: Vec<Stranger>,
    /// Servers that the runner stopped where they were.
    pub(super) frozen: Vec<Id>,
    /// Servers that nobody has had a reason to end since all was well.
    pub(super) unchanged: BTreeMap<String, Unchanged>,
    /// What each of the weights says now.
    pub(super) texts: BTreeMap<&'static str, String>,
    /// What `_defaults.toml` said last.
    batch_size: Option<u32>,
    /// Since all was well.
    pub(super) disk_was_full: bool,
    /// What happened since all was well.
    pub(super) history: Vec<String>,
    rng: Rng,
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
        let mut chaos = Self {
            seed,
            tally: Tally::default(),
            // Edits follow from the seed alone; what else happens also depends on them.
            directory: Directory::new(&world, Rng::with_seed(seed)).declaring(free_port),
            herdsmen: Herdsmen::new(&world),
            eye: None,
            client: Client::new(&world),
            disk: Some(disk),
            thieves: Vec::new(),
            strangers: Vec::new(),
            frozen: Vec::new(),
            unchanged: BTreeMap::new(),
            texts,
            batch_size: None,
            disk_was_full: false,
            history: Vec::new(),
            rng: Rng::with_seed(!seed),
            begun: Instant::now(),
            world,
        };
        chaos.herdsmen.watch(&chaos.world);
        let id = chaos.world.state_dir().join("id");
        eventually("there is a state id", PATIENCE, || {
            fs::read_to_string(&id).is_ok_and(|id| !id.is_empty()) && Seen::now(&chaos.world).is_ok()
        });
        let eye = chaos.eye.insert(Eye::open(fs::read_to_string(&id).unwrap().trim_end()));
        chaos.strangers.push(Stranger::by_hand(&chaos.world, eye));
        chaos
    }

    /// Rounds of faults, each followed by a quiet point.
    pub fn run(&mut self, at_least: Duration) {
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
        let place = self.world.path().to_owned();
        self.clear_away();
        let mut tally = std::mem::take(&mut self.tally);
        tally.herdsmen_killed = self.herdsmen.kills;
        if let Some(eye) = self.eye.take() {
            let sight = std::mem::take(&mut *eye.sight());
            (tally.scans, tally.starts) = (sight.scans, sight.starts);
            tally.alive = sight.sightings as f64 / sight.scans as f64;
            eye.close();
        }
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
        sleep(milliseconds);
    }

    /// Makes a fault: what was done; `None` if there is nothing now that it
    /// could befall.
    fn make(&mut self, fault: Fault) -> Option<String> {
        match fault {
            Fault::EditDefinition => {
                let edit = self.directory.edit();
                Some(self.edited(edit))
            }
            Fault::EditDefaults => {
                let edit = self.directory.edit_defaults();
                Some(self.edited(edit))
            }
            Fault::ReplaceWeights => Some(self.replace_weights()),
            Fault::EditRows => match self.client.edit(&mut self.rng).ok()? {
                Ok(what) => Some(what),
                Err(touched) => self.fail(&touched),
            },
            Fault::DeleteDatabase => self.delete_database(),
            Fault::FillDisk => self.fill_disk(),
            Fault::StealPort => self.steal_port(),
            Fault::KillServer => {
                let (id, model) = self.any_server()?;
                self.kill_server(id, &model).then(|| format!("kill {}, the server of {model}", id.pid))
            }
            Fault::ReusePid => self.reuse_pid(),
            Fault::FreezeServer => {
                let (id, model) = self.any_server().filter(|_| self.frozen.len() < 4)?;
                self.frozen.push(id);
                id.signal(Signal::STOP).then(|| format!("freeze {}, the server of {model}", id.pid))
            }
            Fault::KillWatcher => self.kill_watcher(),
            Fault::KillReconcile => self.kill_reconcile(),
            Fault::FreezeHerdsman => {
                let one = self.herdsmen.freeze(&mut self.rng)?;
                Some(format!("freeze {one}"))
            }
        }
    }

    /// Any edit takes effect on servers only as far as it changes what their
    /// definitions say: a broken one says what it said before.
    pub(super) fn edited(&mut self, edit: Edit) -> String {
        let batch_size = self.directory.defaults.batch_size;
        if self.batch_size != batch_size {
            self.batch_size = batch_size;
            self.unchanged.clear();
        }
        for name in &edit.names {
            let now = self.directory.files.get(name);
            let says_the_same = |was: &Definition| {
                now.is_some_and(|file| file.says.as_ref().map_or(!file.disturbs, |now| now.serves(was)))
            };
            if self.unchanged.get(name).is_some_and(|(_, was)| !says_the_same(was)) {
                self.unchanged.remove(name);
            }
        }
        edit.what
    }

    /// By a rename: what runs keeps the former file.
    fn replace_weights(&mut self) -> String {
        let name = WEIGHTS[self.rng.usize(..WEIGHTS.len())];
        let text = format!("{name}-{} ", self.rng.u32(..));
        let aside = self.world.weights("aside", &text);
        self.unchanged.retain(|_, (_, definition)| definition.weights != name);
        fs::rename(&aside, aside.with_file_name(format!("{name}.gguf"))).unwrap();
        self.texts.insert(name, text.clone());
        format!("replace {name}, which says {text:?} now")
    }

    fn delete_database(&mut self) -> Option<String> {
        if let Ok(Some(touched)) = self.client.difference() {
            self.fail(&touched);
        }
        self.client.forget();
        let deleted = ["herdsman.db", "herdsman.db-wal", "herdsman.db-shm"]
            .map(|file| fs::remove_file(self.world.state_dir().join(file)).is_ok());
        deleted[0].then(|| "delete the database".to_owned())
    }

    fn fill_disk(&mut self) -> Option<String> {
        let disk = self.disk.as_mut().filter(|disk| !disk.is_full())?;
        disk.fill(&mut self.rng);
        self.disk_was_full = true;
        Some("fill the disk".to_owned())
    }

    /// One that is declared and not in use, or that of a server which is
    /// killed for it.
    fn steal_port(&mut self) -> Option<String> {
        if self.thieves.len() >= 4 {
            return None;
        }
        let declared: Vec<u16> = self.directory.files.values().filter_map(|file| file.port()).collect();
        let idle = self.rng.choice(declared).and_then(|port| Some((port, Thief::take(port, Duration::ZERO)?)));
        let (port, thief) = match idle {
            Some(taken) => taken,
            None => {
                let (id, model) = self.any_server()?;
                let server = Process::read(id.pid).filter(|process| Id::from(process) == id)?;
                let port = option(&server, "--port")?.parse().ok()?;
                self.kill_server(id, &model);
                self.note(format!("kill {}, the server of {model}, for its port", id.pid));
                (port, Thief::take(port, Duration::from_millis(200))?)
            }
        };
        self.thieves.push(thief);
        Some(format!("steal port {port}"))
    }

    /// While no watcher sees that the server is gone.
    fn reuse_pid(&mut self) -> Option<String> {
        let (id, model) = self.any_server()?;
        let server = Process::read(id.pid).filter(|process| Id::from(process) == id)?;
        self.herdsmen.kill_watcher();
        self.kill_server(id, &model);
        self.note(format!("kill the watcher, and {}, the server of {model}", id.pid));
        let begun = Instant::now();
        while Stat::of(id.pid).is_some() {
            if begun.elapsed() > Duration::from_millis(300) {
                // Its parent is a frozen herdsman, which does not reap it.
                return None;
            }
            sleep(1);
        }
        let heir = Stranger::heir_of(&server, self.eye.as_ref()?)?;
        self.strangers.push(heir);
        Some(format!("another process gets pid {}", id.pid))
    }

    fn any_server(&mut self) -> Option<(Id, String)> {
        let live = self.eye.as_ref().map(Eye::live)?;
        self.rng.choice(live)
    }

    fn kill_server(&mut self, id: Id, model: &str) -> bool {
        if self.unchanged.get(model).is_some_and(|(unchanged, _)| *unchanged == id) {
            self.unchanged.remove(model);
        }
        id.signal(Signal::KILL)
    }

    /// At any moment, or when it is likely to be at work.
    fn kill_watcher(&mut self) -> Option<String> {
        if self.herdsmen.has_watcher() && self.rng.bool() {
            let edit = self.directory.edit();
            let what = self.edited(edit);
            self.note(what);
            // The debounce, and the pass after it.
            sleep(self.rng.u64(190..330));
        }
        self.herdsmen.kill_watcher().then(|| "kill the watcher".to_owned())
    }

    /// Gives a pass by hand something to do, and kills it in the middle of it,
    /// but for a few.
    fn kill_reconcile(&mut self) -> Option<String> {
        if self.herdsmen.by_hand() >= 3 {
            return None;
        }
        let edit = self.directory.edit();
        let what = self.edited(edit);
        self.note(what);
        let run = self.herdsmen.reconcile(&self.world, &mut self.rng);
        self.note(run.clone());
        self.tally.by_hand += 1;
        if self.rng.u8(..4) == 0 {
            return None;
        }
        let milliseconds = self.rng.u64(..120);
        sleep(milliseconds);
        self.herdsmen.kill_newest().then(|| format!("kill {run} after {milliseconds} ms"))
    }

    /// Faults last a while.
    fn take_something_back(&mut self) {
        let mut one_in = |steps: u8| self.rng.u8(..steps) == 0;
        if one_in(3) {
            self.herdsmen.watch(&self.world);
        }
        if one_in(8) {
            self.herdsmen.thaw();
        }
        if one_in(10) {
            self.disk.iter_mut().for_each(Disk::free);
        }
        if one_in(12) {
            self.thieves.pop();
        }
        if one_in(12) {
            self.thaw_server();
        }
    }

    /// Lets the server go on that was stopped last; whether there was one.
    pub(super) fn thaw_server(&mut self) -> bool {
        let frozen = self.frozen.pop();
        // It may be gone by now.
        frozen.map(|id| id.signal(Signal::CONT)).is_some()
    }

    /// Judges what the eye has seen since, and how the herdsmen ended.
    pub(super) fn judge(&mut self) {
        let Some(eye) = &self.eye else { return };
        let (ended, violations) = {
            let mut sight = eye.sight();
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
        if let Err(wrong) = self.herdsmen.look_after(self.disk_was_full) {
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

    fn clear_away(&mut self) {
        if let Some(eye) = &self.eye {
            self.strangers.drain(..).for_each(|stranger| stranger.end(eye));
        }
        self.herdsmen.end();
        self.thieves.clear();
        self.world.stop_all();
        self.disk = None;
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.clear_away();
    }
}

fn sleep(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}
