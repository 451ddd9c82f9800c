//! How each fault is made, and how some are taken back after a while.
//!
//! Whatever gives herdsman a reason to end a server takes that server out of
//! the unchanged ones, at once or before.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::eye::Id;
use super::fault::Fault;
use super::runner::Chaos;
use super::strangers::{Stranger, Thief};
use crate::edits::{Edit, WEIGHTS, option};
use crate::support::{Process, Stat};

impl Chaos {
    /// Makes a fault: what was done; `None` if there is nothing now that it
    /// could befall.
    pub(super) fn make(&mut self, fault: Fault) -> Option<String> {
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
            if self.unchanged.get(name).is_some_and(|(_, was)| !self.directory.still_says(name, was)) {
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
        self.storage_failed = true;
        let deleted = ["herdsman.db", "herdsman.db-wal", "herdsman.db-shm"]
            .map(|file| fs::remove_file(self.world.state_dir().join(file)).is_ok());
        deleted[0].then(|| "delete the database".to_owned())
    }

    fn fill_disk(&mut self) -> Option<String> {
        if self.disk.is_full() {
            return None;
        }
        self.disk.fill(&mut self.rng);
        self.storage_failed = true;
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
        let heir = Stranger::heir_of(&server, &self.eye)?;
        self.strangers.push(heir);
        Some(format!("another process gets pid {}", id.pid))
    }

    fn any_server(&mut self) -> Option<(Id, String)> {
        let live = self.eye.live();
        self.rng.choice(live)
    }

    fn kill_server(&mut self, id: Id, model: &str) -> bool {
        if self.unchanged.get(model).is_some_and(|(unchanged, _)| *unchanged == id) {
            self.unchanged.remove(model);
        }
        id.signal(Signal::KILL)
    }

    fn edit_something(&mut self) {
        let edit = self.directory.edit();
        let what = self.edited(edit);
        self.tally.count(Fault::EditDefinition);
        self.note(what);
    }

    /// At any moment, or when it is likely to be busy.
    fn kill_watcher(&mut self) -> Option<String> {
        if self.herdsmen.has_watcher() && self.rng.bool() {
            self.edit_something();
            // The debounce, and the pass after it.
            sleep(self.rng.u64(190..330));
        }
        self.herdsmen.kill_watcher().then(|| "kill the watcher".to_owned())
    }

    /// Gives a pass by hand something to do, or two at once, and kills it in the
    /// middle of it, but for a few.
    fn kill_reconcile(&mut self) -> Option<String> {
        if self.herdsmen.by_hand() >= 3 {
            return None;
        }
        self.edit_something();
        if self.rng.bool() {
            // The watcher is about to look, too.
            sleep(self.rng.u64(180..230));
        }
        let mut run = String::new();
        for _ in 0..self.rng.u8(1..3) {
            run = self.herdsmen.reconcile(&self.world, &mut self.rng);
            self.note(run.clone());
            self.tally.by_hand += 1;
        }
        if self.rng.u8(..4) == 0 {
            return None;
        }
        let milliseconds = self.rng.u64(..120);
        sleep(milliseconds);
        self.herdsmen.kill_newest().then(|| format!("kill {run} after {milliseconds} ms"))
    }

    /// Faults last a while.
    pub(super) fn take_something_back(&mut self) {
        let mut one_in = |steps: u8| self.rng.u8(..steps) == 0;
        if one_in(3) {
            self.herdsmen.watch(&self.world);
        }
        if one_in(8) {
            self.herdsmen.thaw();
        }
        if one_in(10) {
            self.disk.free();
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
}

fn sleep(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}
