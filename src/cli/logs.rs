//! `herdsman logs`: what a model's servers have written, as one text.

use std::io::{self, ErrorKind, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::named::Named;
use super::output::{Reader, pause, write};
use super::{Exit, Places, Refused, named};
use crate::database::Database;
use crate::instance::{LogPart, LogReader, logged};
use crate::model::ModelName;

/// How often to check for new lines.
const POLL: Duration = Duration::from_millis(100);

/// Arguments of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Keep printing new lines until Ctrl-C.
    #[arg(short, long, conflicts_with = "previous")]
    follow: bool,
    /// Number of lines to print from the end, or `all`.
    #[arg(short = 'n', value_name = "N", default_value = "100", value_parser = lines)]
    lines: Lines,
    /// Print the log of the previous server instead of the current one.
    #[arg(short, long)]
    previous: bool,
    /// Name or alias of the model.
    name: Named,
}

/// The number of lines; `None` for all.
#[derive(Clone, Copy, Debug)]
struct Lines(Option<u64>);

fn lines(text: &str) -> Result<Lines, String> {
    match text {
        "all" => Ok(Lines(None)),
        _ => text
            .parse()
            .map(|number| Lines(Some(number)))
            .map_err(|_| "expected a number of lines, or `all`".to_owned()),
    }
}

/// Runs the command.
pub(super) fn run(places: &Places, args: &LogsArgs) -> anyhow::Result<Exit> {
    let name = &args.name.resolve(places)?;
    let logs = places.state().logs();
    let part = if args.previous { LogPart::Previous } else { LogPart::Whole };
    let mut reader = match LogReader::open(&logs, name, part, args.lines.0) {
        Ok(Some(reader)) => reader,
        Ok(None) => return Err(no_previous(name).into()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(no_log(places, name)?.into()),
        Err(error) => return Err(unreadable(name, &error).into()),
    };
    let stop = Arc::new(AtomicBool::new(false));
    if args.follow {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // A second signal ends the process at once: a full pipe may block the first.
            flag::register_conditional_shutdown(signal, 0, Arc::clone(&stop))?;
            flag::register(signal, Arc::clone(&stop))?;
        }
    }
    let for_terminal = io::stdout().is_terminal();
    let failed = |error: io::Error| unreadable(name, &error);
    let mut caught_up = false;
    while !stop.load(Ordering::Relaxed) {
        let lines = if caught_up { reader.read_on() } else { reader.read() }.map_err(failed)?;
        let output = match lines.is_empty() {
            true if !args.follow => break,
            true if caught_up => pause(POLL),
            _ => print(&lines, for_terminal)?,
        };
        if output == Reader::Left {
            return Ok(Exit::Converged);
        }
        caught_up = caught_up || lines.is_empty();
    }
    print(&reader.rest().map_err(failed)?, for_terminal)?;
    Ok(Exit::Converged)
}

/// Prints lines. A terminal obeys nothing in them.
fn print(lines: &[u8], for_terminal: bool) -> anyhow::Result<Reader> {
    if !for_terminal {
        return write(lines);
    }
    let text = String::from_utf8_lossy(lines);
    let text = anstream::adapter::strip_str(&text).to_string();
    let is_obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    write(text.chars().map(|c| if is_obeyed(c) { ' ' } else { c }).collect::<String>().as_bytes())
}

fn no_previous(name: &ModelName) -> Refused {
    let message =
        format!("the log of {name} has no previous server\nhelp: leave out --previous to see the current one");
    Refused { exit: Exit::Failed, message }
}

/// Explains a missing log: there is no such model, or it never had a server.
fn no_log(places: &Places, name: &ModelName) -> anyhow::Result<Refused> {
    let at = places.resolve();
    let database = Database::open_read_only(&at.database).map_err(|error| error.at(at.place()))?;
    let mut known = named::known(places, database.as_ref())?;
    if known.contains(name.as_str()) {
        let message =
            format!("{name} has no log: its server was never started\nhelp: `herdsman why {name}` explains why");
        return Ok(Refused { exit: Exit::Failed, message });
    }
    known.extend(logged(&at.state.logs()).unwrap_or_default().into_keys());
    Ok(named::unknown(name.as_str(), &known))
}

fn unreadable(name: &ModelName, error: &io::Error) -> Refused {
    Refused { exit: Exit::Failed, message: format!("cannot read the logs of {name}: {error}") }
}
