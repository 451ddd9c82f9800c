//! `herdsman status`: desired, recorded and observed, side by side.
//!
//! | file | holds |
//! |---|---|
//! | `report` | one look, as data |
//! | `table` | a look as people read it |
//! | `frame`, `screen`, `watch` | look after look, on a terminal |

mod frame;
pub(super) mod report;
mod screen;
pub(super) mod table;
mod watch;

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::json::{self, FORMAT_VERSION};
use super::named::Named;
use super::output::{complain, print};
use super::places::Refused;
use super::{Exit, Format, Places, duration};
use crate::database::Undelivered;
use report::{Look, ModelStatus};

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Exit as `reconcile` would without changes: 0 only if every model matches its definition.
    #[arg(long)]
    exit_code: bool,
    /// Keep the table up to date on the terminal until Ctrl-C.
    #[arg(long, conflicts_with_all = ["format", "exit_code"])]
    watch: bool,
    /// How often to refresh the table.
    #[arg(long, value_name = "DURATION", requires = "watch", default_value = "1s", value_parser = duration)]
    interval: Duration,
    /// Only this model, by name or alias, with the last lines of its log.
    name: Option<Named>,
}

/// The document of `status --format json`; its schema is
/// `schema/status.v1.json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    format_version: u32,
    watcher: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<&'a str>,
    models: &'a [ModelStatus],
    #[serde(skip_serializing_if = "Option::is_none")]
    notifications: Option<&'a Undelivered>,
}

/// Runs the command.
pub(super) fn run(places: &Places, args: &StatusArgs) -> anyhow::Result<Exit> {
    let name = args.name.as_ref().map(|name| name.resolve(places)).transpose()?;
    if args.watch {
        if !std::io::stdout().is_terminal() {
            let message = "--watch needs a terminal on standard output; \
                           programs call `herdsman status --format json` as often as they need";
            return Err(Refused { exit: Exit::Usage, message: message.to_owned() }.into());
        }
        return watch::run(places, name.as_ref(), args.interval);
    }
    let look = Look::take(places, name.as_ref())?.with_requests(places);
    look.notices.iter().for_each(complain);
    if let Some(error) = &look.unreadable {
        complain(format_args!("error: {error}"));
    }
    if !look.diagnostics.is_empty() {
        // Colours are stripped where standard error is no terminal.
        complain(crate::definition::render(&look.diagnostics, true));
    }
    match args.format {
        Format::Json => {
            let Look { watcher, models, undelivered, unreadable, .. } = &look;
            let notifications = Some(undelivered).filter(|undelivered| **undelivered != Undelivered::default());
            let (watcher, unreadable) = (*watcher, unreadable.as_deref());
            json::print(&Report { format_version: FORMAT_VERSION, watcher, unreadable, models, notifications })?;
        }
        Format::Text => print(table::text(&look, screen::width()))?,
    }
    Ok(if args.exit_code { look.exit } else { Exit::Converged })
}
