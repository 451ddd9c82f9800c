//! `herdsman down`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;

use super::ground::{OnHost, Passes};
use super::json;
use super::output::print;
use super::places::pass_and_tell;
use super::render;
use super::{Exit, Format, Places, Refused, duration};
use crate::host::Host;
use crate::model::ModelName;
use crate::model::text::count;
use crate::pass::converge::{Patience, converge};
use crate::pass::{Goal, Order, Pass};
use crate::plan::Limits;
use crate::state::StateDir;

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

/// The passes of `down`.
struct Down;

impl Passes for Down {
    /// A watcher may start while this waits for the last requests.
    fn check(&mut self, state: &StateDir) -> anyhow::Result<()> {
        if !state.has_watcher()? {
            return Ok(());
        }
        let place = state.path().display();
        let message =
            format!("a watcher is running on {place} and would start the servers again\nhelp: stop the watcher first");
        Err(Refused { exit: Exit::Locked, message }.into())
    }

    fn pass(&mut self, host: &mut Host, _tried: &BTreeSet<ModelName>) -> anyhow::Result<Pass> {
        pass_and_tell(host, Goal::Down, Order::new(&Limits::default(), "down"))
    }
}

/// Runs the command.
pub(super) fn run(places: &Places, args: &DownArgs) -> anyhow::Result<Exit> {
    let state = places.state();
    if !state.path().exists() {
        let message = format!("there is no state directory {}, so no servers to stop", state.path().display());
        return Err(Refused { exit: Exit::Failed, message }.into());
    }
    let mut ground = OnHost::new(places, args.lock_timeout, Down);
    let last = converge(&mut ground, Patience { ends_at_failure: true, ..Patience::default() })?.last;
    ground.finish_progress();
    let document = ground.document;
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
