//! A plan as text: everything a scenario is about, and neither ids nor prose.

use std::fmt::Write as _;

use herdsman::model::{Change, Death, GenerationOutcome, InstanceId, InstanceState, Timestamp};
use herdsman::plan::{Found, Plan, Step};

use super::variant::variant;

/// Findings, bookkeeping, actions with steps, waits, refusal.
pub fn show(plan: &Plan) -> String {
    let mut out = String::new();
    for finding in &plan.findings {
        let (what, facts) = (finding.what.as_str(), found(&finding.what));
        let _ = writeln!(out, "found   {} {what}({facts})", finding.model);
    }
    for note in plan.bookkeeping.iter().map(change) {
        let _ = writeln!(out, "note    {note}");
    }
    for action in &plan.actions {
        let reasons: Vec<String> = action.reasons.iter().map(|reason| variant(reason, "reason")).collect();
        let _ = writeln!(out, "{:<7} {}: {}", action.kind.as_str(), action.model, reasons.join("; "));
        for step in action.steps.iter().map(|of| step(of, plan)) {
            let _ = writeln!(out, "        - {step}");
        }
    }
    for waiting in &plan.waiting {
        let _ = writeln!(out, "wait    {}: {}", waiting.model, variant(&waiting.on, "waiting_for"));
    }
    if let Some(refusal) = &plan.guard {
        let names: Vec<_> = refusal.deletions.iter().map(|n| n.as_str()).collect();
        let _ = writeln!(out, "refused: delete {} of {}: {}", names.len(), refusal.managed, names.join(", "));
        for (old, new) in &refusal.renames {
            let _ = writeln!(out, "        rename {old} to {new}?");
        }
    }
    if out.is_empty() {
        let _ = writeln!(out, "nothing, {} matching", plan.matching);
    }
    out
}

/// The facts of a finding.
fn found(what: &Found) -> String {
    match what {
        Found::Ready { pid, .. } => format!("pid {pid}"),
        Found::StartFailed(death) | Found::Crashed(death) => cause(death),
    }
}

/// Whose fault a death is: what a plan turns on. What was said of it is prose.
fn cause(death: &Death) -> String {
    serde_json::to_value(death.cause).ok().and_then(|cause| Some(cause.as_str()?.to_owned())).unwrap_or_default()
}

/// Whether one of `after` stops in this plan, and not to leave this port.
fn leaves_room(plan: &Plan, after: &[InstanceId], port: Option<u16>) -> bool {
    plan.actions.iter().flat_map(|action| &action.steps).any(|step| match step {
        Step::Stop { target, record: Some(record), .. } => after.contains(&target.id) && record.port != port,
        _ => false,
    })
}

fn step(step: &Step, plan: &Plan) -> String {
    match step {
        Step::Record(changes) => {
            format!("record {}", changes.iter().map(change).collect::<Vec<_>>().join(", "))
        }
        Step::Withdraw(_) => "withdraw".to_owned(),
        Step::Stop { target, keeps_status, .. } => {
            let how = if target.force { " by force" } else { "" };
            let which = if *keeps_status { " (status stays)" } else { "" };
            format!("stop {}{how}{which}", target.handle)
        }
        Step::Start { launch, record, after, .. } => {
            let place = record.port.map_or_else(|| record.host.clone(), |port| format!("port {port}"));
            let when = match after.is_empty() {
                true => "",
                false if leaves_room(plan, after, record.port) => ", once there is room",
                false => ", once its port is left",
            };
            format!("start generation {} of {} on {place}{when}", record.generation, launch.model)
        }
    }
}

fn change(change: &Change) -> String {
    match change {
        Change::CreateModel { adopt_row: None, .. } => "row".to_owned(),
        Change::CreateModel { adopt_row: Some(id), .. } => format!("row {id} taken over"),
        Change::UpdateModel { .. } => "row again".to_owned(),
        Change::AddGeneration(new) => format!("generation {}", new.number),
        Change::SetGenerationOutcome { model, number, outcome } => {
            let outcome = match outcome {
                GenerationOutcome::Pending => "pending".to_owned(),
                GenerationOutcome::Ready => "ready".to_owned(),
                GenerationOutcome::Failed(death) => format!("failed({})", cause(death)),
            };
            format!("{model} generation {number} {outcome}")
        }
        Change::SetAccepted { number, binary, .. } => format!("generation {number} accepted by {}", binary.0),
        Change::SetPort { model, port: None } => format!("{model} no port"),
        Change::SetPort { model, port: Some(port) } => {
            format!("{model} port {}{}", port.port, if port.proven { " proven" } else { "" })
        }
        Change::PutInstance(instance) => {
            let state = match instance.state {
                InstanceState::Draining { deadline } => format!("draining until {}", clock(deadline)),
                state => format!("{state:?}").to_lowercase(),
            };
            let silent = if instance.unanswered_since.is_some() { ", no answer" } else { "" };
            format!("{} instance {state}{silent}", instance.model)
        }
        Change::RemoveInstance(_) => "instance gone".to_owned(),
        Change::SetStatus { model, status, message } => {
            // What it says is prose.
            let why = if message.is_some() { " and why" } else { "" };
            format!("{model} status {}{why}", status.as_str())
        }
        Change::SetCrashes { model, crashes } => format!("{model} crashes {}", crashes.count),
        Change::DeleteModel { model } => format!("{model} deleted"),
        Change::PutOverride { model, what } => format!("{model} {} by hand", what.kind().as_str()),
        Change::EndOverride { model, kind } => format!("{model} {} by hand is over", kind.as_str()),
        Change::Event(_) => "event".to_owned(),
        Change::Tell(_) => "told".to_owned(),
    }
}

/// Seconds since the simulated world began.
pub fn clock(time: Timestamp) -> String {
    let since = time.0 - 1_000_000_000;
    format!("{}.{:03} s", since / 1000, since % 1000)
}
