//! Which notifications a plan calls for, given those sent before: pure.
//!
//! It is derived from the state of each model, not from what has just happened:
//! if the news of one pass gets lost, the next pass makes up for it, and lasting
//! trouble is announced only once.
//!
//! | news | applies while |
//! |---|---|
//! | failed | the wanted generation does not start and nothing serves instead |
//! | rolled back | it failed, and an earlier one serves or is about to |
//! | crash looping | a generation that was ready has crashed [`IN_A_ROW`] times in a row, until it has been ready for ten minutes |
//! | drifted | this pass restores what another program changed; at most once in [`DRIFTS_APART`] |
//! | recovered | none of the first three applies any longer, and the model matches its definition |
//!
//! A single crash is not news: the server is back at once.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{
    Announced, ColumnDrift, Death, DesiredState, GenerationOutcome, ModelName, ModelRecord, NewsKind, Origin,
    Timestamp, Trouble,
};
use crate::pass::Pass;
use crate::plan::{RECOVERED_AFTER, WaitFor};
use crate::view::{Drift, ModelView, View};

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
    let view = View::of(pass);
    let mut news = Vec::new();
    let targeted = |name: &ModelName| targets.is_empty() || targets.contains(name);
    // While a model is suspended there is nothing to say of it.
    let is_of_interest = |view: &&ModelView<'_>| targeted(view.name) && view.wanted.suspended.is_none();
    for view in view.models().filter(is_of_interest) {
        let Some(record) = view.record else { continue };
        let known = known.troubles.get(view.name).map_or(&[][..], Vec::as_slice);
        Model { now: pass.now, view, record }.news(known, &mut news);
    }
    // Neither recorded nor declared, as far as the files can be read.
    let is_read = pass.desired.as_ref().is_some_and(|desired| desired.unresolved.is_empty());
    let is_gone = |name: &ModelName| is_read && view.model(name).is_none_or(|model| !model.is_managed());
    let gone = known.troubles.keys().filter(|name| targeted(name) && is_gone(name));
    news.extend(gone.map(|name| News {
        model: name.clone(),
        kind: NewsKind::Recovered,
        about: String::new(),
        reason: "its definition is gone".to_owned(),
        context: Context::default(),
    }));
    news
}

/// One recorded model of a pass.
struct Model<'v, 'p> {
    now: Timestamp,
    view: &'v ModelView<'p>,
    record: &'p ModelRecord,
}

impl Model<'_, '_> {
    fn news(&self, known: &[Trouble], news: &mut Vec<News>) {
        let is_known = |found: &News| known.iter().any(|t| t.kind == found.kind && t.about == found.about);
        let troubles: Vec<News> = self.not_serving().into_iter().chain(self.crash_loop(known)).collect();
        let any = !troubles.is_empty();
        news.extend(troubles.into_iter().filter(|found| !is_known(found)));
        let drifted = known.iter().find(|t| t.kind == NewsKind::Drifted).map(|t| t.since);
        let lately = drifted.is_some_and(|at| self.now.since(at) < DRIFTS_APART);
        news.extend(self.drift().filter(|_| !lately));
        let lasting = known.iter().any(|trouble| trouble.kind != NewsKind::Drifted);
        if lasting && !any && self.view.is_as_wanted() {
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
            let (kind, then) = match (serving, self.view.live) {
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
        let never_ready = *self.outcome() == GenerationOutcome::Pending;
        let is_tried = self.is_to_run() && never_ready && self.view.crashes.count > 0;
        (is_tried && !self.view.is_serving()).then(|| {
            let number = self.record.generation.number;
            let reason = format!("generation {number} failed to start{}; nothing serves; will retry", self.because());
            let mut found = self.tell(NewsKind::Failed, number.to_string(), reason);
            found.context.log = true;
            found
        })
    }

    /// `known` tells one that goes on from one that is over and was not reset:
    /// the count of crashes is, by the crash after the recovery.
    fn crash_loop(&self, known: &[Trouble]) -> Option<News> {
        let crashes = self.view.crashes.count;
        let ever_ready = *self.outcome() != GenerationOutcome::Pending;
        if crashes < IN_A_ROW || !ever_ready || !self.is_to_run() || self.has_been_well() {
            return None;
        }
        let just_now = self.view.death.is_some() || self.view.next_try().is_some();
        let goes_on = known.iter().any(|trouble| trouble.kind == NewsKind::CrashLooping);
        (just_now || goes_on).then(|| {
            let reason = format!("crashed {crashes} times in a row{}; will retry with growing delays", self.because());
            let mut found = self.tell(NewsKind::CrashLooping, String::new(), reason);
            found.context.log = true;
            found
        })
    }

    /// What another program did to its row.
    fn drift(&self) -> Option<News> {
        let Drift { columns, deleted } = self.view.drift();
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
        found.context.drift = columns.into_iter().cloned().collect();
        Some(found)
    }

    fn how_it_is(&self) -> String {
        let number = self.record.generation.number;
        match (self.is_to_run(), self.view.wanted.by_hand) {
            (false, None) => "stopped, as its definition says".to_owned(),
            (false, Some(_)) => "stopped by hand".to_owned(),
            (true, None) => format!("generation {number} is ready"),
            (true, Some(_)) => format!("generation {number} is ready, started by hand"),
        }
    }

    fn tell(&self, kind: NewsKind, about: String, reason: String) -> News {
        let context = Context {
            generation: Some(self.record.generation.number),
            serving: self.view.serving(),
            origins: self.record.generation.origins.clone(),
            death: self.view.last_failure().cloned(),
            crashes: self.view.crashes.count,
            ..Context::default()
        };
        News { model: self.view.name.clone(), kind, about, reason, context }
    }

    /// `: out of memory`, if anything is known of its last failure.
    fn because(&self) -> String {
        self.view.last_words().map_or_else(String::new, |why| format!(": {why}"))
    }

    fn waits(&self) -> impl Iterator<Item = &WaitFor> {
        self.view.waits.iter().map(|waiting| &waiting.on)
    }

    fn outcome(&self) -> &GenerationOutcome {
        self.view.generation_outcome.unwrap_or(&self.record.generation.outcome)
    }

    fn is_to_run(&self) -> bool {
        self.view.wanted.state() == Some(DesiredState::Running)
    }

    /// Whether it was ready for long enough that its crashes are forgotten.
    fn has_been_well(&self) -> bool {
        self.view.instance.is_some_and(|is| {
            is.ready.is_some_and(|(_, last): (Timestamp, Timestamp)| last.since(is.started_at) >= RECOVERED_AFTER)
        })
    }
}

#[cfg(test)]
mod tests;
