//! Which notifications a plan calls for, given those sent before: pure.
//!
//! It is derived from the state of each model, not from what has just happened:
//! if the news of one pass gets lost, the next pass makes up for it, and lasting
//! trouble is announced only once.
//!
//! | news | applies while |
//! |---|---|
//! | failed | the wanted generation does not start and nothing serves in its place |
//! | rolled back | it failed, and an earlier one serves or is about to |
//! | crash looping | a generation that was ready has crashed [`IN_A_ROW`] times in a row, until it has been ready for ten minutes |
//! | drifted | this pass restores what another program changed; at most once in [`DRIFTS_APART`] |
//! | recovered | none of the first three applies any longer, and the model matches its definition |
//!
//! A single crash is not news: the server is back at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{
    Announced, Change, ColumnDrift, Crashes, Death, DesiredState, GenerationOutcome, Health, Instance, InstanceRecord,
    ModelName, ModelRecord, NewsKind, Origin, Timestamp, Trouble,
};
use crate::pass::Pass;
use crate::plan::{Action, ActionKind, Found, RECOVERED_AFTER, Reason, WaitFor, WaitKind, Waiting};

/// So many crashes in a row are a crash loop.
pub const IN_A_ROW: u32 = 3;

/// The shortest time between two notifications about drift of one model: a program
/// that fights with herdsman would fill a mailbox.
const DRIFTS_APART: Duration = Duration::from_secs(600);

/// What is new of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The model.
    pub model: ModelName,
    /// What.
    pub kind: NewsKind,
    /// What tells it from another of its kind.
    pub about: String,
    /// In words.
    pub reason: String,
    /// Details for the reader.
    pub context: Context,
}

/// Details that go with the news.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The generation that is wanted.
    pub generation: Option<u32>,
    /// The generation that serves.
    pub serving: Option<u32>,
    /// The lines of definitions it comes from.
    pub origins: Vec<Origin>,
    /// How its server ended last.
    pub death: Option<Death>,
    /// Crashes in a row.
    pub crashes: u32,
    /// What another program changed.
    pub drift: Vec<ColumnDrift>,
    /// Whether its log is worth a look.
    pub log: bool,
}

/// What is new since `known`. `targets` are the models the pass was for; empty:
/// all.
#[must_use]
pub fn news(pass: &Pass, targets: &BTreeSet<ModelName>, known: &Announced) -> Vec<News> {
    // `down` stops everything on request: that is no trouble.
    if pass.desired.is_none() {
        return Vec::new();
    }
    let seen = PassByModel::new(pass);
    let mut news = Vec::new();
    let targeted = |name: &ModelName| targets.is_empty() || targets.contains(name);
    for (name, record) in pass.records.models.iter().filter(|(name, _)| targeted(name)) {
        // A suspended model makes no news until somebody resumes it.
        let waits = seen.waits.get(name).into_iter().flatten();
        if waits.into_iter().any(|waiting| matches!(waiting.on, WaitFor::Suspended { .. })) {
            continue;
        }
        let known = known.troubles.get(name).map_or(&[][..], Vec::as_slice);
        seen.model(name, record).news(known, &mut news);
    }
    let gone = known.troubles.keys().filter(|name| targeted(name) && seen.is_gone(name));
    news.extend(gone.map(|name| News {
        model: name.clone(),
        kind: NewsKind::Recovered,
        about: String::new(),
        reason: "its definition is gone".to_owned(),
        context: Context::default(),
    }));
    news
}

/// A pass, by model.
struct PassByModel<'p> {
    pass: &'p Pass,
    waits: BTreeMap<&'p ModelName, Vec<&'p Waiting>>,
    deaths: BTreeMap<&'p ModelName, &'p Death>,
    crashes: BTreeMap<&'p ModelName, Crashes>,
    outcomes: BTreeMap<&'p ModelName, &'p GenerationOutcome>,
    instances: BTreeMap<&'p str, &'p InstanceRecord>,
    live: BTreeMap<&'p ModelName, &'p Instance>,
    actions: BTreeMap<&'p ModelName, &'p Action>,
}

impl<'p> PassByModel<'p> {
    fn new(pass: &'p Pass) -> Self {
        let (mut waits, mut deaths) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        for waiting in &pass.plan.waiting {
            waits.entry(&waiting.model).or_default().push(waiting);
        }
        for finding in &pass.plan.findings {
            if let Found::StartFailed(death) | Found::Crashed(death) = &finding.what {
                deaths.insert(&finding.model, death);
            }
        }
        let mut seen = Self {
            pass,
            waits,
            deaths,
            crashes: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            instances: BTreeMap::new(),
            live: pass.observed.instances.iter().map(|instance| (&instance.model, instance)).collect(),
            actions: pass.plan.actions.iter().map(|action| (&action.model, action)).collect(),
        };
        // How the records will be once this is written, which it is together
        // with the news.
        for change in &pass.plan.bookkeeping {
            match change {
                Change::SetCrashes { model, crashes } => drop(seen.crashes.insert(model, *crashes)),
                Change::SetGenerationOutcome { model, outcome, .. } => drop(seen.outcomes.insert(model, outcome)),
                Change::PutInstance(instance) => drop(seen.instances.insert(&instance.id.0, instance)),
                _ => {}
            }
        }
        seen
    }

    fn model(&self, name: &'p ModelName, record: &'p ModelRecord) -> Model<'_, 'p> {
        Model { seen: self, name, record, live: self.live.get(name).copied() }
    }

    /// Neither recorded nor declared, as far as the files can be read.
    fn is_gone(&self, name: &ModelName) -> bool {
        let Some(desired) = &self.pass.desired else { return false };
        desired.unresolved.is_empty()
            && !desired.definitions.contains_key(name)
            && !self.pass.records.models.contains_key(name)
    }
}

/// One model of a pass.
struct Model<'s, 'p> {
    seen: &'s PassByModel<'p>,
    name: &'p ModelName,
    record: &'p ModelRecord,
    live: Option<&'p Instance>,
}

impl Model<'_, '_> {
    fn news(&self, known: &[Trouble], news: &mut Vec<News>) {
        let is_known = |found: &News| known.iter().any(|t| t.kind == found.kind && t.about == found.about);
        let troubles: Vec<News> = self.not_serving().into_iter().chain(self.crash_loop(known)).collect();
        let any = !troubles.is_empty();
        news.extend(troubles.into_iter().filter(|found| !is_known(found)));
        let drifted = known.iter().find(|t| t.kind == NewsKind::Drifted).map(|t| t.since);
        let lately = drifted.is_some_and(|at| self.seen.pass.now.since(at) < DRIFTS_APART);
        news.extend(self.drift().filter(|_| !lately));
        let lasting = known.iter().any(|trouble| trouble.kind != NewsKind::Drifted);
        if lasting && !any && self.is_as_declared() {
            news.push(self.tell(NewsKind::Recovered, String::new(), self.how_it_is()));
        }
    }

    /// The wanted generation does not start.
    fn not_serving(&self) -> Option<News> {
        let wait = self.waits().find_map(|wait| match wait {
            WaitFor::Edit { generation, message, serving } => Some((*generation, message, *serving)),
            _ => None,
        });
        if let Some((generation, message, serving)) = wait {
            let (kind, then) = match (serving, self.live) {
                (Some(serving), _) => (NewsKind::RolledBack, format!("generation {serving} serves instead")),
                (None, Some(_)) => (NewsKind::RolledBack, "the previous server keeps running".to_owned()),
                (None, None) => (NewsKind::Failed, "nothing serves".to_owned()),
            };
            let mut found = self.tell(
                kind,
                generation.to_string(),
                format!("generation {generation} failed: {message}; {then} until its definition changes"),
            );
            found.context.serving = serving;
            found.context.log = true;
            return Some(found);
        }
        let crashes = self.crashes().count;
        let never_ready = *self.outcome() == GenerationOutcome::Pending;
        let serves = self.live.is_some_and(|live| live.health == Health::Ready && self.seen.pass.has_proven(live));
        (self.wanted() == DesiredState::Running && never_ready && crashes > 0 && !serves).then(|| {
            let number = self.record.generation.number;
            let why = self.last_words().map_or_else(String::new, |why| format!(": {why}"));
            let reason = format!("generation {number} failed to start{why}; nothing serves, and herdsman retries");
            let mut found = self.tell(NewsKind::Failed, number.to_string(), reason);
            found.context.log = true;
            found
        })
    }

    /// `known` tells one that goes on from one that is over and was not reset:
    /// the count of crashes is, by the crash after the recovery.
    fn crash_loop(&self, known: &[Trouble]) -> Option<News> {
        let crashes = self.crashes().count;
        let ever_ready = *self.outcome() != GenerationOutcome::Pending;
        if crashes < IN_A_ROW || !ever_ready || self.wanted() != DesiredState::Running || self.has_been_well() {
            return None;
        }
        let just_now = self.seen.deaths.contains_key(self.name)
            || self.waits().any(|wait| matches!(wait, WaitFor::Backoff { .. }));
        let goes_on = known.iter().any(|trouble| trouble.kind == NewsKind::CrashLooping);
        (just_now || goes_on).then(|| {
            let why = self.last_words().map_or_else(String::new, |why| format!(": {why}"));
            let reason = format!("crashed {crashes} times in a row{why}; herdsman restarts it with growing delays");
            let mut found = self.tell(NewsKind::CrashLooping, String::new(), reason);
            found.context.log = true;
            found
        })
    }

    /// What another program did to its row.
    fn drift(&self) -> Option<News> {
        let action = self.seen.actions.get(self.name)?;
        let mut columns = Vec::new();
        let mut deleted = None;
        for reason in &action.reasons {
            match reason {
                Reason::RowDrift { drift } => columns.push(drift.clone()),
                Reason::RowDeleted { id } => deleted = Some(*id),
                _ => {}
            }
        }
        let what = match (deleted, columns.len()) {
            (Some(id), _) => format!("deleted its row {id}"),
            (None, 0) => return None,
            (None, _) => {
                let names: Vec<&str> = columns.iter().map(|drift| drift.column.as_str()).collect();
                format!("changed {} in its row", names.join(", "))
            }
        };
        let reason = format!("another program {what}; herdsman restores it");
        let mut found = self.tell(NewsKind::Drifted, String::new(), reason);
        found.context.drift = columns;
        Some(found)
    }

    /// Nothing is to be done to its server, and it is what was asked for.
    fn is_as_declared(&self) -> bool {
        let acts = self.seen.actions.get(self.name);
        if acts.is_some_and(|action| !matches!(action.kind, ActionKind::Update | ActionKind::Adopt))
            || self.waits().any(|wait| !matches!(wait.kind(), WaitKind::Note | WaitKind::ByHand))
        {
            return false;
        }
        match (self.wanted(), self.live) {
            (DesiredState::Stopped, live) => live.is_none(),
            (DesiredState::Running, Some(live)) => {
                live.health == Health::Ready && live.spec == self.record.generation.hash
            }
            (DesiredState::Running, None) => false,
        }
    }

    fn how_it_is(&self) -> String {
        let number = self.record.generation.number;
        match (self.wanted(), self.by_hand()) {
            (DesiredState::Stopped, None) => "stopped, as its definition says".to_owned(),
            (DesiredState::Stopped, Some(_)) => "stopped by hand".to_owned(),
            (DesiredState::Running, None) => format!("generation {number} is ready"),
            (DesiredState::Running, Some(_)) => format!("generation {number} is ready, started by hand"),
        }
    }

    fn tell(&self, kind: NewsKind, about: String, reason: String) -> News {
        let served = self.live.and_then(|live| {
            let generations = std::iter::once(&self.record.generation).chain(&self.record.last_ready);
            generations.into_iter().find(|generation| generation.hash == live.spec)
        });
        let context = Context {
            generation: Some(self.record.generation.number),
            serving: served.map(|generation| generation.number),
            origins: self.record.generation.origins.clone(),
            death: self.death(),
            crashes: self.crashes().count,
            ..Context::default()
        };
        News { model: self.name.clone(), kind, about, reason, context }
    }

    fn death(&self) -> Option<Death> {
        match (self.seen.deaths.get(self.name), self.outcome()) {
            (Some(death), _) => Some((*death).clone()),
            (None, GenerationOutcome::Failed(death)) => Some(death.clone()),
            (None, _) => None,
        }
    }

    /// What is known of its last death.
    fn last_words(&self) -> Option<String> {
        let waits = || {
            self.waits().find_map(|wait| match wait {
                WaitFor::Backoff { message, .. } => Some(message.clone()),
                _ => None,
            })
        };
        self.death().map(|death| death.message).or_else(waits)
    }

    fn waits(&self) -> impl Iterator<Item = &WaitFor> {
        self.seen.waits.get(self.name).into_iter().flatten().map(|waiting| &waiting.on)
    }

    fn crashes(&self) -> Crashes {
        self.seen.crashes.get(self.name).copied().unwrap_or(self.record.crashes)
    }

    fn outcome(&self) -> &GenerationOutcome {
        self.seen.outcomes.get(self.name).copied().unwrap_or(&self.record.generation.outcome)
    }

    /// What its definition wants, or somebody by hand; while that cannot be read,
    /// what it wanted.
    fn wanted(&self) -> DesiredState {
        self.by_hand().unwrap_or_else(|| {
            let desired = self.seen.pass.desired.as_ref();
            desired.and_then(|desired| desired.definitions.get(self.name)).map_or(self.record.state, |d| d.state)
        })
    }

    fn by_hand(&self) -> Option<DesiredState> {
        self.waits().find_map(|wait| match wait {
            WaitFor::StateByHand { state, .. } => Some(*state),
            _ => None,
        })
    }

    /// Whether it was ready for long enough that its crashes are forgotten.
    fn has_been_well(&self) -> bool {
        let Some(live) = self.live else { return false };
        let recorded = self.record.instances.iter().find(|instance| instance.id == live.id);
        let now = self.seen.instances.get(live.id.0.as_str()).copied().or(recorded);
        now.is_some_and(|is| {
            is.ready.is_some_and(|(_, last): (Timestamp, Timestamp)| last.since(is.started_at) >= RECOVERED_AFTER)
        })
    }
}

#[cfg(test)]
mod tests;
