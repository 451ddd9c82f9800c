//! Quiet points: everything is taken back, and then everything must come to be
//! as declared, within a bounded time and without anything left over.

use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, getpid, waitpid};

use super::eye::Id;
use super::runner::Chaos;
use super::strangers::Stranger;
use crate::edits::Seen;
use crate::support::{Stat, pids, try_ask};

/// How long all may take to be as declared. Weights that were replaced count
/// after ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many models there are when faults begin again.
const LEAST: usize = 9;

/// How often somebody says `reconcile --retry`: what was killed again and again
/// would be tried again only minutes later.
const RETRY_EVERY: Duration = Duration::from_secs(15);

impl Chaos {
    /// Waits until all is well; what runs then is to run on until it is given
    /// a reason not to.
    pub fn quiet_point(&mut self) {
        self.take_everything_back();
        let begun = Instant::now();
        // Sometimes the watcher is left alone with it for a while.
        let mut retry_at = if self.rng.bool() { begun } else { begun + Duration::from_secs(5) };
        let seen = loop {
            self.judge();
            self.herdsmen.watch(&self.world);
            if self.herdsmen.by_hand() == 0 {
                if Instant::now() >= retry_at {
                    self.herdsmen.retry(&self.world);
                    retry_at += RETRY_EVERY;
                    continue;
                }
                match self.converged() {
                    Ok(seen) => break seen,
                    Err(difference) if begun.elapsed() > PATIENCE => self.fail(&difference),
                    Err(_) => {}
                }
            } else if begun.elapsed() > PATIENCE * 2 {
                self.fail("passes by hand do not end");
            }
            std::thread::sleep(Duration::from_millis(30));
        };
        self.tally.longest = self.tally.longest.max(begun.elapsed());
        self.tally.quiet_points += 1;
        self.serves_as_declared(&seen);
        self.nobody_is_left_over();
        if self.herdsmen.log().contains("panicked at") {
            self.fail("a herdsman panicked");
        }
        self.begin_anew(&seen);
    }

    fn take_everything_back(&mut self) {
        while self.thaw_server() {}
        self.thieves.clear();
        self.disk.free();
        self.herdsmen.thaw();
        let mut edits = self.directory.fix_all();
        edits.push(self.directory.good_edit());
        while self.directory.files.len() < LEAST {
            edits.push(self.directory.add());
        }
        for edit in edits {
            let what = self.edited(edit);
            self.note(what);
        }
        self.note("quiet".to_owned());
    }

    /// Whether servers, command lines and rows are as declared, and a pass by
    /// hand agrees; or the first thing that is not.
    fn converged(&self) -> Result<Seen, String> {
        let seen = Seen::now(&self.world).map_err(|error| format!("the database cannot be read: {error}"))?;
        if let Some(difference) = seen.differs_from(&self.directory) {
            return Err(difference);
        }
        let dry_run = self.world.run(&["reconcile", "--dry-run", "--detailed-exitcode", "--max-deletes", "100%"]);
        // Weights that were just replaced count once they have been still.
        if dry_run.code != 0 || dry_run.stdout.contains("not (yet)") {
            return Err(format!("a pass by hand would have something to do, or waits: {dry_run}"));
        }
        match self.client.difference() {
            Ok(None) => Ok(seen),
            Ok(Some(touched)) => self.fail(&touched),
            Err(error) => Err(format!("the database cannot be read: {error}")),
        }
    }

    /// Each model answers with what its weights say now.
    fn serves_as_declared(&self, seen: &Seen) {
        for (name, file) in &self.directory.files {
            let Some(definition) = file.says.as_ref().filter(|definition| definition.running) else { continue };
            let answer = try_ask(seen.port(name));
            if !answer.as_ref().is_ok_and(|answer| answer.contains(&self.texts[definition.weights])) {
                let (pid, text) = (seen.pid(name), &self.texts[definition.weights]);
                self.fail(&format!("{name}, pid {pid:?} as it was seen, says {answer:?}, not {text:?}"));
            }
        }
    }

    /// No process that carries the state id is anything but an instance, and
    /// no zombie waits for a herdsman.
    fn nobody_is_left_over(&mut self) {
        let herdsman = self.herdsmen.watcher_pid();
        let begun = Instant::now();
        loop {
            let helpers = self.world.servers().into_iter().filter(|process| process.session != process.pid);
            let helper = helpers.map(|process| Id::from(&process)).find(|id| !self.is_stranger(*id));
            let stats: Vec<(i32, Stat)> = pids().filter_map(|pid| Some((pid, Stat::of(pid)?))).collect();
            let zombies = || stats.iter().filter(|(_, stat)| stat.is_dead());
            let zombie = zombies().find(|(_, stat)| Some(stat.parent) == herdsman);
            if helper.is_none() && zombie.is_none() {
                // What a herdsman that was killed had started for a moment.
                let ours = zombies().filter(|(_, stat)| stat.parent == getpid().as_raw_pid());
                for (pid, _) in ours.filter(|(_, stat)| stat.name == "llama-server") {
                    let _ = waitpid(Pid::from_raw(*pid), WaitOptions::NOHANG);
                }
                return;
            }
            if begun.elapsed() > Duration::from_secs(5) {
                self.fail(&format!("left over: {helper:?}, {zombie:?}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_stranger(&self, id: Id) -> bool {
        self.strangers.iter().any(|stranger| stranger.id() == id)
    }

    fn begin_anew(&mut self, seen: &Seen) {
        let declared = self.directory.files.iter().filter_map(|(name, file)| Some((name, file.says.clone()?)));
        let servers = declared.filter_map(|(name, says)| Some((name.clone(), (Id::from(seen.server(name)?), says))));
        self.unchanged = servers.collect();
        self.history.clear();
        self.herdsmen.forget_log();
        self.storage_failed = false;
        // The one by hand stays, the one beside it looks like a server of today.
        self.strangers.drain(1..).for_each(|stranger| stranger.end(&self.eye));
        let server = self.unchanged.keys().find_map(|name| seen.server(name));
        self.strangers.extend(server.map(|server| Stranger::double_of(server, &self.eye)));
    }
}
