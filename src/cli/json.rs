//! Plans and results as programs read them.
//!
//! `format_version` grows when a field changes its meaning or disappears; new fields
//! may appear at any time. The schema is `schema/reconcile.v1.json`, and a test
//! checks every kind of document against it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Exit, output};
use crate::model::ModelName;
use crate::pass::Pass;
use crate::plan::{ActionKind, Found, GuardRefusal, Reason, Waiting};
use crate::serve::api::diagnostic::DiagnosticDocument;
use crate::view::View;

/// The version of every JSON document.
pub(super) const FORMAT_VERSION: u32 = 1;

/// The document of `reconcile --format json`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Document {
    format_version: u32,
    dry_run: bool,
    exit_code: u8,
    actions: Vec<JsonAction>,
    findings: Vec<JsonFinding>,
    waiting: Vec<Waiting>,
    unmanaged: Vec<JsonUnmanaged>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<GuardRefusal>,
    matching: usize,
    diagnostics: Vec<DiagnosticDocument>,
}

#[derive(Clone, Debug, Serialize)]
struct JsonAction {
    model: ModelName,
    action: ActionKind,
    reasons: Vec<Reason>,
    /// Absent in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<JsonOutcome>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum JsonOutcome {
    Done,
    /// The server drains: it finishes requests in flight.
    Draining,
    Failed(String),
}

#[derive(Clone, Debug, Serialize)]
struct JsonFinding {
    model: ModelName,
    finding: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct JsonUnmanaged {
    id: String,
    name: String,
}

impl Document {
    /// Returns an empty document, to add passes to.
    pub(super) fn new() -> Self {
        Self {
            format_version: FORMAT_VERSION,
            dry_run: false,
            exit_code: 0,
            actions: Vec::new(),
            findings: Vec::new(),
            waiting: Vec::new(),
            unmanaged: Vec::new(),
            guard: None,
            matching: 0,
            diagnostics: Vec::new(),
        }
    }

    /// Returns the document of a dry run.
    pub(super) fn plan(seen: &Pass, exit: Exit) -> Self {
        let actions = seen.plan.actions.iter().map(|a| JsonAction {
            model: a.model.clone(),
            action: a.kind,
            reasons: a.reasons.clone(),
            outcome: None,
        });
        let document = Self { dry_run: true, actions: actions.collect(), ..Self::new() };
        document.finish(seen, exit)
    }

    /// Adds what a pass found and did.
    pub(super) fn add(&mut self, pass: &Pass) {
        self.findings.extend(pass.plan.findings.iter().map(|finding| {
            let pid = match &finding.what {
                Found::Ready { pid, .. } => Some(*pid),
                Found::StartFailed(_) | Found::Crashed(_) => None,
            };
            let message = finding.what.death().map(|death| death.message.clone());
            JsonFinding { model: finding.model.clone(), finding: finding.what.as_str(), pid, message }
        }));
        if pass.outcomes.is_empty() {
            return;
        }
        let view = View::of(pass);
        self.actions.extend(pass.outcomes.iter().map(|outcome| JsonAction {
            model: outcome.model.clone(),
            action: outcome.kind,
            reasons: view.model(&outcome.model).map(|model| model.reasons().to_vec()).unwrap_or_default(),
            outcome: Some(match &outcome.result {
                Err(why) => JsonOutcome::Failed(why.clone()),
                Ok(()) if outcome.only_begun => JsonOutcome::Draining,
                Ok(()) => JsonOutcome::Done,
            }),
        }));
    }

    /// Adds the state after the last pass.
    pub(super) fn finish(mut self, last: &Pass, exit: Exit) -> Self {
        self.exit_code = exit.code();
        self.waiting.clone_from(&last.plan.waiting);
        self.guard.clone_from(&last.plan.guard);
        self.matching = last.plan.matching;
        let rows = last.plan.unmanaged.iter();
        self.unmanaged = rows.map(|r| JsonUnmanaged { id: r.id.to_string(), name: r.name.clone() }).collect();
        self.diagnostics = last.desired.iter().flat_map(|d| &d.diagnostics).map(DiagnosticDocument::of).collect();
        self
    }

    /// Whether any action failed.
    pub(super) fn has_failures(&self) -> bool {
        self.failures().next().is_some()
    }

    /// Returns the failed actions, in words.
    pub(super) fn failures(&self) -> impl Iterator<Item = String> {
        self.actions.iter().filter_map(|a| match &a.outcome {
            Some(JsonOutcome::Failed(why)) => Some(format!("{} {}: {why}", a.action.as_str(), a.model)),
            _ => None,
        })
    }

    /// Counts the models that failed to start.
    pub(super) fn failed_starts(&self) -> usize {
        let failed = self.findings.iter().filter(|finding| finding.finding == "start_failed");
        failed.map(|finding| &finding.model).collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Whether anything was changed.
    pub(super) fn has_changes(&self) -> bool {
        !self.actions.is_empty()
    }

    /// Counts the models of each kind of finished action; an action that took
    /// several passes counts once.
    pub(super) fn done(&self) -> BTreeMap<ActionKind, usize> {
        let done: std::collections::BTreeSet<(ActionKind, &ModelName)> = self
            .actions
            .iter()
            .filter(|a| matches!(a.outcome, Some(JsonOutcome::Done)))
            .map(|a| (a.action, &a.model))
            .collect();
        let mut counts = BTreeMap::new();
        for (kind, _) in done {
            *counts.entry(kind).or_insert(0) += 1;
        }
        counts
    }
}

/// Prints a document and a newline.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn print<T: Serialize>(document: &T) -> anyhow::Result<()> {
    output::print(format_args!("{}\n", serde_json::to_string_pretty(document)?))
}
