//! What happens while `reconcile` waits, on standard error: a line per model
//! as it becomes ready, is stopped or fails; on a terminal a spinner for
//! those that are not there yet.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::model::ModelName;
use crate::plan::{ActionKind, Found, WaitKind};
use crate::reconcile::Pass;
use crate::text;

/// A wait shorter than this goes unmentioned.
const WORTH_A_LINE: Duration = Duration::from_secs(1);

/// The progress of one command.
pub(super) struct Progress {
    spinner: Option<ProgressBar>,
    /// What is waited for, since when, and whether that was said.
    waits: BTreeMap<(ModelName, String), (Instant, bool)>,
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
        Self { spinner, waits: BTreeMap::new() }
    }

    /// Says what a pass found and did, and what is waited for now.
    pub(super) fn report(&mut self, pass: &Pass) {
        for finding in &pass.plan.findings {
            match &finding.what {
                Found::Ready { pid, started_at } => {
                    let port = pass.observed.instances.iter().find(|i| i.process.pid == *pid).and_then(|i| i.port);
                    let at = port.map_or_else(String::new, |port| format!(", port {port}"));
                    let took = text::duration(pass.now.since(*started_at));
                    self.line(&finding.model, &format!("ready after {took} (pid {pid}{at})"));
                }
                Found::StartFailed(death) => self.line(&finding.model, &format!("did not start: {}", death.message)),
                Found::Crashed(death) => self.line(&finding.model, &format!("crashed: {}", death.message)),
            }
        }
        for outcome in &pass.outcomes {
            match (&outcome.result, outcome.kind) {
                (Err(why), kind) => self.line(&outcome.model, &format!("{} failed: {why}", kind.as_str())),
                (Ok(()), ActionKind::Stop | ActionKind::Delete) => self.line(&outcome.model, "stopped"),
                (Ok(()), _) => {}
            }
        }
        let waiting: Vec<(ModelName, String)> = pass
            .plan
            .waiting
            .iter()
            .filter(|w| w.on.kind() == WaitKind::Progressing)
            .map(|w| (w.model.clone(), w.on.to_string()))
            .collect();
        match &self.spinner {
            Some(spinner) => show(spinner, &waiting),
            None => self.mention(waiting),
        }
    }

    /// Without a terminal: a line for each wait that is worth one.
    fn mention(&mut self, waiting: Vec<(ModelName, String)>) {
        self.waits.retain(|wait, _| waiting.contains(wait));
        for wait in waiting {
            let (since, said) = self.waits.entry(wait.clone()).or_insert_with(|| (Instant::now(), false));
            if !*said && since.elapsed() >= WORTH_A_LINE {
                *said = true;
                self.line(&wait.0, &wait.1);
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
            None => anstream::eprintln!("{line}"),
        }
    }
}

fn show(spinner: &ProgressBar, waiting: &[(ModelName, String)]) {
    let parts: Vec<String> = waiting.iter().map(|(model, what)| format!("{model} {what}")).collect();
    spinner.set_message(parts.join("; "));
    spinner.enable_steady_tick(Duration::from_millis(100));
}
