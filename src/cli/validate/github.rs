//! Annotations for GitHub Actions: a line of output that begins with `::error`
//! is shown at a line of the pull request.
//!
//! The format is GitHub's "workflow commands": properties and message have their
//! own escapes, so that what a definition says cannot end one and begin another.

use std::fmt::Write as _;
use std::path::Path;

use crate::model::text::count;
use crate::model::{Diagnostic, Origin, Severity};
use crate::plan::{Plan, Reason};

/// Returns a line for each problem, and a notice for each change at the line that causes it.
pub(super) fn annotations(problems: &[Diagnostic], changes: Option<&Plan>) -> String {
    let mut lines = String::new();
    for problem in problems {
        let kind = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let message = match &problem.help {
            Some(help) => format!("{}\nhelp: {help}", problem.message),
            None => problem.message.clone(),
        };
        let (line, column) = problem.position().unzip();
        let end = problem
            .snippet
            .as_ref()
            .and_then(|(text, span)| Some(text.get(span.clone())?.lines().next()?.chars().count()));
        let end_column =
            column.zip(end).map(|(column, length)| column.saturating_add(u32::try_from(length).unwrap_or(0)));
        let place = [("line", line), ("col", column), ("endColumn", end_column)];
        annotation(&mut lines, kind, &problem.file, &place, "herdsman", &message);
    }
    for action in changes.iter().flat_map(|plan| &plan.actions) {
        for reason in &action.reasons {
            let Some(Origin { file, line }) = origin(reason) else { continue };
            let title = format!("{} {}", action.kind.as_str(), action.model);
            let place = [("line", Some(line.max(1)))];
            annotation(&mut lines, "notice", &file, &place, &title, &reason.to_string());
        }
    }
    for refusal in changes.iter().filter_map(|plan| plan.guard.as_ref()) {
        let help = refusal.help().into_iter().map(|help| format!("\nhelp: {help}"));
        let (deletions, managed) = (refusal.deletions.len(), count(refusal.managed, "managed model"));
        let help: String = help.collect();
        let message = format!("the mass-delete guard would refuse to delete {deletions} of {managed}{help}");
        annotation(&mut lines, "warning", "", &[], "herdsman", &message);
    }
    lines
}

/// Returns where to show a change: a file that is gone has no line.
fn origin(reason: &Reason) -> Option<Origin> {
    match reason {
        Reason::DefinitionAdded { origin, .. }
        | Reason::FieldChanged { origin, .. }
        | Reason::StateWanted { origin, .. } => Some(origin.clone()),
        Reason::DefinitionRemoved { file } => Some(Origin::new(file.as_str(), 0)),
        _ => None,
    }
}

fn annotation(lines: &mut String, kind: &str, file: &str, place: &[(&str, Option<u32>)], title: &str, message: &str) {
    let _ = write!(lines, "::{kind} title={}", property(title));
    if !file.is_empty() {
        let _ = write!(lines, ",file={}", property(&in_workspace(file)));
    }
    for (name, value) in place {
        if let Some(value) = value {
            let _ = write!(lines, ",{name}={value}");
        }
    }
    let _ = writeln!(lines, "::{}", escaped(message));
}

/// GitHub knows files from the top of the work tree.
fn in_workspace(file: &str) -> String {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.into());
    let top = std::env::var_os("GITHUB_WORKSPACE");
    let below = top.as_ref().and_then(|top| absolute.strip_prefix(Path::new(top)).ok());
    below.map_or_else(|| file.to_owned(), |below| below.display().to_string())
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    escaped(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelName;
    use crate::plan::GuardRefusal;

    #[test]
    fn a_refusal_of_the_guard_is_a_warning_that_says_how_to_insist() {
        let deletions = ["a", "b"].iter().filter_map(|name| ModelName::parse(name).ok()).collect();
        let guard = Some(GuardRefusal { deletions, managed: 2, renames: Vec::new() });
        insta::assert_snapshot!(annotations(&[], Some(&Plan { guard, ..Plan::default() })), @"::warning title=herdsman::the mass-delete guard would refuse to delete 2 of 2 managed models%0Ahelp: to delete them anyway: herdsman reconcile --max-deletes 2");
    }
}
