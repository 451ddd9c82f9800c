//! Models as people read them.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use console::{Alignment, measure_text_width, pad_str};

use super::report::{Look, ModelStatus};
use crate::database::Undelivered;
use crate::model::Status;
use crate::model::text;

const COLUMNS: [&str; 8] = ["NAME", "STATUS", "GEN", "PORT", "PID", "UPTIME", "MEMORY", "RESTARTS"];

/// A table of models, a few lines each.
pub(super) struct Table {
    pub header: String,
    /// The lines of each model: its row and, where they have no room in it,
    /// its notes below.
    pub models: Vec<Vec<String>>,
}

impl Table {
    /// Lays `models` out for a terminal of `width` columns; without a width, for
    /// whatever reads standard output, each model has one line.
    pub(super) fn new(models: &[ModelStatus], width: Option<usize>) -> Self {
        let rows: Vec<[String; COLUMNS.len()]> = models.iter().map(row).collect();
        let mut widths = COLUMNS.map(str::len);
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(measure_text_width(cell));
            }
        }
        let line = |cells: &[String; COLUMNS.len()]| {
            let padded = cells.iter().zip(widths).map(|(cell, width)| pad_str(cell, width, Alignment::Left, None));
            padded.collect::<Vec<_>>().join("  ")
        };
        let beside: Vec<String> =
            rows.iter().zip(models).map(|(row, model)| format!("{}  {}", line(row), notes(model).join("; "))).collect();
        let header = line(&COLUMNS.map(str::to_owned));
        if beside.iter().all(|line| width.is_none_or(|width| measure_text_width(line.trim_end()) <= width)) {
            let models = beside.into_iter().map(|line| vec![line.trim_end().to_owned()]).collect();
            return Self { header: format!("{header}  NOTE"), models };
        }
        let below = |(row, model): (&[String; COLUMNS.len()], &ModelStatus)| {
            let mut lines = vec![line(row).trim_end().to_owned()];
            lines.extend(notes(model).into_iter().map(|note| format!("  └ {note}")));
            lines
        };
        Self { header: header.trim_end().to_owned(), models: rows.iter().zip(models).map(below).collect() }
    }
}

/// All of it, as `status` prints it.
pub(super) fn text(look: &Look, width: Option<usize>) -> String {
    let Table { header, models } = Table::new(&look.models, width);
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

fn row(model: &ModelStatus) -> [String; COLUMNS.len()] {
    let dash = || "-".to_owned();
    let generation = match (model.generation, model.serving) {
        (0, _) => dash(),
        (wanted, Some(serving)) if serving != wanted => format!("{serving}<{wanted}"),
        (wanted, _) => wanted.to_string(),
    };
    let style = style(model.status);
    [
        model.name.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
        format!("{style}{}{style:#}", model.status.as_str()),
        generation,
        model.port.map_or_else(dash, |p| p.to_string()),
        model.pid.map_or_else(dash, |p| p.to_string()),
        model.uptime.map_or_else(dash, text::duration),
        model.resident_bytes.map_or_else(dash, text::bytes),
        if model.managed { model.restarts.to_string() } else { dash() },
    ]
}

fn notes(model: &ModelStatus) -> Vec<String> {
    let silent = model
        .status_age_ms
        .map(|age| format!("alive but not responding; last status {} ago", text::duration(Duration::from_millis(age))));
    silent.iter().chain(&model.reasons).chain(&model.waiting_for).map(|note| one_line(note)).collect()
}
