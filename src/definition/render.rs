//! Renders diagnostics for people: path, line, column, the source line with a
//! caret, and the fix.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};

use crate::model::{Diagnostic, Severity};

/// Renders every diagnostic, separated by blank lines; ends with a newline unless
/// there is none. `color`: with terminal escapes.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut rendered = String::new();
    for diagnostic in diagnostics {
        if !rendered.is_empty() {
            rendered.push('\n');
        }
        rendered.push_str(renderer.render(&[group(diagnostic)]).trim_end());
        rendered.push('\n');
    }
    rendered
}

fn group(diagnostic: &Diagnostic) -> Group<'_> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let group = level.primary_title(diagnostic.message.as_str());
    let group = match &diagnostic.snippet {
        Some((text, span)) => group.element(snippet(diagnostic, text, span)),
        None => group.element(Origin::path(&*diagnostic.file)),
    };
    match &diagnostic.help {
        Some(help) => group.element(Level::HELP.message(normalize_untrusted_str(help))),
        None => group,
    }
}

/// Returns the lines from one place to the other, or the only line.
fn snippet<'a>(
    diagnostic: &'a Diagnostic,
    text: &'a str,
    span: &Range<usize>,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let span = on_one_line(text, span);
    let also = diagnostic.also.as_ref().map(|(span, label)| (on_one_line(text, span), label.as_str()));
    let places = || std::iter::once(&span).chain(also.iter().map(|(span, _)| span));
    // Only these lines: rendering a problem must not scan a megabyte.
    let (start, end) =
        places().fold((span.start, span.end), |(start, end), place| (start.min(place.start), end.max(place.end)));
    let start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[end..].find('\n').map_or(text.len(), |at| end + at);
    let within = |span: &Range<usize>| span.start - start..span.end - start;

    let line = text[..start].matches('\n').count() + 1;
    // The crate makes titles safe for a terminal, but not labels.
    let label = diagnostic.label.as_deref().map(normalize_untrusted_str);
    let primary = AnnotationKind::Primary.span(within(&span)).label(label);
    let context = also.map(|(span, label)| AnnotationKind::Context.span(within(&span)).label(label));
    Snippet::source(&text[start..end]).line_start(line).path(&*diagnostic.file).annotation(primary).annotations(context)
}

/// Cuts `span` to its first line and to whole characters of `text`.
fn on_one_line(text: &str, span: &Range<usize>) -> Range<usize> {
    let boundary_from = |at: usize| (at..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let start = boundary_from(span.start);
    let end = boundary_from(span.end.max(start));
    let line = text[start..end].find(['\n', '\r']).map_or(end, |at| start + at);
    start..line
}
