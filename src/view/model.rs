//! One model of a pass: what it is now, what is wanted of it, why it is as it is,
//! and what happens next.

use std::time::Duration;

use super::wanted::{ByHand, Wanted};
use super::words;
use crate::model::{
    ColumnDrift, Crashes, Death, Definition, DesiredState, GenerationOutcome, Given, Health, Instance, InstanceRecord,
    ModelName, ModelRecord, Origin, Status, Timestamp,
};
use crate::pass::Outcome;
use crate::pass::Pass;
use crate::plan::{Action, ActionKind, Reason, WaitFor, WaitKind, Waiting};

/// One model of a pass. It includes what the pass found, as if that were recorded
/// already.
#[derive(Clone, Debug)]
pub struct ModelView<'p> {
    /// Its name.
    pub name: &'p ModelName,
    /// What it does.
    pub status: Status,
    /// Whether that status is the last recorded one, because its server is not responding.
    pub is_last_known: bool,
    /// Its desired state, and who wants it.
    pub wanted: Wanted<'p>,
    /// Its valid definition.
    pub definition: Option<&'p Definition>,
    /// The invalid file that may be its definition.
    pub invalid: Option<Invalid<'p>>,
    /// Its record, as before the pass.
    pub record: Option<&'p ModelRecord>,
    /// Its live instance.
    pub live: Option<&'p Instance>,
    /// The record of that instance.
    pub instance: Option<&'p InstanceRecord>,
    /// Whether that instance is known to serve the model.
    pub is_proven: bool,
    /// What the pass does, or the next one would do.
    pub action: Option<&'p Action>,
    /// What came of it; `None` also for a look, which does nothing.
    pub outcome: Option<&'p Outcome>,
    /// What it waits for.
    pub waits: Vec<&'p Waiting>,
    /// What it would wait for if a request asked for it now.
    pub on_request: Vec<&'p WaitFor>,
    /// How an instance of it ended since the last pass.
    pub death: Option<&'p Death>,
    /// Its crashes in a row.
    pub crashes: Crashes,
    /// How its newest generation went; `None`: it has no generation.
    pub generation_outcome: Option<&'p GenerationOutcome>,
    /// Who asked for a restart that is still to come.
    pub restart_by_hand: Option<&'p Given>,
}

/// A definition file that cannot be read or is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid<'p> {
    /// The file as people see it.
    pub file: &'p str,
    /// The line of its first error.
    pub line: Option<u32>,
    /// That error, in a few words.
    pub problem: &'p str,
}

impl Invalid<'_> {
    /// Returns the file and, where it is known, the line: `models.d/a.toml:7`.
    #[must_use]
    pub fn place(&self) -> String {
        self.line.map_or_else(|| self.file.to_owned(), |line| format!("{}:{line}", self.file))
    }
}

/// What another program did to the row of a model, which the pass undoes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift<'p> {
    /// The columns it changed.
    pub columns: Vec<&'p ColumnDrift>,
    /// The row it deleted.
    pub deleted: Option<i64>,
}

impl<'p> ModelView<'p> {
    /// What definitions and records say of a model.
    pub(super) fn new(name: &'p ModelName, pass: &'p Pass) -> Self {
        let record = pass.records.models.get(name);
        let definition = pass.desired.as_ref().and_then(|desired| desired.definitions.get(name)).map(|is| &**is);
        let declared = definition.map(|is| is.state).or(record.map(|record| record.state));
        Self {
            name,
            status: Status::default(),
            is_last_known: false,
            wanted: Wanted { declared, ..Wanted::default() },
            definition,
            invalid: None,
            record,
            live: None,
            instance: None,
            is_proven: false,
            action: None,
            outcome: None,
            waits: Vec::new(),
            on_request: Vec::new(),
            death: None,
            crashes: record.map(|record| record.crashes).unwrap_or_default(),
            generation_outcome: record.map(|record| &record.generation.outcome),
            restart_by_hand: None,
        }
    }

    /// Concludes from all that was added.
    pub(super) fn conclude(&mut self, pass: &Pass) {
        for waiting in &self.waits {
            self.wanted.add(waiting);
        }
        if let Some(live) = self.live {
            let recorded = |record: &'p ModelRecord| record.instances.iter().find(|is| is.id == live.id);
            self.instance = self.instance.or_else(|| recorded(self.record?));
            self.is_proven = pass.has_proven(live);
        }
        (self.status, self.is_last_known) = Status::seen(self.record, self.live, self.is_proven);
        // Whatever it was recorded as, it is meant to be stopped.
        if self.live.is_none() && matches!(self.wanted.by_hand, Some((DesiredState::Stopped, _))) {
            self.status = Status::Idle;
        }
    }

    /// Returns whether a definition declares it or a record holds it.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        self.definition.is_some() || self.record.is_some()
    }

    /// Returns whether its record says enough to start it without a definition.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.record.is_some_and(|record| record.config().is_ok() && record.generation.spec().is_ok())
    }

    /// Returns the generation that is wanted; 0 if none is recorded yet.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.record.map_or(0, |record| record.generation.number)
    }

    /// Returns the generation that the live instance serves, if that is recorded.
    #[must_use]
    pub fn serving(&self) -> Option<u32> {
        let (record, live) = (self.record?, self.live?);
        let generations = std::iter::once(&record.generation).chain(&record.last_ready);
        generations.into_iter().find(|is| is.hash == live.spec).map(|generation| generation.number)
    }

    /// Returns the process of the live instance, to print it.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.live.map(|live| live.handle.pid())
    }

    /// Returns the host that the live instance listens on, or the path of its socket.
    #[must_use]
    pub fn host(&self) -> Option<&'p str> {
        self.live.map(|live| live.address.host.as_str())
    }

    /// Returns the port it listens on or, if it does not run, the recorded one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.live.and_then(|live| live.address.port).or_else(|| Some(self.record?.port?.port))
    }

    /// Returns where the live instance is reached from this machine.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        self.live.and_then(|live| live.address.url())
    }

    /// Returns how long the live instance has run at `now`.
    #[must_use]
    pub fn uptime(&self, now: Timestamp) -> Option<Duration> {
        self.live.map(|live| now.since(live.started_at))
    }

    /// Returns its file, or the invalid file that may be its definition.
    #[must_use]
    pub fn file(&self) -> Option<&'p str> {
        self.invalid.map(|invalid| invalid.file).or_else(|| self.definition.map(|is| &*is.file))
    }

    /// Returns the line that made it what it is: of the first error of its file,
    /// else of the reason of its action, else of the edit that made its generation.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        if let Some(Invalid { file, line, .. }) = self.invalid {
            return Some(Origin::new(file, line.unwrap_or_default()));
        }
        let reason = self.reasons().iter().find_map(Reason::origin);
        reason.or_else(|| self.record?.generation.origins.first()).cloned()
    }

    /// Returns the reasons of its action.
    #[must_use]
    pub fn reasons(&self) -> &'p [Reason] {
        self.action.map_or(&[], |action| &action.reasons)
    }

    /// Returns the reasons of its action in words: `restart: threads 4 -> 8   …`.
    #[must_use]
    pub fn reasons_in_words(&self) -> Vec<String> {
        let Some(action) = self.action else { return Vec::new() };
        action.reasons.iter().map(|reason| format!("{}: {reason}", action.kind.as_str())).collect()
    }

    /// Returns what it waits for in words, at `now`, and what keeps a request from
    /// starting it.
    #[must_use]
    pub fn waits_in_words(&self, now: Timestamp) -> Vec<String> {
        let held_back = self.restart_by_hand.filter(|given| {
            let says_so = |reason: &Reason| matches!(reason, Reason::ByHand { given: by } if by == *given);
            !self.reasons().iter().any(says_so)
        });
        let restart = held_back.map(|given| format!("waiting for a restart by hand ({given})"));
        let waits = self.waits.iter().map(|waiting| words::wait(&waiting.on, self, now));
        let on_request =
            self.on_request.iter().map(|on| format!("cannot start now: {}", words::on_request(on, self, now)));
        restart.into_iter().chain(waits).chain(on_request).collect()
    }

    /// Returns the overrides in force.
    pub fn by_hand(&self) -> impl Iterator<Item = ByHand<'p>> {
        let restart = self.restart_by_hand.map(|given| ByHand { what: "restart", given, until: None });
        restart.into_iter().chain(self.wanted.all_by_hand())
    }

    /// Returns the next time at which something happens: a retry, a deadline, the end
    /// of a suspension.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.waits.iter().filter_map(|waiting| waiting.on.deadline()).min()
    }

    /// Returns when herdsman retries it after crashes.
    #[must_use]
    pub fn next_try(&self) -> Option<Timestamp> {
        self.waits.iter().find_map(|waiting| match waiting.on {
            WaitFor::Backoff { until, .. } => Some(until),
            _ => None,
        })
    }

    /// Returns how it failed last: just now, or its newest generation.
    #[must_use]
    pub fn last_failure(&self) -> Option<&'p Death> {
        self.death.or(match self.generation_outcome {
            Some(GenerationOutcome::Failed(death)) => Some(death),
            _ => None,
        })
    }

    /// Returns what is known of its last failure, in words.
    #[must_use]
    pub fn last_words(&self) -> Option<&'p str> {
        let backoff = || {
            self.waits.iter().find_map(|waiting| match &waiting.on {
                WaitFor::Backoff { message, .. } => Some(message.as_str()),
                _ => None,
            })
        };
        self.last_failure().map(|death| death.message.as_str()).or_else(backoff)
    }

    /// Returns what another program did to its row, which its action undoes.
    #[must_use]
    pub fn drift(&self) -> Drift<'p> {
        let mut drift = Drift::default();
        for reason in self.reasons() {
            match reason {
                Reason::RowDrift { drift: column } => drift.columns.push(column),
                Reason::RowDeleted { id } => drift.deleted = Some(*id),
                _ => {}
            }
        }
        drift
    }

    /// Returns whether its live instance answers and is known to serve it.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.is_proven && self.live.is_some_and(|live| live.health == Health::Ready)
    }

    /// Returns whether it is out of sync: it has an action or a wait, other than a note
    /// or an override.
    #[must_use]
    pub fn is_out_of_sync(&self) -> bool {
        self.action.is_some() || self.waits_for_more_than_a_note()
    }

    /// Returns whether the model is in sync and its server needs no action.
    #[must_use]
    pub fn is_as_wanted(&self) -> bool {
        let keeps_server = |action: &Action| matches!(action.kind, ActionKind::Update | ActionKind::Adopt);
        if !self.action.is_none_or(keeps_server) || self.waits_for_more_than_a_note() {
            return false;
        }
        let serves = |record: &ModelRecord| {
            self.live.is_some_and(|live| live.health == Health::Ready && live.spec == record.generation.hash)
        };
        match self.wanted.state() {
            Some(DesiredState::Running) => self.record.is_some_and(serves),
            Some(DesiredState::OnDemand) => self.live.is_none() || self.record.is_some_and(serves),
            Some(DesiredState::Stopped) | None => self.live.is_none(),
        }
    }

    fn waits_for_more_than_a_note(&self) -> bool {
        self.waits.iter().any(|waiting| !matches!(waiting.on.kind(), WaitKind::Note | WaitKind::ByHand))
    }
}
