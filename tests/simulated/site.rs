//! The watcher's surroundings in memory: time that passes only while it waits,
//! and a script of what happens meanwhile. Hours take milliseconds.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use herdsman::model::{Busy, Given, Timestamp};
use herdsman::pass::Pass;
use herdsman::pass::by_hand::{Answer, Asked};
use herdsman::pass::next::Awaited;
use herdsman::plan::Command;
use herdsman::watch::{Cause, Causes, Inbox, Pace, Surroundings, Woken, run};

use super::{Ended, World, name};

/// What happens; the watcher gets what it returns.
type What = Box<dyn FnOnce(&mut World) -> Option<Cause>>;

/// Something that happens at a time.
pub struct Happening {
    at: Timestamp,
    what: What,
}

/// A world with a watcher in it.
pub struct Site {
    /// The world.
    pub world: World,
    /// How often the watcher looks.
    pub pace: Pace,
    /// Every pass: when, why, and what it did or waits for.
    pub passes: Vec<(Duration, String, Result<String, Ended>)>,
    /// What another program does right after every pass.
    pub undo: Option<fn(&mut World)>,
    inbox: Inbox,
    began: Timestamp,
    until: Timestamp,
    script: VecDeque<Happening>,
    causes: String,
}

impl Site {
    /// A watcher in `world` from now on.
    pub fn new(world: World) -> Self {
        let pace = Pace { resync: Duration::from_secs(30), debounce: Duration::from_millis(200) };
        let began = world.now;
        let (passes, script, causes) = (Vec::new(), VecDeque::new(), String::new());
        Self { world, pace, passes, undo: None, inbox: Inbox::new(|| ()), began, until: began, script, causes }
    }

    /// Something happens, so many milliseconds from the beginning; the watcher
    /// gets what is returned. Call it in order of time.
    pub fn at(&mut self, ms: u64, what: impl FnOnce(&mut World) -> Option<Cause> + 'static) -> &mut Self {
        let at = self.began.plus(Duration::from_millis(ms));
        self.script.push_back(Happening { at, what: Box::new(what) });
        self
    }

    /// Leaves a command for the watcher, so many milliseconds from the beginning.
    pub fn command_at(&mut self, ms: u64, model: &str, command: Command) -> Receiver<Answer> {
        let (given, inbox) = (Given { by: "ann".to_owned(), at: self.began, because: None }, self.inbox.clone());
        let (asked, (sender, answers)) = (Asked { model: name(model), command, given }, channel());
        self.at(ms, move |_| {
            // Answered by the pass that it causes.
            let answer = inbox.put(asked);
            std::thread::spawn(move || answer.recv().map(|answer| sender.send(answer)));
            Some(Cause::Command)
        });
        answers
    }

    /// Leaves a command now.
    pub fn leave(&self, model: &str, command: Command) -> Receiver<Answer> {
        let given = Given { by: "ann".to_owned(), at: self.began, because: None };
        self.inbox.put(Asked { model: name(model), command, given })
    }

    /// Watches for so long. A watcher that is killed is started again.
    pub fn watch(&mut self, seconds: u64) {
        self.until = self.began.plus(Duration::from_secs(seconds));
        let (pace, limits) = (self.pace, self.world.sabotaged(self.world.limits.clone()));
        loop {
            run(self, pace, &limits);
            if !std::mem::take(&mut self.world.dead) {
                return;
            }
        }
    }

    /// Every pass that did something or failed: `seconds cause: what`.
    pub fn story(&self) -> String {
        let changed = self.passes.iter().filter(|(_, _, what)| what.as_ref().map_or(true, |what| !what.is_empty()));
        let line = |(at, causes, what): &(Duration, String, Result<String, Ended>)| {
            let what = what.as_ref().map_or_else(|error| format!("failed: {error}"), Clone::clone);
            format!("{:>8.3} {causes}: {what}\n", at.as_secs_f64())
        };
        changed.map(line).collect()
    }

    /// How many passes were made for just this cause.
    pub fn passes_for(&self, cause: &str) -> usize {
        self.passes.iter().filter(|(_, causes, _)| causes == cause).count()
    }

    fn since(&self, time: Timestamp) -> Duration {
        time.since(self.began)
    }
}

impl Surroundings for Site {
    type World = World;
    type Lock = ();

    fn world(&mut self) -> &mut World {
        &mut self.world
    }

    fn models_dir(&self) -> &Path {
        Path::new("/models.d")
    }

    fn uptime(&self) -> Duration {
        self.since(self.world.now)
    }

    fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    fn prepare(&mut self, causes: &Causes) {
        self.causes = causes.to_string();
        self.world.pass_begins();
    }

    fn files_changed(&self) -> bool {
        !self.world.is_as_read()
    }

    fn lock(&mut self) -> Result<(), Ended> {
        Ok(())
    }

    fn done(&mut self, pass: Result<&Pass, &Ended>, _: Option<&str>, _: String) {
        self.world.pass_ends(pass);
        let what = pass.map(|pass| {
            let done = pass.outcomes.iter().map(|outcome| {
                let begun = if outcome.only_begun { " begun" } else { "" };
                let failed = outcome.result.as_ref().err().map_or_else(String::new, |why| format!(" failed: {why}"));
                format!("{} {}{begun}{failed}", outcome.kind.as_str(), outcome.model)
            });
            done.collect::<Vec<_>>().join(", ")
        });
        self.passes.push((self.uptime(), std::mem::take(&mut self.causes), what.map_err(|error| *error)));
        assert!(self.passes.len() < 100_000, "it does not rest");
        self.undo.iter().for_each(|undo| undo(&mut self.world));
    }

    fn wait(&mut self, awaited: &Awaited, timeout: Duration) -> Woken {
        let world = &mut self.world;
        if world.dead {
            return Woken { stop: true, ..Woken::default() };
        }
        // The simulated clock counts milliseconds.
        let end = world.now.plus(timeout + Duration::from_micros(999));
        let clients = world.gateway.as_ref().and_then(|gateway| gateway.next_event(world.now));
        let asked = |world: &World| {
            let demand = world.gateway.as_ref().map(|gateway| gateway.demand(world.now));
            let counts = |demand: herdsman::model::Demand| {
                demand.models.into_iter().map(|(name, t)| (name, t.waiting, t.in_flight))
            };
            demand.map(|demand| counts(demand).collect::<Vec<_>>())
        };
        let before_that = asked(world);
        let next = [Some(end), self.script.front().map(|next| next.at), world.machine.next_event(world.now), clients];
        let next = next.into_iter().flatten().min().unwrap_or(end);
        if next > self.until {
            return Woken { stop: true, ..Woken::default() };
        }
        world.advance_to(next.max(world.now));
        let mut woken = Woken::default();
        let busy = |world: &World| world.machine.servers.iter().filter(|server| server.busy != Busy::No).count();
        let before = busy(world);
        if self.script.front().is_some_and(|next| next.at <= world.now)
            && let Some(happening) = self.script.pop_front()
        {
            woken.causes.extend((happening.what)(world));
        }
        if asked(world) != before_that {
            woken.causes.push(Cause::Demand);
        }
        if busy(world) < before {
            // A connection was closed.
            woken.causes.push(Cause::Draining);
        }
        let now = world.machine.observe(&[], world.now).instances;
        for seen in &awaited.instances {
            match now.iter().find(|instance| instance.id == seen.id) {
                None => woken.causes.push(Cause::Exited(seen.model.clone())),
                Some(instance) if awaited.loading.contains(&seen.model) && instance.health != seen.health => {
                    woken.causes.push(Cause::Answered(seen.model.clone()));
                }
                Some(_) => {}
            }
        }
        woken
    }
}
