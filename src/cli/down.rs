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
use crate::pass::{Goal, Order};
use crate::plan::{Limits, WaitKind};

/// Arguments of `down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Wait this long for another pass to finish.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    lock_timeout: Duration,
}

/// Runs the command.
pub(super) fn run(places: &Places, args: &DownArgs) -> anyhow::Result<Exit> {
    let state = places.state();
    if !state.path().exists() {
        let message = format!("there is no state directory {}, so no servers to stop", state.path().display());
        return Err(Refused { exit: Exit::Failed, message }.into());
    }
    let limits = Limits::default();
    let mut document = Document::new();
    let mut progress = Progress::new();
    state.create()?;
    let mut host = None;
    let last = loop {
        // A watcher may start while this waits for the last requests.
        if state.has_watcher()? {
            let place = state.path().display();
            let message = format!(
                "a watcher is running on {place} and would start the servers again\nhelp: stop the watcher first"
            );
            return Err(Refused { exit: Exit::Locked, message }.into());
        }
        let lock = state.lock(args.lock_timeout)?;
        let host = match &mut host {
            Some(host) => host,
            None => host.insert(places.open()?),
        };
        let done = pass_and_tell(host, Goal::Down, Order::new(&limits, "down"))?;
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
    // `down` leaves suspended models alone: their servers keep running.
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
                "Stopped {stopped}. Records and definitions are kept; `herdsman reconcile` starts the servers again.\n"
            ))?;
        }
    }
    Ok(exit)
}
