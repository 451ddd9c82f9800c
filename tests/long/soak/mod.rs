//! Random edits of the definitions under a running watcher, and stillness:
//! then everything is as the definitions say, and no server whose definition
//! did not change is another one.
//!
//! It takes a minute or more, and so is a step of its own:
//! `cargo test --test long soak -- --nocapture`. The edits follow from a
//! seed, which is printed; `HERDSMAN_SOAK_SEED` replays them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::edits::{Definition, Directory, Edit, ROTTEN, Seen, WEIGHTS};
use crate::support::{Background, World, ask, eventually};
use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};

/// The resync comes too late to help: every change has its own trigger.
const WATCH: [&str; 5] = ["watch", "--resync", "1h", "--max-deletes", "100%"];

/// How long all may take to be as the definitions say.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn after_a_thousand_random_edits_everything_is_as_the_definitions_say() {
    let mut soak = Soak::new();
    soak.run(1_000, Duration::from_secs(60), |_| {});
}

#[test]
fn so_it_is_while_servers_and_the_watcher_are_killed() {
    let mut soak = Soak::new();
    soak.run(300, Duration::from_secs(60), |soak| match soak.chance.u8(..30) {
        0 => soak.kill_server(),
        1 => soak.restart_watcher(Signal::KILL),
        2 => soak.restart_watcher(Signal::TERM),
        _ => {}
    });
}

struct Soak {
    seed: u64,
    directory: Directory,
    watcher: Background,
    /// Servers whose definitions have not changed since they were seen.
    unchanged: BTreeMap<String, (i32, Definition)>,
    kills: BTreeMap<String, u32>,
    /// What happened since all was well.
    history: Vec<String>,
    /// For everything but the edits, so that those follow from the seed alone.
    chance: Rng,
    world: World,
}

impl Soak {
    fn new() -> Self {
        let seed = std::env::var("HERDSMAN_SOAK_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
        println!("HERDSMAN_SOAK_SEED={seed}");
        let world = World::new();
        for text in WEIGHTS {
            world.weights(text, &format!("{text} "));
        }
        world.weights_without_blocks(ROTTEN);
        let directory = Directory::new(&world, Rng::with_seed(seed));
        let (watcher, chance) = (world.start(&WATCH), Rng::with_seed(!seed));
        eventually("the watcher records", PATIENCE, || Seen::is_recorded(&world));
        let (unchanged, kills, history) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { seed, directory, watcher, unchanged, kills, history, chance, world }
    }

    /// So many edits at least, for so long at least, with `fault` between them.
    fn run(&mut self, edits: usize, at_least: Duration, fault: impl Fn(&mut Self)) {
        let start = Instant::now();
        let (mut made, mut looks) = (0, 0);
        while made < edits || start.elapsed() < at_least {
            let burst = self.chance.usize(1..40);
            for _ in 0..burst {
                let edit = self.directory.edit();
                self.note(&edit);
                fault(self);
                self.pause();
            }
            // While something is broken, deletions may wait: often nothing is.
            let repaired = if self.chance.u8(..3) > 0 { self.repair() } else { 0 };
            self.is_as_defined();
            (made, looks) = (made + burst + repaired, looks + 1);
        }
        self.repair();
        self.is_as_defined();
        self.serves_as_defined();
        println!("{made} edits, {looks} looks in between, {:.0} s, seed {}", start.elapsed().as_secs_f64(), self.seed);
    }

    /// Makes every file a good one, and one more edit, of any kind but a
    /// broken one: how many edits that took.
    fn repair(&mut self) -> usize {
        let mut edits = self.directory.fix_all();
        edits.push(self.directory.good_edit());
        edits.iter().for_each(|edit| self.note(edit));
        edits.len()
    }

    fn note(&mut self, edit: &Edit) {
        self.history.push(edit.what.clone());
        for name in &edit.names {
            if self.unchanged.get(name).is_some_and(|(_, was)| !self.directory.still_says(name, was)) {
                self.unchanged.remove(name);
            }
        }
    }

    /// Mostly none, so that edits share a burst; some longer than the debounce.
    fn pause(&mut self) {
        let milliseconds = match self.chance.u8(..20) {
            0 => self.chance.u64(200..600),
            1..8 => self.chance.u64(..60),
            _ => 0,
        };
        std::thread::sleep(Duration::from_millis(milliseconds));
    }

    /// Waits for stillness and looks.
    fn is_as_defined(&mut self) {
        let start = Instant::now();
        let seen = loop {
            let seen = Seen::now(&self.world).unwrap();
            match seen.differs_from(&self.directory) {
                None => break seen,
                Some(difference) if start.elapsed() > PATIENCE => self.fail(&difference),
                Some(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        self.unchanged_servers_are_the_same(&seen);
        if self.directory.is_good() {
            // It stays so, and a pass by hand finds nothing to do either.
            let by_hand = self.world.run(&["reconcile", "--detailed-exitcode", "--max-deletes", "100%"]);
            if by_hand.code != 0 || !by_hand.stdout.contains("No changes.") {
                self.fail(&format!("a pass by hand had something to do: {by_hand}"));
            }
            let again = Seen::now(&self.world).unwrap();
            if let Some(difference) = again.differs_from(&self.directory) {
                self.fail(&difference);
            }
            self.unchanged_servers_are_the_same(&again);
        }
        if let Some(status) = self.watcher.child().try_wait().unwrap() {
            self.fail(&format!("the watcher ended: {status}"));
        }
        for (name, file) in &self.directory.files {
            if let Some((pid, definition)) = seen.pid(name).zip(file.says.clone()) {
                self.unchanged.insert(name.clone(), (pid, definition));
            }
        }
        self.history.clear();
    }

    fn unchanged_servers_are_the_same(&self, seen: &Seen) {
        for (name, (pid, _)) in &self.unchanged {
            if seen.pid(name) != Some(*pid) {
                self.fail(&format!("{name} did not change, and its server {pid} is now {:?}", seen.pid(name)));
            }
        }
    }

    /// Each model answers with its own weights.
    fn serves_as_defined(&self) {
        let seen = Seen::now(&self.world).unwrap();
        for (name, file) in &self.directory.files {
            if let Some(definition) = file.says.as_ref().filter(|definition| definition.running) {
                let answer = ask(seen.port(name));
                assert!(answer.contains(definition.weights), "{name} says {answer:?}, not {}", definition.weights);
            }
        }
    }

    /// Kills one that was seen ready: a death while it loads would be the
    /// failure of a generation. Each only so often, as the next try comes later
    /// each time.
    fn kill_server(&mut self) {
        const MOST: u32 = 3;
        let seen = Seen::now(&self.world).unwrap();
        let alive = seen.ready().into_iter().filter(|name| self.kills.get(*name).is_none_or(|kills| *kills < MOST));
        let Some(name) = self.chance.choice(alive.cloned().collect::<Vec<_>>()) else { return };
        let Some(pid) = seen.pid(&name).and_then(Pid::from_raw) else { return };
        // It may be gone by now.
        let _ = kill_process(pid, Signal::KILL);
        self.history.push(format!("kill the server of {name}"));
        self.unchanged.remove(&name);
        *self.kills.entry(name).or_default() += 1;
    }

    fn restart_watcher(&mut self, signal: Signal) {
        let watcher = self.watcher.child();
        kill_process(Pid::from_child(watcher), signal).unwrap();
        let start = Instant::now();
        watcher.wait().unwrap();
        assert!(start.elapsed() < Duration::from_secs(10), "the watcher took {:?} to end", start.elapsed());
        self.history.push(format!("restart the watcher, which ended by {signal:?}"));
        self.watcher = self.world.start(&WATCH);
    }

    fn fail(&self, difference: &str) -> ! {
        let log = std::fs::read_to_string(self.world.path().join("stderr.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(80)..].join("\n");
        let status = self.world.run(&["status"]);
        panic!(
            "{difference}\nHERDSMAN_SOAK_SEED={}\n\nsince all was well:\n{}\n\nthe watcher's log:\n{last}\n\n{status}",
            self.seed,
            self.history.join("\n")
        );
    }
}
