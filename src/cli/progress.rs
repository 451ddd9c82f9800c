//! Progress of `reconcile` on standard error: a line per model when it becomes
//! ready, stops or fails, and on a terminal a spinner for the others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::complain;
use crate::model::ModelName;
use crate::model::text;
use crate::pass::Pass;
use crate::plan::{ActionKind, Found, WaitFor, WaitKind};

/// A shorter wait is not mentioned.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// A model that waits, and for what.
struct Wait {
    model: ModelName,
    what: String,
    /// How long it must last to be mentioned.
    worth_a_line: Duration,
}

/// The progress of one command.
pub(super) struct Progress {
    spinner: Option<ProgressBar>,
    /// What models wait for, since when, and whether that was mentioned.
    waits: BTreeMap<(ModelName, String), (Instant, bool)>,
    /// Actions that were printed, and whether the first plan was.
    announced: BTreeSet<(ModelName, ActionKind)>,
    shown: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        let spinner = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { spinner, waits: BTreeMap::new(), announced: BTreeSet::new(), shown: false }
    }

    /// Prints what a pass found and did, and what models wait for now.
    pub(super) fn report(&mut self, pass: &Pass) {
        for finding in &pass.plan.findings {
            match &finding.what {
                Found::Ready { pid, port } => {
                    let at = port.map_or_else(String::new, |port| format!(", port {port}"));
                    let took = text::brief(pass.now.since(finding.started_at));
                    self.line(&finding.model, &format!("ready after {took} (pid {pid}{at})"));
                }
                ended @ (Found::StartFailed(_) | Found::Crashed(_)) => self.line(&finding.model, &ended.to_string()),
            }
        }
        self.announce(pass);
        for outcome in &pass.outcomes {
            match (&outcome.result, outcome.kind) {
                (Err(why), kind) => self.line(&outcome.model, &format!("{} failed: {why}", kind.as_str())),
                (Ok(()), ActionKind::Stop) if !outcome.only_begun => self.line(&outcome.model, "stopped"),
                (Ok(()), ActionKind::Delete) if !outcome.only_begun => self.line(&outcome.model, "deleted"),
                (Ok(()), _) => {}
            }
        }
        let waiting: Vec<Wait> = pass
            .plan
            .waiting
            .iter()
            .filter(|w| w.on.kind() == WaitKind::Progressing)
            .map(|w| Wait {
                model: w.model.clone(),
                what: w.on.to_string(),
                // Every drain delays a stop, so it is mentioned at once.
                worth_a_line: if matches!(w.on, WaitFor::Drain { .. }) { Duration::ZERO } else { WORTH_A_LINE },
            })
            .collect();
        match &self.spinner {
            Some(spinner) => show(spinner, &waiting),
            None => self.mention(waiting),
        }
    }

    /// Prints the actions of a later pass that the first plan did not show.
    fn announce(&mut self, pass: &Pass) {
        for action in &pass.plan.actions {
            let new = self.announced.insert((action.model.clone(), action.kind));
            if new && self.shown {
                let reasons: Vec<String> = action.reasons.iter().map(ToString::to_string).collect();
                self.line(&action.model, &format!("{}: {}", action.kind.as_str(), reasons.join("; ")));
            }
        }
        self.shown = true;
    }

    /// Prints a line for each wait that lasts, where there is no terminal.
    fn mention(&mut self, waiting: Vec<Wait>) {
        self.waits.retain(|(model, what), _| waiting.iter().any(|w| w.model == *model && w.what == *what));
        for Wait { model, what, worth_a_line } in waiting {
            let key = (model.clone(), what.clone());
            let (since, said) = self.waits.entry(key).or_insert_with(|| (Instant::now(), false));
            if !*said && since.elapsed() >= worth_a_line {
                *said = true;
                self.line(&model, &what);
            }
        }
    }

    pub(super) fn finish(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }

    fn line(&self, model: &ModelName, what: &str) {
        let line = format!("{model}: {what}");
        match &self.spinner {
            Some(spinner) => spinner.println(line),
            None => complain(line),
        }
    }
}

fn show(spinner: &ProgressBar, waiting: &[Wait]) {
    if waiting.is_empty() {
        spinner.disable_steady_tick();
        return;
    }
    let parts: Vec<String> = waiting.iter().map(|wait| format!("{} {}", wait.model, wait.what)).collect();
    spinner.set_message(parts.join("; "));
    spinner.enable_steady_tick(Duration::from_millis(100));
}
