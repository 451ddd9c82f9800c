//! Decides what a command by hand records, or why it is refused. Pure, like the plan.
//!
//! | command | records |
//! |---|---|
//! | suspend | a suspension; it replaces an earlier one, and keeps its reason unless it gives one |
//! | resume | the end of the suspension |
//! | stop | of a model declared running: the wish that it is stopped; of one started by hand: the end of that wish |
//! | start | of a model declared stopped: the wish that it runs; of one stopped by hand: the end of that wish |
//! | restart | the instance to replace; nothing if none is alive |
//! | start, restart | of a model that waits after a failure: that its next try is due |
//!
//! A command records nothing twice: stopping a stopped model changes nothing unless
//! the reason is new. If a definition is invalid, the record stands in for it, so
//! that a stop need not wait for a fix. Every command with an effect becomes an
//! event in the history, with who and why, even if it records nothing else (such as
//! the start of a crashed model).

use std::fmt;
use std::time::Duration;

use super::Reason;
use crate::model::{
    Change, Crashes, Definition, Desired, DesiredState, EventOutcome, EventRecord, GenerationOutcome, Given, Instance,
    InstanceState, ModelName, Observed, Override, OverrideKind, Overrides, Records, RestartByHand, StateByHand,
    Suspended, Unresolved, meaning,
};

/// A command by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Leave it alone, for this long or until somebody resumes it.
    Suspend(Option<Duration>),
    /// Follow its definition again.
    Resume,
    /// Run it.
    Start,
    /// Stop it.
    Stop,
    /// Replace its instance.
    Restart,
}

impl Command {
    /// Returns the word that people type.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspend(_) => "suspend",
            Self::Resume => "resume",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    /// Returns the word of its event; what follows from the command is another event.
    #[must_use]
    pub const fn event(self) -> &'static str {
        match self {
            Self::Suspend(_) => "suspended",
            Self::Resume => "resumed",
            Self::Start => "start_asked",
            Self::Stop => "stop_asked",
            Self::Restart => "restart_asked",
        }
    }

    /// Returns whether an event of this word is a command by hand.
    #[must_use]
    pub fn is_event(word: &str) -> bool {
        [Self::Suspend(None), Self::Resume, Self::Start, Self::Stop, Self::Restart].iter().any(|c| c.event() == word)
    }
}

/// Why a command by hand is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No definition, record or row has the name.
    Unknown,
    /// Another program owns its row.
    Unmanaged,
    /// Its definition is invalid, so there is nothing to override.
    Unresolved {
        /// The file.
        file: String,
        /// What is wrong with it, and what to do about it.
        problem: String,
    },
    /// Its definition is gone.
    Removed,
    /// It is suspended.
    Suspended {
        /// Who suspended it, and why.
        by: String,
    },
    /// It is declared stopped, or stopped by hand, so there is nothing to restart.
    NotToRun,
}

impl Refusal {
    /// Returns its kind, in a word or two.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unmanaged => "unmanaged",
            Self::Unresolved { .. } => "unresolved",
            Self::Removed => "removed",
            Self::Suspended { .. } => "suspended",
            Self::NotToRun => "not to run",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no model of this name; `herdsman status` lists all models"),
            Self::Unmanaged => f.write_str("another program owns its row; add a definition of that name to adopt it"),
            Self::Unresolved { file, problem } => write!(f, "{file}: {problem}"),
            Self::Removed => {
                f.write_str("its definition is gone; `herdsman reconcile --dry-run` shows what happens to it")
            }
            Self::Suspended { by } => write!(f, "the model is suspended ({by}); use `herdsman resume NAME` first"),
            Self::NotToRun => f.write_str("the model is stopped; use `herdsman start NAME`"),
        }
    }
}

/// What herdsman knows when somebody gives a command.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The definitions.
    pub desired: &'a Desired,
    /// The records.
    pub records: &'a Records,
    /// The running instances.
    pub observed: &'a Observed,
}

/// Returns what `command` records for `model`; nothing if that is already the state.
///
/// # Errors
/// The reason for the refusal.
pub fn request(command: Command, model: &ModelName, given: &Given, known: Known<'_>) -> Result<Vec<Change>, Refusal> {
    let overrides = known.records.overrides.get(model).cloned().unwrap_or_default();
    if !known.knows(model) && (command != Command::Resume || overrides.is_empty()) {
        let is_row = known.records.unmanaged.iter().any(|row| row.name == model.as_str());
        return Err(if is_row { Refusal::Unmanaged } else { Refusal::Unknown });
    }
    let put = |what| Change::PutOverride { model: model.clone(), what };
    let end = |kind| Change::EndOverride { model: model.clone(), kind };
    let suspended = overrides.suspended.as_ref().filter(|suspended| !suspended.is_over(given.at));
    let change = match command {
        Command::Suspend(lasts) => {
            let until = lasts.map(|lasts| given.at.plus(lasts));
            // Who only makes it longer has nothing against its reason.
            let because = given.because.clone().or_else(|| suspended?.given.because.clone());
            Some(put(Override::Suspended(Suspended { given: Given { because, ..given.clone() }, until })))
        }
        Command::Resume => overrides.suspended.is_some().then(|| end(OverrideKind::Suspended)),
        Command::Start | Command::Stop | Command::Restart => {
            if let Some(suspended) = suspended {
                return Err(Refusal::Suspended { by: suspended.given.to_string() });
            }
            let state = if command == Command::Stop { DesiredState::Stopped } else { DesiredState::Running };
            match command {
                Command::Restart => known.restart(known.definition(model)?, &overrides, given)?.map(put),
                _ => state_change(state, &known.declared(model, state)?, &overrides, given, put, end),
            }
        }
    };
    let mut changes: Vec<Change> = change.into_iter().collect();
    let is_missing = known.observed.instances.iter().all(|instance| instance.model != *model);
    let starts = is_missing && matches!(command, Command::Start | Command::Restart);
    if starts {
        changes.extend(known.try_again(model));
    }
    if starts || !changes.is_empty() {
        changes.push(Change::Event(event(command, model, given)));
    }
    Ok(changes)
}

/// What the definition of a model says.
struct Declared {
    state: DesiredState,
    /// [`meaning`] of the definition; `None`: its file cannot be used.
    meaning: Option<String>,
}

fn state_change(
    state: DesiredState,
    declared: &Declared,
    overrides: &Overrides,
    given: &Given,
    put: impl Fn(Override) -> Change,
    end: impl Fn(OverrideKind) -> Change,
) -> Option<Change> {
    // A server of a file that cannot be used ends only because somebody says so.
    let is_said = declared.meaning.is_some() || state == DesiredState::Running;
    if declared.state == state && is_said {
        return overrides.state.is_some().then(|| end(OverrideKind::State));
    }
    let now = overrides.state.as_ref().filter(|now| now.state == state);
    // Whatever is read next of a file that cannot be used ends what begins now,
    // and not what began before.
    let unread = || now.map(|now| now.definition.clone()).unwrap_or_default();
    let definition = declared.meaning.clone().unwrap_or_else(unread);
    let so_already = now.is_some_and(|now| {
        now.definition == definition && (given.because.is_none() || now.given.because == given.because)
    });
    (!so_already).then(|| put(Override::State(StateByHand { given: given.clone(), state, definition })))
}

fn event(command: Command, model: &ModelName, given: &Given) -> EventRecord {
    EventRecord {
        at: given.at,
        model: model.clone(),
        action: command.event().to_owned(),
        cause: format!("herdsman {}", command.as_str()),
        // Strings and numbers: serialising cannot fail.
        reasons: serde_json::to_value([Reason::ByHand { given: given.clone() }]).unwrap_or_default(),
        outcome: EventOutcome::Done,
        duration_ms: 0,
        generation: None,
        provenance: None,
    }
}

impl<'a> Known<'a> {
    fn knows(self, model: &ModelName) -> bool {
        self.desired.definitions.contains_key(model)
            || self.records.models.contains_key(model)
            || self.unresolved(model).is_some()
    }

    fn unresolved(self, model: &ModelName) -> Option<&'a Unresolved> {
        let recorded = self.records.models.get_key_value(model);
        let recorded_from =
            |file: &Unresolved| recorded.filter(|(_, record)| *record.source == *file.path).map(|(name, _)| name);
        let is_of = |file: &&Unresolved| self.desired.stands_for(file, recorded_from(file)).any(|name| name == model);
        self.desired.unresolved.iter().find(is_of)
    }

    fn definition(self, model: &ModelName) -> Result<&'a Definition, Refusal> {
        if let Some(unresolved) = self.unresolved(model) {
            let next = match &unresolved.llama_server {
                Some(unusable) if unusable.is_pending => "; try again in a moment",
                // The problem says what to do.
                Some(_) => "",
                None => "; fix that first",
            };
            let (file, problem) = (unresolved.file.to_string(), format!("{}{next}", unresolved.problem));
            return Err(Refusal::Unresolved { file, problem });
        }
        self.desired.definitions.get(model).map(|definition| &**definition).ok_or(Refusal::Removed)
    }

    /// Returns what its definition says. For an unusable file, the record stands in, if
    /// it is enough to give the model this `state`.
    fn declared(self, model: &ModelName, state: DesiredState) -> Result<Declared, Refusal> {
        match (self.definition(model), self.records.models.get(model)) {
            (Ok(definition), _) => Ok(Declared { state: definition.state, meaning: Some(meaning(definition)) }),
            (Err(Refusal::Unresolved { .. }), Some(record))
                if [record.state, DesiredState::Stopped].contains(&state) =>
            {
                Ok(Declared { state: record.state, meaning: None })
            }
            (Err(refusal), _) => Err(refusal),
        }
    }

    fn restart(
        self,
        definition: &Definition,
        overrides: &Overrides,
        given: &Given,
    ) -> Result<Option<Override>, Refusal> {
        if overrides.state_instead(definition).map_or(definition.state, |by_hand| by_hand.state)
            == DesiredState::Stopped
        {
            return Err(Refusal::NotToRun);
        }
        let Some(live) = self.to_replace(&definition.name) else { return Ok(None) };
        if overrides.restart.as_ref().is_some_and(|asked| asked.instance == live.id) {
            return Ok(None);
        }
        Ok(Some(Override::Restart(RestartByHand { given: given.clone(), instance: live.id.clone() })))
    }

    /// Returns what ends the wait of a model after a failure. Its crashes still count: if
    /// it dies again, it waits longer.
    fn try_again(self, model: &ModelName) -> Vec<Change> {
        let Some(record) = self.records.models.get(model) else { return Vec::new() };
        let crashes = Crashes { last_start: None, ..record.crashes };
        let outcome = GenerationOutcome::Pending;
        let due = (crashes != record.crashes).then(|| Change::SetCrashes { model: model.clone(), crashes });
        let failed = matches!(record.generation.outcome, GenerationOutcome::Failed(_));
        let number = record.generation.number;
        let untried = failed.then(|| Change::SetGenerationOutcome { model: model.clone(), number, outcome });
        due.into_iter().chain(untried).collect()
    }

    /// Returns the serving instance that is not stopping already: the oldest recorded
    /// one, or one to be adopted.
    fn to_replace(self, model: &ModelName) -> Option<&'a Instance> {
        let recorded = self.records.models.get(model).map_or(&[][..], |record| &record.instances);
        let stays = recorded.iter().filter(|i| i.state != InstanceState::Stopping);
        let live = &self.observed.instances;
        let unrecorded = || live.iter().find(|i| i.model == *model && recorded.iter().all(|known| known.id != i.id));
        stays.filter_map(|i| live.iter().find(|live| live.id == i.id)).next().or_else(unrecorded)
    }
}
