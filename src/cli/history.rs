//! `herdsman history`: what happened to models, when, why, from which commit.

use clap::Args;
use console::measure_text_width;
use serde::Serialize;
use serde_json::Value;

use super::json::{self, FORMAT_VERSION};
use super::named::Named;
use super::output::{complain, print};
use super::{Exit, Format, Places, Refused, named};
use crate::database::Database;
use crate::model::text::{local_time, printable, rfc3339, short_duration, squeezed};
use crate::model::{
    Commit, EventOutcome, EventRecord, FieldChange, GenerationOutcome, GenerationRecord, ModelName, Origin, Provenance,
};
use crate::plan::Reason;
use crate::view::history::{DiffError, differences, reasons};

/// How many entries are shown unless a number is asked for.
const USUAL: u32 = 50;

/// Arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Show at most N entries, the newest.
    #[arg(short = 'n', value_name = "N", default_value_t = USUAL)]
    number: u32,
    /// Show what changed between two generations of NAME.
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"], requires = "name")]
    diff: Option<Vec<u32>>,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Only this model, by name or alias.
    name: Option<Named>,
}

/// The document of `history --format json`; its schema is
/// `schema/history.v1.json`.
#[derive(Debug, Serialize)]
struct Document {
    format_version: u32,
    events: Vec<JsonEvent>,
    /// Only if the command names a model.
    #[serde(skip_serializing_if = "Option::is_none")]
    generations: Option<Vec<JsonGeneration>>,
}

#[derive(Debug, Serialize)]
pub(super) struct JsonEvent {
    at: Option<String>,
    model: ModelName,
    event: String,
    generation: Option<u32>,
    cause: String,
    reasons: Value,
    failure: Option<String>,
    duration_ms: u64,
    commit: Option<Commit>,
    dirty: Option<bool>,
}

#[derive(Debug, Serialize)]
pub(super) struct JsonGeneration {
    generation: u32,
    at: Option<String>,
    outcome: &'static str,
    failure: Option<String>,
    definition: String,
    origins: Vec<Origin>,
    commit: Option<Commit>,
    dirty: Option<bool>,
}

/// The document of `history --diff`.
#[derive(Debug, Serialize)]
struct DiffDocument {
    format_version: u32,
    model: ModelName,
    from: u32,
    to: u32,
    changes: Vec<JsonChange>,
}

#[derive(Debug, Serialize)]
pub(super) struct JsonChange {
    #[serde(flatten)]
    change: FieldChange,
    origin: Origin,
}

/// Runs the command.
pub(super) fn run(places: &Places, args: &HistoryArgs) -> anyhow::Result<Exit> {
    let name = args.name.as_ref().map(|name| name.resolve(places)).transpose()?;
    let name = name.as_ref();
    let at = places.resolve();
    let Some(database) = Database::open_read_only(&at.database).map_err(|error| error.at(at.place()))? else {
        let message = format!(
            "no history: there is no database {}\nhelp: `herdsman reconcile` creates it",
            at.database.display()
        );
        return Err(Refused { exit: Exit::Failed, message }.into());
    };
    if let Some(name) = name {
        let known = named::known(places, Some(&database))?;
        if !known.contains(name.as_str()) {
            return Err(named::unknown(name.as_str(), &known).into());
        }
    }
    if let (Some(name), Some([from, to])) = (name, args.diff.as_deref()) {
        return diff(&database, name, *from, *to, args.format);
    }
    let events = database.events(name, args.number)?;
    match args.format {
        Format::Json => {
            let generations = name.map(|name| database.generations(name)).transpose()?;
            let generations = generations.map(|all| all.iter().map(JsonGeneration::of).collect());
            let events = events.iter().map(JsonEvent::of).collect();
            json::print(&Document { format_version: FORMAT_VERSION, events, generations })?;
        }
        Format::Text if events.is_empty() && args.number > 0 => complain("no history yet"),
        Format::Text => print(table(&events))?,
    }
    Ok(Exit::Converged)
}

/// Returns the document of `history NAME --format json`, and under `words` in words: the
/// reasons of each event, and what each generation changed.
pub(super) fn document(places: &Places, name: &ModelName) -> anyhow::Result<serde_json::Value> {
    let at = places.resolve();
    let database = Database::open_read_only(&at.database).map_err(|error| error.at(at.place()))?;
    let Some(database) = database else { anyhow::bail!("no history: there is no database {}", at.database.display()) };
    let (generations, events) = (database.generations(name)?, database.events(Some(name), USUAL)?);
    let mut document = serde_json::to_value(Document {
        format_version: FORMAT_VERSION,
        events: events.iter().map(JsonEvent::of).collect(),
        generations: Some(generations.iter().map(JsonGeneration::of).collect()),
    })?;
    document["words"] = serde_json::json!({
        "events": events.iter().map(prose).collect::<Vec<_>>(),
        "generations": changes_in_words(name, &generations),
    });
    Ok(document)
}

/// Returns what each generation changed, newest first; the first one changed nothing.
fn changes_in_words(model: &ModelName, generations: &[GenerationRecord]) -> Vec<Vec<String>> {
    let of = |(at, generation): (usize, &GenerationRecord)| {
        let Some(before) = generations.get(at + 1) else { return Vec::new() };
        match differences(model, generations, before.number, generation.number) {
            Ok(changes) => changes.iter().map(ToString::to_string).collect(),
            Err(error) => vec![error.to_string()],
        }
    };
    generations.iter().enumerate().map(of).collect()
}

fn diff(database: &Database, model: &ModelName, from: u32, to: u32, format: Format) -> anyhow::Result<Exit> {
    let generations = database.generations(model)?;
    let refused = |error: DiffError| {
        let exit = if matches!(error, DiffError::Missing { .. }) { Exit::Usage } else { Exit::Failed };
        Refused { exit, message: error.to_string() }
    };
    let changes = differences(model, &generations, from, to).map_err(refused)?;
    match format {
        Format::Json => {
            let (model, changes) = (model.clone(), changes.into_iter().filter_map(JsonChange::of).collect());
            json::print(&DiffDocument { format_version: FORMAT_VERSION, model, from, to, changes })?;
        }
        Format::Text if changes.is_empty() => print(format_args!("Generations {from} and {to} are identical.\n"))?,
        Format::Text => print(changes.iter().map(|change| format!("{change}\n")).collect::<String>())?,
    }
    Ok(Exit::Converged)
}

impl JsonEvent {
    pub(super) fn of(event: &EventRecord) -> Self {
        let EventRecord { at, model, action, generation, cause, reasons, outcome, duration_ms, provenance } = event;
        Self {
            at: rfc3339(*at),
            model: model.clone(),
            event: action.clone(),
            generation: *generation,
            cause: cause.clone(),
            reasons: reasons.clone(),
            failure: failure(outcome).map(str::to_owned),
            duration_ms: *duration_ms,
            commit: provenance.as_ref().map(|from| from.commit.clone()),
            dirty: provenance.as_ref().map(|from| from.dirty),
        }
    }
}

impl JsonGeneration {
    pub(super) fn of(generation: &GenerationRecord) -> Self {
        let (outcome, failure) = match &generation.outcome {
            GenerationOutcome::Pending => ("pending", None),
            GenerationOutcome::Ready => ("ready", None),
            GenerationOutcome::Failed(death) => ("failed", Some(death.message.clone())),
        };
        Self {
            generation: generation.number,
            at: rfc3339(generation.created_at),
            outcome,
            failure,
            definition: generation.source.clone(),
            origins: generation.origins.clone(),
            commit: generation.provenance.as_ref().map(|from| from.commit.clone()),
            dirty: generation.provenance.as_ref().map(|from| from.dirty),
        }
    }
}

impl JsonChange {
    pub(super) fn of(reason: Reason) -> Option<Self> {
        match reason {
            Reason::FieldChanged { change, origin, .. } => Some(Self { change, origin }),
            _ => None,
        }
    }
}

const COLUMNS: [&str; 7] = ["WHEN", "MODEL", "GEN", "WHAT", "TOOK", "COMMIT", "WHY"];

/// A line per event.
fn table(events: &[EventRecord]) -> String {
    let rows: Vec<[String; 7]> = std::iter::once(COLUMNS.map(str::to_owned)).chain(events.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| measure_text_width(&row[column])).max().unwrap_or(0);
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(event: &EventRecord) -> [String; 7] {
    let dash = || "-".to_owned();
    [
        local_time(event.at),
        event.model.to_string(),
        event.generation.map_or_else(dash, |number| number.to_string()),
        what(event),
        short_duration(event.duration_ms),
        event.provenance.as_ref().map_or_else(dash, Provenance::short),
        why(event),
    ]
}

/// Returns the action or the finding, and whether it failed.
pub(super) fn what(event: &EventRecord) -> String {
    let word = event.action.replace("_asked", " requested").replace('_', " ");
    match event.outcome {
        EventOutcome::Failed(_) if !matches!(&*event.action, "start_failed" | "crashed") => format!("{word} failed"),
        _ => word,
    }
}

/// Returns how it failed, its reasons, and the cause of the pass.
fn why(event: &EventRecord) -> String {
    let parts = failure(&event.outcome).map(str::to_owned).into_iter().chain(prose(event));
    let parts = parts.map(|part| printable(&squeezed(&part))).collect::<Vec<_>>().join("; ");
    format!("{parts} ({})", printable(&event.cause)).trim_start().to_owned()
}

/// Returns the reasons of an event, worded as in a plan.
pub(super) fn prose(event: &EventRecord) -> Vec<String> {
    match reasons(event) {
        Some(reasons) => reasons.iter().map(ToString::to_string).collect(),
        None => vec![event.reasons.to_string()],
    }
}

pub(super) fn failure(outcome: &EventOutcome) -> Option<&str> {
    match outcome {
        EventOutcome::Done => None,
        EventOutcome::Failed(why) => Some(why),
    }
}
