//! What the watcher logs: a line per decision, and a line when a lasting problem
//! begins or ends. It stays silent when nothing happens.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::{error, info, warn};

use super::cause::Causes;
use crate::model::Diagnostic;
use crate::model::text;
use crate::pass::Pass;
use crate::plan::{Found, GuardRefusal, WaitFor, WaitKind};
use crate::view::{ModelView, Totals, View};

/// Shorter periods of unreadable definitions are not logged: git holds its lock only
/// for moments.
const WORTH_A_LINE: Duration = Duration::from_secs(2);

/// Remembers what was logged, so that nothing is logged twice.
#[derive(Debug, Default)]
pub struct Reporter {
    /// Whether the first actions are done and the summary is logged.
    at_rest: bool,
    waits: BTreeSet<(String, String)>,
    /// What was logged by model and override: `suspended`, `stopped by hand`.
    by_hand: BTreeMap<(String, String), String>,
    diagnostics: Vec<Diagnostic>,
    refused: Option<String>,
    failure: Option<String>,
    /// Since when the definitions cannot be read, and what was logged about it.
    unread: Option<(Duration, Option<String>)>,
}

impl Reporter {
    /// Logs what a pass found and did, and what it could not do.
    pub fn pass(&mut self, pass: &Pass, causes: &Causes, definitions_are_read: bool) {
        if self.failure.take().is_some() {
            info!("passes succeed again");
        }
        self.invalid_definitions(pass);
        findings(pass);
        decisions(pass, causes);
        self.guard(pass);
        self.by_hand(pass);
        self.stuck(pass);
        let waits = || pass.plan.waiting.iter().any(|w| w.on.kind() == WaitKind::Progressing);
        if !self.at_rest && definitions_are_read && pass.outcomes.is_empty() && !waits() {
            self.at_rest = true;
            info!("{}", summary(pass));
        }
    }

    /// Logs that a pass failed, unless the one before failed for the same reason.
    pub fn failure(&mut self, message: &str) {
        if self.failure.as_deref() != Some(message) {
            error!("pass failed: {message}; will retry");
            self.failure = Some(message.to_owned());
        }
    }

    /// Logs that the definitions cannot be read: at once if they never were, else
    /// once that has lasted.
    pub fn definitions(&mut self, problem: Option<&str>, known: bool, now: Duration) {
        let Some(problem) = problem else {
            if matches!(self.unread.take(), Some((_, Some(_)))) {
                info!("the definitions can be read again");
            }
            return;
        };
        let (since, said) = self.unread.get_or_insert((now, None));
        let lasts = !known || now.saturating_sub(*since) >= WORTH_A_LINE;
        if lasts && said.as_deref() != Some(problem) {
            error!(
                "{problem}; until the definitions can be read, herdsman uses the last ones it read: \
                 running models stay up and nothing is deleted"
            );
            *said = Some(problem.to_owned());
        }
    }

    /// Logs every problem of the definitions once.
    fn invalid_definitions(&mut self, pass: &Pass) {
        let Some(desired) = &pass.desired else { return };
        let now: &[Diagnostic] = &desired.diagnostics;
        if now == self.diagnostics {
            return;
        }
        for diagnostic in now.iter().filter(|diagnostic| !self.diagnostics.contains(diagnostic)) {
            let (line, column) = diagnostic.position().unwrap_or_default();
            let rendered = crate::definition::render(std::slice::from_ref(diagnostic), false);
            warn!(file = %diagnostic.file, line, column, "{}", rendered.trim_end());
        }
        if now.is_empty() {
            info!("all definitions are valid again");
        }
        self.diagnostics = now.to_vec();
    }

    /// Logs each override once, and its end.
    fn by_hand(&mut self, pass: &Pass) {
        let by_hand = pass.plan.waiting.iter().filter_map(|w| Some((w, w.on.by_hand()?)));
        let entries = by_hand.map(|(w, how)| ((w.model.to_string(), how.to_owned()), w.on.to_string()));
        let mut now: BTreeMap<_, _> = entries.collect();
        for (key, text) in &now {
            if self.by_hand.get(key) != Some(text) {
                let model = &key.0;
                info!(%model, "{model} is {text}");
            }
        }
        for ((model, word), text) in std::mem::take(&mut self.by_hand) {
            if now.contains_key(&(model.clone(), word.clone())) {
                continue;
            }
            if now.contains_key(&(model.clone(), "suspended".to_owned())) {
                // A suspension hides other overrides; they are not over.
                now.insert((model, word), text);
            } else {
                info!(%model, "{model} is no longer {word}");
            }
        }
        self.by_hand = now;
    }

    /// Logs once what keeps models from matching their definitions, and its end.
    fn stuck(&mut self, pass: &Pass) {
        let mut now = BTreeSet::new();
        let waiting = pass.plan.waiting.iter().map(|waiting| (waiting, true));
        let on_request = pass.plan.on_request.iter().map(|waiting| (waiting, false));
        for (waiting, is_wanted) in waiting.chain(on_request) {
            if matches!(waiting.on.kind(), WaitKind::Progressing | WaitKind::Note | WaitKind::ByHand | WaitKind::Guard)
            {
                continue;
            }
            let entry = (waiting.model.to_string(), waiting.on.to_string());
            if now.insert(entry.clone()) && !self.waits.contains(&entry) {
                let (model, what) = &entry;
                match &waiting.on {
                    on if !is_wanted => {
                        warn!(%model, "{model} cannot start when asked for: {}", on.words_of_cause());
                    }
                    WaitFor::Backoff { until, crashes, was_ready, message } => {
                        let failed = WaitFor::words_of_failures(*crashes, *was_ready);
                        let left = text::duration(pass.now.until(*until));
                        warn!(%model, "{model} {failed}, next try in {left}: {message}");
                    }
                    _ => warn!(%model, "{model} is waiting: {what}"),
                }
            }
        }
        // An action on a model shows that its wait is over.
        let done = pass.outcomes.iter().map(|outcome| outcome.model.as_str());
        let known: BTreeSet<&str> = now.iter().map(|(model, _)| model.as_str()).chain(done).collect();
        let waited = self.waits.iter().map(|(model, _)| model.as_str());
        let over: BTreeSet<&str> = waited.filter(|model| !known.contains(model)).collect();
        over.iter().for_each(|model| info!(%model, "{model} is no longer waiting"));
        self.waits = now;
    }

    /// Logs once what the mass-delete guard refuses, and when it no longer does.
    fn guard(&mut self, pass: &Pass) {
        let now = pass.plan.guard.as_ref().map(GuardRefusal::to_string);
        if now == self.refused {
            return;
        }
        match &now {
            Some(refusal) => warn!("{refusal}"),
            None => info!("the mass-delete guard no longer refuses anything"),
        }
        self.refused = now;
    }
}

fn findings(pass: &Pass) {
    for finding in &pass.plan.findings {
        let model = &finding.model;
        match &finding.what {
            Found::Ready { pid, port } => {
                let took = pass.now.since(finding.started_at);
                let at = port.map_or_else(String::new, |port| format!(" on port {port}"));
                let duration_ms = milliseconds(took);
                info!(%model, pid, port, duration_ms, "{model} is ready{at} after {} (pid {pid})", text::duration(took));
            }
            ended @ (Found::StartFailed(_) | Found::Crashed(_)) => warn!(%model, "{model} {ended}"),
        }
    }
}

fn decisions(pass: &Pass, causes: &Causes) {
    // A view costs more than a quiet pass is worth.
    if pass.outcomes.is_empty() {
        return;
    }
    let view = View::of(pass);
    for outcome in &pass.outcomes {
        let model = &outcome.model;
        let reasons = view.model(model).map(ModelView::reasons).unwrap_or_default().iter();
        let reasons = reasons.map(|reason| text::squeezed(&reason.to_string())).collect::<Vec<_>>().join("; ");
        let (word, duration_ms) = (outcome.kind.as_str(), milliseconds(outcome.took));
        let head = if outcome.only_begun { format!("draining before {word}") } else { word.to_owned() };
        match &outcome.result {
            Ok(()) => info!(%model, action = word, cause = %causes, duration_ms, "{model} {head}: {reasons}"),
            Err(why) => {
                error!(%model, action = word, cause = %causes, duration_ms, "{model} {head} failed: {why} ({reasons})");
            }
        }
    }
}

/// Sums up in one line how things stand: for the log when the watcher starts, and
/// for `systemctl status`.
pub(super) fn summary(pass: &Pass) -> String {
    Totals::of(&pass.plan).with_names()
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
