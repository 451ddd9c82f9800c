//! Plans and results as people read them.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::json::Document;
use crate::model::text::count;
use crate::model::{ModelName, Timestamp};
use crate::plan::{Action, ActionKind, GuardRefusal, Plan, WaitFor, WaitKind, Waiting};
use crate::view::{Totals, words};

/// How many unmanaged rows to show by name; the rest is only counted.
const UNMANAGED_SHOWN: usize = 10;

/// Renders a plan: a line per model, every reason, and a summary.
pub(super) fn plan(plan: &Plan, now: Timestamp) -> String {
    let mut out = String::new();
    let width = name_width(plan);
    for action in &plan.actions {
        action_lines(&mut out, action, width);
    }
    for waiting in &plan.waiting {
        waiting_line(&mut out, waiting, width, now);
    }
    for row in plan.unmanaged.iter().take(UNMANAGED_SHOWN) {
        line(&mut out, Style::new().dimmed(), "  .", &shown_name(&row.name), width, "ignore", "unmanaged row");
    }
    if plan.unmanaged.len() > UNMANAGED_SHOWN {
        let more = plan.unmanaged.len() - UNMANAGED_SHOWN;
        line(&mut out, Style::new().dimmed(), "  .", "…", width, "ignore", &format!("{more} more unmanaged rows"));
    }
    if let Some(refusal) = &plan.guard {
        guard(&mut out, refusal);
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(&summary(plan));
    out
}

/// What the last plan of a run covers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    /// Every model.
    All,
    /// The models of `--target`, or of a command by hand.
    Targets(&'a [ModelName]),
    /// The rest of a saved plan, which says nothing of the other models.
    SavedPlan,
}

impl Scope<'_> {
    /// Returns the sentence about the final state of its models, after a space.
    fn summary(self, last: &Plan) -> String {
        match self {
            Self::All => format!(" {}", match_summary(last)),
            Self::Targets([only]) => format!(" {only} {}.", Totals::of(last).of_one()),
            Self::Targets(_) => format!(" {}", match_summary(last)),
            Self::SavedPlan => String::new(),
        }
    }
}

/// Renders what a whole `reconcile` did, and how it ended. `waited`: the first
/// plan had nothing to do, but models were still loading or draining.
pub(super) fn result(document: &Document, last: &Plan, waited: bool, scope: Scope<'_>, now: Timestamp) -> String {
    let matching = scope.summary(last);
    let mut out = String::new();
    let done = document.done();
    if done.is_empty() && !document.has_failures() {
        return if waited { format!("Done: nothing to change.{matching}\n{}", unfinished(last, now)) } else { out };
    }
    for failure in document.failures() {
        let _ = writeln!(out, "{} {failure}", styled(AnsiColor::Red.on_default(), "failed:"));
    }
    let mut line = String::from(if done.is_empty() { "Done: nothing changed" } else { "Done: " });
    let parts: Vec<String> = done.iter().map(|(kind, number)| format!("{number} {}", past(*kind))).collect();
    line.push_str(&parts.join(", "));
    if document.failed_starts() > 0 {
        let _ = write!(line, "; {} failed to start", count(document.failed_starts(), "model"));
    }
    let _ = writeln!(out, "{line}.{matching}");
    out.push_str(&unfinished(last, now));
    out
}

/// Renders a line for each model that is out of sync in the end. The first plan has
/// already shown the overrides.
fn unfinished(last: &Plan, now: Timestamp) -> String {
    waiting_lines(last, now, |kind| !matches!(kind, WaitKind::Note | WaitKind::ByHand))
}

/// Renders a line for each model that does not match its definition in the end.
pub(super) fn stuck(last: &Plan, now: Timestamp) -> String {
    waiting_lines(last, now, |kind| kind != WaitKind::Note)
}

fn waiting_lines(last: &Plan, now: Timestamp, shown: impl Fn(WaitKind) -> bool) -> String {
    let mut out = String::new();
    let width = name_width(last);
    for waiting in last.waiting.iter().filter(|w| shown(w.on.kind())) {
        waiting_line(&mut out, waiting, width, now);
    }
    out
}

/// Renders `Plan: 1 to create.`, or `No changes.`
pub(super) fn summary(plan: &Plan) -> String {
    let mut parts = Vec::new();
    for kind in ActionKind::ALL {
        let number = plan.actions.iter().filter(|a| a.kind == kind).count();
        let held_back = plan.waiting.iter().filter(|w| kind == ActionKind::Restart && waits_its_turn(w)).count();
        match (number, held_back) {
            (0, 0) => {}
            (_, 0) => parts.push(format!("{number} to {}", kind.as_str())),
            (_, _) => parts.push(format!("{} to {} ({number} now)", number + held_back, kind.as_str())),
        }
    }
    if !parts.is_empty() {
        format!("Plan: {}.\n", parts.join(", "))
    } else {
        format!("No changes. {}\n", match_summary(plan))
    }
}

fn waits_its_turn(waiting: &Waiting) -> bool {
    matches!(waiting.on, WaitFor::RestartSlot { .. })
}

/// Renders `12 models match their definitions.`, and how many do not.
pub(super) fn match_summary(plan: &Plan) -> String {
    format!("{}.", Totals::of(plan))
}

fn action_lines(out: &mut String, action: &Action, width: usize) {
    let (symbol, color) = match action.kind {
        ActionKind::Create => ("  +", AnsiColor::Green),
        ActionKind::Update => ("  ~", AnsiColor::Yellow),
        ActionKind::Restart => ("-/+", AnsiColor::Yellow),
        ActionKind::Start => ("  >", AnsiColor::Green),
        ActionKind::Stop => ("  x", AnsiColor::Red),
        ActionKind::Delete => ("  -", AnsiColor::Red),
        ActionKind::Adopt => ("  <", AnsiColor::Cyan),
    };
    let mut reasons = action.reasons.iter().map(ToString::to_string);
    let first = reasons.next().unwrap_or_default();
    line(out, color.on_default(), symbol, action.model.as_str(), width, action.kind.as_str(), &first);
    for reason in reasons {
        line(out, Style::new(), "   ", "", width, "", &reason);
    }
}

fn waiting_line(out: &mut String, waiting: &Waiting, width: usize, now: Timestamp) {
    let (symbol, style) = match waiting.on.kind() {
        WaitKind::Progressing => ("  :", AnsiColor::Cyan.on_default()),
        WaitKind::Note | WaitKind::ByHand => ("  .", Style::new().dimmed()),
        _ => ("  !", AnsiColor::Red.on_default()),
    };
    let word = if waiting.on.kind() == WaitKind::ByHand { "by hand" } else { "wait" };
    line(out, style, symbol, waiting.model.as_str(), width, word, &words::wait_at(&waiting.on, now));
    for reason in &waiting.reasons {
        line(out, Style::new(), "   ", "", width, "", &reason.to_string());
    }
}

fn line(out: &mut String, style: Style, symbol: &str, name: &str, width: usize, word: &str, rest: &str) {
    let head = format!("{symbol} {name:width$}  {word:<8}");
    let rest: String = rest.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let _ = writeln!(out, "{}", format!("{} {rest}", styled(style, &head)).trim_end());
}

fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

fn guard(out: &mut String, refusal: &GuardRefusal) {
    let _ = writeln!(out, "\n{}", refusal.headline());
    for help in refusal.help() {
        let _ = writeln!(out, "  help: {help}");
    }
}

fn name_width(plan: &Plan) -> usize {
    let names = plan.actions.iter().map(|a| a.model.as_str()).chain(plan.waiting.iter().map(|w| w.model.as_str()));
    let rows: Vec<String> = plan.unmanaged.iter().take(UNMANAGED_SHOWN).map(|row| shown_name(&row.name)).collect();
    names
        .chain(rows.iter().map(String::as_str))
        .map(|name| name.chars().count())
        .max()
        .unwrap_or(0)
        .min(ModelName::MAX_LENGTH)
}

/// Escapes the name of a row, which may be any text, for a terminal.
fn shown_name(name: &str) -> String {
    if name.chars().any(char::is_control) { format!("{name:?}") } else { name.to_owned() }
}

fn past(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Create => "created",
        ActionKind::Update => "updated",
        ActionKind::Restart => "restarted",
        ActionKind::Start => "started",
        ActionKind::Stop => "stopped",
        ActionKind::Delete => "deleted",
        ActionKind::Adopt => "adopted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ColumnDrift, DesiredState, FieldChange, Origin, UnmanagedRow};
    use crate::plan::{Impact, Reason};

    fn name(text: &str) -> ModelName {
        ModelName::parse(text).unwrap_or_else(|error| panic!("{error}"))
    }

    fn action(model: &str, kind: ActionKind, reasons: Vec<Reason>) -> Action {
        Action { model: name(model), kind, reasons, steps: Vec::new(), provenance: None }
    }

    fn changed(field: &str, old: &str, new: &str, impact: Impact, line: u32) -> Reason {
        let change = FieldChange { field: field.into(), old: Some(old.into()), new: Some(new.into()) };
        Reason::FieldChanged { change, impact, origin: Origin::new("models.d/_defaults.toml", line) }
    }

    fn waiting(model: &str, on: WaitFor, reasons: Vec<Reason>) -> Waiting {
        Waiting { model: name(model), on, reasons }
    }

    fn shown(plan: &Plan) -> String {
        anstream::adapter::strip_str(&super::plan(plan, Timestamp(0))).to_string()
    }

    #[test]
    fn renders_every_kind_of_action_and_wait() {
        let added = |file: &str, state| Reason::DefinitionAdded { origin: Origin::new(file, 0), state };
        let drift = ColumnDrift { column: "ctx_size".into(), recorded: "8192".into(), found: "1".into() };
        let restart = || changed("ctx_size", "8192", "16384", Impact::Restart, 7);
        let plan = Plan {
            actions: vec![
                action(
                    "coder-14b",
                    ActionKind::Restart,
                    vec![restart(), changed("threads", "4", "8", Impact::Restart, 8)],
                ),
                action(
                    "gemma-12b",
                    ActionKind::Delete,
                    vec![Reason::DefinitionRemoved { file: "models.d/gemma-12b.toml".into() }],
                ),
                action("lost", ActionKind::Adopt, vec![Reason::Unrecorded { pid: 4711 }]),
                action(
                    "old",
                    ActionKind::Stop,
                    vec![Reason::StateWanted {
                        state: DesiredState::Stopped,
                        origin: Origin::new("models.d/old.toml", 1),
                    }],
                ),
                action("phi-4", ActionKind::Start, vec![Reason::ProcessGone { death: None, crashes: 1 }]),
                action(
                    "qwen3-8b",
                    ActionKind::Update,
                    vec![changed("description", "a", "b", Impact::Record, 2), Reason::RowDrift { drift }],
                ),
                action("spare", ActionKind::Create, vec![added("models.d/spare.toml", DesiredState::Stopped)]),
                action("tiny-chat", ActionKind::Create, vec![added("models.d/tiny-chat.toml", DesiredState::Running)]),
            ],
            waiting: vec![
                waiting("later", WaitFor::RestartSlot { model: name("coder-14b") }, vec![restart()]),
                waiting(
                    "flaky",
                    WaitFor::Backoff {
                        until: Timestamp(1),
                        crashes: 3,
                        was_ready: true,
                        message: "ended by SIGSEGV".into(),
                    },
                    Vec::new(),
                ),
                waiting("mistral", WaitFor::BinaryUpgrade, Vec::new()),
            ],
            unmanaged: vec![UnmanagedRow { id: 9, name: "hand\nmade".into() }],
            ..Plan::default()
        };
        insta::assert_snapshot!(shown(&plan), @r#"
        -/+ coder-14b     restart  ctx_size 8192 -> 16384   models.d/_defaults.toml:7
                                   threads 4 -> 8   models.d/_defaults.toml:8
          - gemma-12b     delete   models.d/gemma-12b.toml removed
          < lost          adopt    pid 4711 belongs to herdsman but is missing from the database
          x old           stop     state = "stopped"   models.d/old.toml:1
          > phi-4         start    process gone
          ~ qwen3-8b      update   description (no restart)   models.d/_defaults.toml:2
                                   database drift: ctx_size changed from 8192 to 1
          + spare         create   models.d/spare.toml (declared stopped)
          + tiny-chat     create   models.d/tiny-chat.toml
          : later         wait     waiting for coder-14b to restart (--max-restarting)
                                   ctx_size 8192 -> 16384   models.d/_defaults.toml:7
          ! flaky         wait     crashed 3 times in a row, waiting to retry: ended by SIGSEGV
          . mistral       wait     the llama-server binary changed on disk; restart with --upgrade-binary
          . "hand\nmade"  ignore   unmanaged row

        Plan: 2 to create, 1 to update, 2 to restart (1 now), 1 to start, 1 to stop, 1 to delete, 1 to adopt.
        "#);
    }

    #[test]
    fn a_refusal_lists_deletions_hints_at_renames_and_names_the_option() {
        let refusal =
            GuardRefusal { deletions: vec![name("a"), name("b")], managed: 2, renames: vec![(name("a"), name("c"))] };
        let plan = Plan {
            waiting: ["a", "b", "c"].map(|model| waiting(model, WaitFor::Guard, Vec::new())).into(),
            guard: Some(refusal),
            ..Plan::default()
        };
        insta::assert_snapshot!(shown(&plan), @r#"
          ! a  wait     refused by the mass-delete guard (--max-deletes)
          ! b  wait     refused by the mass-delete guard (--max-deletes)
          ! c  wait     refused by the mass-delete guard (--max-deletes)

        refused to delete 2 of 2 managed models; nothing is deleted or created
          help: c uses the weights of a: if you renamed it, set name = "a" in its file
          help: to delete them anyway: herdsman reconcile --max-deletes 2

        No changes. 0 models match their definitions, 3 do not (yet).
        "#);
    }
}
