//! `herdsman down`.

use std::time::Duration;

use clap::Args;

use super::json::{self, Document};
use super::open::pass_and_tell;
use super::output::print;
use super::progress::Progress;
use super::render;
use super::{Exit, Format, Places, Refused, duration};
use crate::model::Busy;
use crate::model::text::count;
use crate::pass::Goal;
use crate::plan::WaitKind;

/// Arguments of `down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// How to write the result.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How long to wait for another pass to end.
    #[arg(long, value_name = "T", default_value = "60s", value_parser = duration)]
    lock_timeout: Duration,
}

/// Runs the command.
pub(super) fn run(places: &Places, args: &DownArgs) -> anyhow::Result<Exit> {
    let state = places.state();
    if !state.path().exists() {
        let message = format!("there is no state directory {}, so nothing of it runs", state.path().display());
        return Err(Refused { exit: Exit::Failed, message }.into());
    }
    let limits = places.limits();
    let mut document = Document::new();
    let mut progress = Progress::new();
    state.create()?;
    let mut host = None;
    let last = loop {
        // One may come while the last requests are waited for.
        if state.has_watcher()? {
            let place = state.path().display();
            let message = format!("a watcher runs on {place} and would start them again; stop it first");
            return Err(Refused { exit: Exit::Locked, message }.into());
        }
        let lock = state.lock(args.lock_timeout)?;
        let host = match &mut host {
            Some(host) => host,
            None => host.insert(places.open()?),
        };
        let done = pass_and_tell(host, Goal::Down, &limits, "down")?;
        drop(lock);
        progress.report(&done);
        document.add(&done);
        let drains = done.plan.waiting.iter().any(|w| w.on.kind() == WaitKind::Progressing);
        if done.outcomes.is_empty() && !drains || done.outcomes.iter().any(|o| o.result.is_err()) {
            break done;
        }
        if done.outcomes.is_empty() {
            host.wait(&done.observed.instances, Busy::ASKED_EVERY);
        }
    };
    progress.finish();
    let mut exit = Exit::of_pass(&last);
    // What is suspended is left alone: a server of it runs on.
    if document.has_failures() || !last.observed.instances.is_empty() {
        exit = exit.and(Exit::Failed);
    }
    match args.format {
        Format::Json => json::print(&document.finish(&last, exit))?,
        Format::Text => {
            for failure in document.failures() {
                print(format_args!("failed: {failure}\n"))?;
            }
            print(render::stuck(&last.plan, last.now))?;
            let stopped: usize = document.done().values().sum();
            let stopped = count(stopped, "server");
            print(format_args!(
                "Stopped {stopped}. Records and definitions stay; `herdsman reconcile` starts them again.\n"
            ))?;
        }
    }
    Ok(exit)
}
