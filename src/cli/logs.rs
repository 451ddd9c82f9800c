//! `herdsman logs`: what the servers of a model wrote, including rotated files.

use std::io::{self, ErrorKind, IsTerminal};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::output::{Reader, pause, write};
use super::{Exit, Places, Refused, named};
use crate::database::Database;
use crate::instance::{LogPart, LogReader};
use crate::model::ModelName;

/// How often to check for new lines.
const POLL: Duration = Duration::from_millis(100);

/// An unfinished line of this length, in bytes, is shown as it is.
const LONGEST_LINE: usize = 64 << 10;

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
    /// Name of the model.
    name: ModelName,
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
    let log = places.state().log(&args.name);
    let part = if args.previous { LogPart::Previous } else { LogPart::Whole };
    let mut reader = match LogReader::open(&log, part, args.lines.0) {
        Ok(Some(reader)) => reader,
        Ok(None) => return Err(no_previous(&args.name).into()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(no_log(places, &args.name)?.into()),
        Err(error) => return Err(unreadable(&log, &error).into()),
    };
    let stop = Arc::new(AtomicBool::new(false));
    if args.follow {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // A second signal ends the process at once: a full pipe may block the first.
            flag::register_conditional_shutdown(signal, 0, Arc::clone(&stop))?;
            flag::register(signal, Arc::clone(&stop))?;
        }
    }
    let mut printer = Printer { for_terminal: io::stdout().is_terminal(), begun: Vec::new() };
    let mut show = || -> anyhow::Result<()> {
        loop {
            let bytes = reader.read().map_err(|error| unreadable(&log, &error))?;
            if bytes.is_empty() {
                break;
            }
            if printer.print(&bytes)? == Reader::Left {
                return Ok(());
            }
        }
        while args.follow && !stop.load(Ordering::Relaxed) {
            let bytes = reader.read_on().map_err(|error| unreadable(&log, &error))?;
            let reader = if bytes.is_empty() { pause(POLL) } else { printer.print(&bytes)? };
            if reader == Reader::Left {
                return Ok(());
            }
        }
        printer.end()
    };
    show()?;
    Ok(Exit::Converged)
}

/// Prints whole lines. For a terminal it removes control characters.
struct Printer {
    for_terminal: bool,
    /// A line that has no end yet.
    begun: Vec<u8>,
}

impl Printer {
    fn print(&mut self, bytes: &[u8]) -> anyhow::Result<Reader> {
        self.begun.extend_from_slice(bytes);
        let whole = match self.begun.iter().rposition(|byte| *byte == b'\n') {
            Some(newline) => newline + 1,
            None if self.begun.len() > LONGEST_LINE => self.begun.len(),
            None => return Ok(Reader::Listens),
        };
        let rest = self.begun.split_off(whole);
        let lines = std::mem::replace(&mut self.begun, rest);
        self.write(&lines)
    }

    fn end(&mut self) -> anyhow::Result<()> {
        let rest = std::mem::take(&mut self.begun);
        self.write(&rest).map(drop)
    }

    fn write(&self, lines: &[u8]) -> anyhow::Result<Reader> {
        if !self.for_terminal {
            return write(lines);
        }
        let text = String::from_utf8_lossy(lines);
        let text = anstream::adapter::strip_str(&text).to_string();
        let is_obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        write(text.chars().map(|c| if is_obeyed(c) { ' ' } else { c }).collect::<String>().as_bytes())
    }
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
    known.extend(named::stems(&at.state.logs(), ".log"));
    Ok(named::unknown(name.as_str(), &known))
}

fn unreadable(log: &Path, error: &io::Error) -> Refused {
    Refused { exit: Exit::Failed, message: format!("cannot read the log {}: {error}", log.display()) }
}
