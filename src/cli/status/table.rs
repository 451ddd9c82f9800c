//! Models as people read them.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use console::{Alignment, measure_text_width, pad_str};

use super::report::{Look, ModelStatus, Requests};
use crate::database::Undelivered;
use crate::model::text;
use crate::model::{DesiredState, Status, Timestamp};

/// The columns, each with its cell.
const COLUMNS: [Column; 8] = [
    ("NAME", |model, _| model.name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()),
    ("STATUS", |model, _| {
        let style = style(model.status);
        format!("{style}{}{style:#}", model.status.as_str())
    }),
    ("GEN", |model, _| generation(model)),
    ("PORT", |model, _| or_dash(model.port)),
    (PID, |model, _| or_dash(model.pid)),
    ("UPTIME", |model, _| or_dash(model.uptime.map(text::duration))),
    ("MEMORY", |model, _| or_dash(model.resident_bytes.map(text::bytes))),
    (RESTARTS, |model, _| or_dash(model.managed.then_some(model.restarts))),
];

/// Those that follow where a gateway serves.
const REQUESTS: [Column; 3] = [
    ("IN FLIGHT", |model, _| or_dash(model.requests.map(|requests| requests.in_flight))),
    ("WAITING", |model, _| or_dash(model.requests.map(|requests| requests.waiting))),
    ("LAST USED", last_used),
];

/// What a narrow terminal has no room for beside them, the first first.
const SPARE: [&str; 2] = [RESTARTS, PID];
const PID: &str = "PID";
const RESTARTS: &str = "RESTARTS";

/// A title, and what stands below it of a model at some time.
type Column = (&'static str, fn(&ModelStatus, Timestamp) -> String);

/// A table of models, a few lines each.
pub(super) struct Table {
    pub header: String,
    /// The lines of each model: its row and, where they have no room in it,
    /// its notes below.
    pub models: Vec<Vec<String>>,
}

impl Table {
    /// Lays the models of `look` out for a terminal of `width` columns; without a
    /// width, for whatever reads standard output, each model has one line.
    pub(super) fn new(look: &Look, width: Option<usize>) -> Self {
        let models = &look.models;
        let fits = |line: &String| width.is_none_or(|width| measure_text_width(line.trim_end()) <= width);
        let mut columns = COLUMNS.to_vec();
        let mut lines = lines(&columns, look);
        if models.iter().any(|model| model.requests.is_some()) {
            columns.extend(REQUESTS);
            let mut spare = SPARE.iter();
            lines = loop {
                let lines = self::lines(&columns, look);
                let Some(spare) = spare.next().filter(|_| !lines.iter().all(fits)) else { break lines };
                columns.retain(|(title, _)| title != spare);
            };
        }
        let header = lines.remove(0);
        let beside: Vec<String> =
            lines.iter().zip(models).map(|(line, model)| format!("{line}  {}", notes(model).join("; "))).collect();
        let noted = format!("{header}  NOTE");
        if fits(&noted) && beside.iter().all(fits) {
            let models = beside.into_iter().map(|line| vec![line.trim_end().to_owned()]).collect();
            return Self { header: noted, models };
        }
        let below = |(line, model): (&String, &ModelStatus)| {
            let mut lines = vec![line.trim_end().to_owned()];
            lines.extend(notes(model).into_iter().map(|note| format!("  └ {note}")));
            lines
        };
        Self { header: header.trim_end().to_owned(), models: lines.iter().zip(models).map(below).collect() }
    }
}

/// The header and a line for each model, in columns.
fn lines(columns: &[Column], look: &Look) -> Vec<String> {
    let mut rows = vec![columns.iter().map(|(title, _)| (*title).to_owned()).collect::<Vec<_>>()];
    rows.extend(look.models.iter().map(|model| columns.iter().map(|(_, cell)| cell(model, look.now)).collect()));
    let widths: Vec<usize> = (0..columns.len())
        .map(|column| rows.iter().map(|row| measure_text_width(&row[column])).max().unwrap_or_default())
        .collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| pad_str(cell, *width, Alignment::Left, None));
        padded.collect::<Vec<_>>().join("  ")
    };
    rows.iter().map(line).collect()
}

/// All of it, as `status` prints it.
pub(super) fn text(look: &Look, width: Option<usize>) -> String {
    let Table { header, models } = Table::new(look, width);
    let mut lines = if models.is_empty() { vec!["No models.".to_owned()] } else { vec![header] };
    lines.extend(models.into_iter().flatten());
    let remarks = undelivered(look).into_iter().chain(unattended(look));
    for section in look.models.iter().filter_map(log).chain(remarks.map(|line| vec![line])) {
        lines.push(String::new());
        lines.extend(section);
    }
    lines.join("\n") + "\n"
}

/// The end of a model's log, headed by where it is.
pub(in crate::cli) fn log(model: &ModelStatus) -> Option<Vec<String>> {
    let log = model.log.as_ref()?;
    let (name, path) = (one_line(&model.name), one_line(&log.path));
    Some(match &log.problem {
        Some(problem) => vec![format!("cannot read the log of {name}, {path}: {problem}")],
        None if log.lines.is_empty() => vec![format!("{name} wrote nothing to {path}")],
        None => {
            let mut lines = vec![format!("last lines of {name} in {path}:")];
            lines.extend(log.lines.iter().map(|line| format!("  {line}")));
            lines
        }
    })
}

/// Says that nobody applies what is pending.
pub(super) fn unattended(look: &Look) -> Option<String> {
    let message = "No watcher is running; run `herdsman reconcile` to apply this.";
    (look.needs_a_pass && !look.watcher).then(|| message.to_owned())
}

/// Says which notifications are not delivered, and why.
pub(super) fn undelivered(look: &Look) -> Option<String> {
    let Undelivered { pending, given_up, last_error } = &look.undelivered;
    let number = |count: u32| text::count(usize::try_from(count).unwrap_or(usize::MAX), "notification");
    let given_up = (*given_up > 0).then(|| format!("{} failed", number(*given_up)));
    let pending = (*pending > 0).then(|| format!("{} pending", number(*pending)));
    let parts: Vec<String> = given_up.into_iter().chain(pending).collect();
    let why = last_error.as_ref().map_or_else(String::new, |error| format!(": {}", one_line(error)));
    (!parts.is_empty()).then(|| format!("{}{why}", parts.join(", ")))
}

/// Text from anywhere, safe in a line of a terminal.
pub(in crate::cli) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

pub(super) const fn style(status: Status) -> Style {
    match status {
        Status::Running => AnsiColor::Green.on_default(),
        Status::Loading => AnsiColor::Yellow.on_default(),
        Status::Error => AnsiColor::Red.on_default(),
        Status::Idle => Style::new().dimmed(),
    }
}

fn or_dash(cell: Option<impl ToString>) -> String {
    cell.map_or_else(|| "-".to_owned(), |cell| cell.to_string())
}

fn generation(model: &ModelStatus) -> String {
    match (model.generation, model.serving) {
        (0, _) => "-".to_owned(),
        (wanted, Some(serving)) if serving != wanted => format!("{serving}<{wanted}"),
        (wanted, _) => wanted.to_string(),
    }
}

fn last_used(model: &ModelStatus, now: Timestamp) -> String {
    match model.requests {
        Some(Requests { in_flight: 1.., .. }) => "now".to_owned(),
        requests => or_dash(requests.and_then(|requests| requests.last_used).map(|at| text::ago(now.since(at)))),
    }
}

fn notes(model: &ModelStatus) -> Vec<String> {
    let silent = model
        .status_age_ms
        .map(|age| format!("alive but not responding; last status {} ago", text::duration(Duration::from_millis(age))));
    let notes: Vec<String> =
        silent.iter().chain(&model.reasons).chain(&model.waiting_for).map(|note| one_line(note)).collect();
    let is_cold = model.state == Some(DesiredState::OnDemand) && model.pid.is_none();
    if is_cold && notes.is_empty() { vec!["starts on demand".to_owned()] } else { notes }
}
