//! The plan as a comment on a pull request: GitHub's Markdown.
//!
//! The author of a pull request controls what this shows, so:
//! - Text that comes from a definition, another program or a log stands only
//!   inside code spans, where nothing is markup, a link or a mention; their
//!   fences are longer than any run of backticks in them ([`code`]). There is
//!   no table: in its cells a pipe would still count.
//! - It stands on one line, and characters that reverse text are spelled out.
//! - It is short: a value keeps both of its ends.
//! - The whole fits into one comment. Actions that end a server come first, and
//!   the last line says how much was left out.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::render::{self, match_summary};
use crate::model::text::count;
use crate::model::{Diagnostic, Severity, Timestamp};
use crate::plan::{Action, ActionKind, GuardRefusal, Plan, Reason, WaitKind, Waiting};
use crate::view::words;

/// The first line, by which CI finds the comment to update. It must never change:
/// existing comments carry it.
pub(super) const MARKER: &str = "<!-- herdsman plan -->";

/// The longest comment GitHub takes, in characters; counted here in bytes,
/// which are never fewer.
const LONGEST_COMMENT: usize = 65_536;
/// Bytes kept free for the end, which closes sections and counts what was left out.
const RESERVED: usize = 512;
/// A longer list is folded.
const LONGEST_LIST: usize = 10;
/// The most reasons to list per model; of more, only the number.
const MOST_REASONS: usize = 10;
/// The longest value, in characters: paths are seldom longer.
const LONGEST_VALUE: usize = 120;
/// The longest line of anything else, in characters.
const LONGEST_LINE: usize = 300;

/// Kinds of actions, those that end a server first, so that others are cut off
/// before them.
const ORDER: [ActionKind; 7] = [
    ActionKind::Delete,
    ActionKind::Stop,
    ActionKind::Restart,
    ActionKind::Start,
    ActionKind::Create,
    ActionKind::Update,
    ActionKind::Adopt,
];

/// Renders the plan and the problems of definition files.
pub(super) fn plan(plan: &Plan, now: Timestamp, diagnostics: &[Diagnostic]) -> String {
    let mut comment =
        Comment::new(&format!("{MARKER}\n### {}\n", render::summary(plan).trim_end().trim_end_matches('.')));
    if let Some(refusal) = &plan.guard {
        comment.section("Refused", vec![refused(refusal)]);
    }
    for (severity, title) in [(Severity::Error, "problem"), (Severity::Warning, "warning")] {
        let problems = diagnostics.iter().filter(|d| d.severity == severity).map(problem).collect::<Vec<_>>();
        comment.section(&format!("{} in definitions", count(problems.len(), title)), problems);
    }
    for kind in ORDER {
        let actions = plan.actions.iter().filter(|action| action.kind == kind).map(action).collect::<Vec<_>>();
        comment.section(&format!("{} to {}", actions.len(), kind.as_str()), actions);
    }
    let of = |is: fn(WaitKind) -> bool| {
        let of = plan.waiting.iter().filter(|w| is(w.on.kind()));
        of.map(|waits| waiting(waits, now)).collect::<Vec<_>>()
    };
    let by_hand = of(|kind| kind == WaitKind::ByHand);
    comment.section(&format!("{} by hand", by_hand.len()), by_hand);
    let waits = of(|kind| !matches!(kind, WaitKind::Note | WaitKind::ByHand));
    comment.section(&format!("{} waiting", waits.len()), waits);
    let notes = of(|kind| kind == WaitKind::Note);
    comment.section(&count(notes.len(), "note"), notes);
    let rows = plan.unmanaged.iter().map(|row| format!("- {}", code(&shortened(&row.name, LONGEST_VALUE))));
    let rows = rows.collect::<Vec<_>>();
    comment.section(&count(rows.len(), "unmanaged row"), rows);
    let changes = if plan.actions.is_empty() { String::new() } else { format!("\n{}\n", match_summary(plan)) };
    comment.end(&changes)
}

fn action(action: &Action) -> String {
    entry(action.model.as_str(), action.reasons.iter().map(reason).collect())
}

fn waiting(waiting: &Waiting, now: Timestamp) -> String {
    let on = code(&shortened(&words::wait_at(&waiting.on, now), LONGEST_LINE));
    entry(waiting.model.as_str(), std::iter::once(on).chain(waiting.reasons.iter().map(reason)).collect())
}

/// Renders one reason beside the model, several below it.
fn entry(model: &str, mut reasons: Vec<String>) -> String {
    let more = reasons.len().saturating_sub(MOST_REASONS);
    reasons.truncate(MOST_REASONS);
    let mut entry = format!("- **{}**", code(model));
    if let [reason] = &reasons[..] {
        let _ = write!(entry, " {reason}");
        return entry;
    }
    for reason in &reasons {
        let _ = write!(entry, "\n  - {reason}");
    }
    if more > 0 {
        let _ = write!(entry, "\n  - … and {more} more");
    }
    entry
}

/// Renders a reason with shortened values, and its place.
fn reason(reason: &Reason) -> String {
    let mut brief = reason.clone();
    let shorten = |value: &mut String| *value = shortened(value, LONGEST_VALUE).into_owned();
    match &mut brief {
        Reason::FieldChanged { change, .. } => {
            change.old.iter_mut().chain(&mut change.new).for_each(shorten);
        }
        Reason::RowDrift { drift } => [&mut drift.recorded, &mut drift.found].into_iter().for_each(shorten),
        _ => {}
    }
    let text = brief.to_string();
    let place = brief.origin().map(ToString::to_string).unwrap_or_default();
    match text.strip_suffix(&place).map(str::trim_end) {
        Some(text) if !place.is_empty() && !text.is_empty() => {
            format!("{} in {}", code(&shortened(text, LONGEST_LINE)), code(&shortened(&place, LONGEST_VALUE)))
        }
        _ => code(&shortened(&text, LONGEST_LINE)),
    }
}

fn problem(diagnostic: &Diagnostic) -> String {
    let place = match diagnostic.position() {
        Some((line, _)) => format!("{}:{line}", shortened(&diagnostic.file, LONGEST_VALUE)),
        None => shortened(&diagnostic.file, LONGEST_VALUE).into_owned(),
    };
    let mut entry = format!("- **{}** {}", code(&place), code(&shortened(&diagnostic.message, LONGEST_LINE)));
    if let Some(help) = &diagnostic.help {
        let _ = write!(entry, "\n  - help: {}", code(&shortened(help, LONGEST_LINE)));
    }
    entry
}

fn refused(refusal: &GuardRefusal) -> String {
    let help = refusal.help();
    let mut entry = format!("- {}", refusal.headline());
    // The last one says how to insist, and stays.
    for help in &help[help.len().saturating_sub(MOST_REASONS)..] {
        let _ = write!(entry, "\n  - help: {}", code(&shortened(help, LONGEST_LINE)));
    }
    entry
}

/// Renders text as a code span on one line.
fn code(text: &str) -> String {
    let text: String = text.chars().map(shown).collect();
    let longest_run = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest_run + 1);
    // A span loses one space at each end if it has both; a backtick at an end
    // would be part of the fence.
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) || text.is_empty() { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Spells out characters that end a line, hide text or reverse it.
fn shown(c: char) -> Cow<'static, str> {
    let hides = matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    match c {
        '\n' | '\r' | '\t' => " ".into(),
        c if c.is_control() || hides => c.escape_unicode().to_string().into(),
        c => c.to_string().into(),
    }
}

/// Shortens text to at most `longest` characters: leaves out the middle.
fn shortened(text: &str, longest: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= longest {
        return text.into();
    }
    let (first, last) = (longest * 3 / 5, longest * 2 / 5 - 1);
    let head = text.chars().take(first);
    head.chain(['…']).chain(text.chars().skip(length - last)).collect::<String>().into()
}

/// A comment under construction, which takes entries until it is full.
struct Comment {
    text: String,
    left_out: usize,
}

impl Comment {
    fn new(head: &str) -> Self {
        Self { text: head.to_owned(), left_out: 0 }
    }

    /// Adds a list under a title, folded if it is long.
    fn section(&mut self, title: &str, entries: Vec<String>) {
        if entries.is_empty() {
            return;
        }
        let folded = entries.len() > LONGEST_LIST;
        // Markdown inside the fold needs blank lines around it.
        let (open, close) = if folded {
            (format!("\n<details><summary><b>{title}</b></summary>\n\n"), "\n</details>\n")
        } else {
            (format!("\n**{title}**\n\n"), "")
        };
        let Some(first) = entries.first().filter(|first| self.takes(open.len() + first.len() + close.len())) else {
            self.left_out += entries.len();
            return;
        };
        self.text.push_str(&open);
        let _ = writeln!(self.text, "{first}");
        for entry in &entries[1..] {
            // Later, shorter entries stay out as well, so that the order remains true.
            if self.left_out == 0 && self.takes(entry.len() + close.len()) {
                let _ = writeln!(self.text, "{entry}");
            } else {
                self.left_out += 1;
            }
        }
        self.text.push_str(close);
    }

    fn takes(&self, more: usize) -> bool {
        self.text.len() + more + RESERVED <= LONGEST_COMMENT
    }

    fn end(mut self, last: &str) -> String {
        self.text.push_str(last);
        if self.left_out > 0 {
            let _ = writeln!(
                self.text,
                "\n**{} left out: the comment is full. `herdsman reconcile --dry-run` shows everything.**",
                if self.left_out == 1 { "1 entry".to_owned() } else { format!("{} entries", self.left_out) }
            );
        }
        self.text
    }
}

#[cfg(test)]
#[path = "markdown/tests.rs"]
mod tests;
