//! `herdsman status`: desired, recorded and observed, side by side.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::json::{self, FORMAT_VERSION};
use super::open::Refused;
use super::output::{complain, print};
use super::reconcile::{exit_of_pass, report_diagnostics};
use super::{Exit, Format, Places};
use crate::host::HostError;
use crate::model::{DesiredState, GenerationOutcome, Health, Instance, ModelName, ModelRecord, Status, Timestamp};
use crate::plan::{Limits, WaitFor, WaitKind};
use crate::reconcile::{Goal, Pass, look};
use crate::text;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// How to write it.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Exit as `reconcile` would if it changed nothing: 0 only if all is as declared.
    #[arg(long)]
    exit_code: bool,
    /// Only this model.
    name: Option<ModelName>,
}

/// One model, for people and programs.
#[derive(Debug, Serialize)]
struct ModelStatus {
    name: String,
    /// What it does: `idle | loading | running | error`.
    status: Status,
    /// What is wanted; `None`: no definition.
    state: Option<DesiredState>,
    /// The generation wanted; 0: not recorded yet.
    generation: u32,
    /// The generation that serves, if an instance lives.
    serving: Option<u32>,
    pid: Option<i32>,
    host: Option<String>,
    port: Option<u16>,
    url: Option<String>,
    resident_bytes: Option<u64>,
    started_at: Option<String>,
    /// When `status` was last seen, if the server cannot be asked now.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_age_ms: Option<u64>,
    crashes: u32,
    managed: bool,
    /// Why the next pass would act on it.
    reasons: Vec<String>,
    /// What it waits for.
    waiting_for: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    format_version: u32,
    models: Vec<ModelStatus>,
}

/// Runs the command.
pub(super) fn run(places: &Places, args: &StatusArgs) -> anyhow::Result<Exit> {
    let mut host = places.open_read_only()?;
    let limits = Limits { port_range: places.port_range, logs: places.state().logs(), ..Limits::default() };
    let (seen, unreadable) = match look(&mut host, Goal::Definitions, &limits) {
        Ok(seen) => (seen, None),
        // Without definitions there is still something to see.
        Err(HostError::Load(error)) => (look(&mut host, Goal::Down, &limits)?, Some(error)),
        Err(error) => return Err(error.into()),
    };
    if let Some(error) = &unreadable {
        complain(format_args!("error: {error}"));
    }
    report_diagnostics(&seen);
    let mut models = statuses(&host, &seen, unreadable.is_none());
    if let Some(name) = &args.name {
        models.retain(|m| m.name == name.as_str());
        if models.is_empty() {
            let message = format!("no definition, record or row is named {name}; `herdsman status` lists all");
            return Err(Refused { exit: Exit::Usage, message }.into());
        }
    }
    match args.format {
        Format::Json => json::print(&Report { format_version: FORMAT_VERSION, models })?,
        Format::Text => print(table(&models, &seen))?,
    }
    Ok(match unreadable {
        _ if !args.exit_code => Exit::Converged,
        Some(_) => Exit::NoModelsDir,
        None => {
            let progressing = seen.plan.waiting.iter().any(|w| w.on.kind() == WaitKind::Progressing);
            let pending = progressing || !seen.plan.actions.is_empty();
            exit_of_pass(&seen).and(if pending { Exit::Failed } else { Exit::Converged })
        }
    })
}

fn statuses(host: &crate::host::Host, seen: &Pass, explained: bool) -> Vec<ModelStatus> {
    let mut names: std::collections::BTreeSet<&ModelName> = seen.records.models.keys().collect();
    names.extend(seen.desired.iter().flat_map(|d| d.definitions.keys()));
    names.extend(seen.desired.iter().flat_map(|d| &d.unresolved).filter_map(|u| u.name.as_ref()));
    names.extend(seen.observed.instances.iter().map(|i| &i.model));
    let mut reasons: BTreeMap<&ModelName, Vec<String>> = BTreeMap::new();
    let mut waits: BTreeMap<&ModelName, Vec<String>> = BTreeMap::new();
    if explained {
        for action in &seen.plan.actions {
            let said = action.reasons.iter().map(|reason| format!("{}: {reason}", action.kind.as_str()));
            reasons.entry(&action.model).or_default().extend(said);
        }
        for waiting in &seen.plan.waiting {
            waits.entry(&waiting.model).or_default().push(wait_text(&waiting.on, seen.now));
        }
    }
    let mut models: Vec<ModelStatus> = names
        .into_iter()
        .map(|name| ModelStatus {
            reasons: reasons.remove(name).unwrap_or_default(),
            waiting_for: waits.remove(name).unwrap_or_default(),
            ..status_of(host, seen, name)
        })
        .collect();
    models.extend(seen.plan.unmanaged.iter().map(|row| ModelStatus {
        waiting_for: vec!["not managed".to_owned()],
        managed: false,
        ..empty(row.name.clone())
    }));
    models
}

/// The prose of a wait, with the time that is left of it.
fn wait_text(wait: &WaitFor, now: Timestamp) -> String {
    match wait {
        WaitFor::Backoff { until, .. } => format!("{wait} (next try in {})", text::duration(now.until(*until))),
        WaitFor::Drain { deadline, .. } => format!("{wait} (at most {} more)", text::duration(now.until(*deadline))),
        _ => wait.to_string(),
    }
}

fn status_of(host: &crate::host::Host, seen: &Pass, name: &ModelName) -> ModelStatus {
    let record = seen.records.models.get(name);
    let definition = seen.desired.as_ref().and_then(|d| d.definitions.get(name));
    let live = seen.observed.instances.iter().find(|i| i.model == *name);
    let (status, stale) = match live.map(|i| &i.health) {
        Some(Health::Ready) => (Status::Running, false),
        Some(Health::Loading | Health::NotListening) => (Status::Loading, false),
        Some(Health::Unanswered(_)) => (record.map_or(Status::Loading, |r| r.status), true),
        None => (status_without_instance(record), false),
    };
    let recorded_at = host.database().and_then(|d| d.status_recorded_at(name).ok().flatten());
    let age = recorded_at.filter(|_| stale).map(|at| seen.now.since(at).as_millis());
    ModelStatus {
        status,
        state: definition.map(|d| d.state).or(record.map(|r| r.state)),
        generation: record.map_or(0, |r| r.generation.number),
        serving: live.and_then(|i| serving(record?, i)),
        pid: live.map(|i| i.process.pid),
        host: live.map(|i| i.host.clone()),
        port: live.and_then(|i| i.port).or_else(|| Some(record?.port?.port)),
        url: live.and_then(url),
        resident_bytes: live.map(|i| i.resident),
        started_at: live.and_then(|i| Some(jiff::Timestamp::from_millisecond(i.started_at.0).ok()?.to_string())),
        status_age_ms: age.and_then(|ms| u64::try_from(ms).ok()),
        crashes: record.map_or(0, |r| r.crashes.count),
        managed: true,
        ..empty(name.to_string())
    }
}

/// Nothing runs: whatever was recorded as running or loading is not any more.
fn status_without_instance(record: Option<&ModelRecord>) -> Status {
    match record {
        Some(r) if r.status == Status::Error || r.crashes.count > 0 => Status::Error,
        Some(r) if matches!(r.generation.outcome, GenerationOutcome::Failed(_)) => Status::Error,
        Some(r) if r.state == DesiredState::Running && r.status == Status::Running => Status::Error,
        _ => Status::Idle,
    }
}

fn serving(record: &ModelRecord, live: &Instance) -> Option<u32> {
    let generations = std::iter::once(&record.generation).chain(&record.last_ready);
    generations.into_iter().find(|g| g.hash == live.spec).map(|g| g.number)
}

fn url(live: &Instance) -> Option<String> {
    let port = live.port?;
    let host = match live.host.as_str() {
        "0.0.0.0" => "127.0.0.1",
        "::" => "[::1]",
        host if host.contains(':') => return Some(format!("http://[{host}]:{port}")),
        host => host,
    };
    Some(format!("http://{host}:{port}"))
}

fn empty(name: String) -> ModelStatus {
    ModelStatus {
        name,
        status: Status::Idle,
        state: None,
        generation: 0,
        serving: None,
        pid: None,
        host: None,
        port: None,
        url: None,
        resident_bytes: None,
        started_at: None,
        status_age_ms: None,
        crashes: 0,
        managed: true,
        reasons: Vec::new(),
        waiting_for: Vec::new(),
    }
}

fn table(models: &[ModelStatus], seen: &Pass) -> String {
    if models.is_empty() {
        return "No models.\n".to_owned();
    }
    let header = ["NAME", "STATUS", "GEN", "PORT", "PID", "UPTIME", "MEMORY", "NOTE"].map(str::to_owned);
    let rows: Vec<[String; 8]> = std::iter::once(header).chain(models.iter().map(|m| row(m, seen))).collect();
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn row(model: &ModelStatus, seen: &Pass) -> [String; 8] {
    let dash = || "-".to_owned();
    let live = seen.observed.instances.iter().find(|i| Some(i.process.pid) == model.pid);
    let generation = match (model.generation, model.serving) {
        (0, _) => dash(),
        (wanted, Some(serving)) if serving != wanted => format!("{serving}<{wanted}"),
        (wanted, _) => wanted.to_string(),
    };
    let notes: Vec<&str> = model.reasons.iter().chain(&model.waiting_for).map(String::as_str).collect();
    let mut status = model.status.as_str().to_owned();
    if let Some(age) = model.status_age_ms {
        status.push_str(&format!(" (silent, seen {} ago)", text::duration(std::time::Duration::from_millis(age))));
    }
    [
        model.name.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
        status,
        generation,
        model.port.map_or_else(dash, |p| p.to_string()),
        model.pid.map_or_else(dash, |p| p.to_string()),
        live.map_or_else(dash, |i| text::duration(seen.now.since(i.started_at))),
        model.resident_bytes.map_or_else(dash, text::bytes),
        notes.join("; ").replace('\n', " "),
    ]
}
