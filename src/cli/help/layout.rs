//! Text in lines and columns. Widths are those that a terminal shows: escape
//! codes take no room.

use console::measure_text_width as shown;

/// The widest that text gets: longer lines are hard to read.
const WIDEST: usize = 100;

/// The width without a terminal.
const USUAL: usize = 80;

/// Between two columns.
const GAP: usize = 2;

/// The width to lay text out for, in columns of the terminal.
pub(super) fn width() -> usize {
    match console::Term::stdout().size_checked() {
        Some((_, columns)) => usize::from(columns).clamp(40, WIDEST),
        None => USUAL,
    }
}

/// The words of `text` in lines of at most `width`. A word that is longer gets
/// a line of its own.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split([' ', '\n']).filter(|word| !word.is_empty()) {
        match lines.last_mut() {
            Some(line) if shown(line) + 1 + shown(word) <= width => *line += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Names with what each is, wrapped beside the names.
pub(super) fn list(entries: &[(String, String)], width: usize) -> String {
    let rows: Vec<_> = entries.iter().map(|(name, about)| vec![name.clone(), about.clone()]).collect();
    indented(&table(&rows, width.saturating_sub(2)), 2)
}

/// Rows in columns, together at most `width` wide. The widest columns give way
/// first, and their cells wrap; none gets narrower than its longest word.
pub(super) fn table(rows: &[Vec<String>], width: usize) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let word = |cell: &String| cell.split(' ').map(shown).max().unwrap_or_default();
    let least: Vec<_> = (0..columns).map(|column| cells(column).map(word).max().unwrap_or_default()).collect();
    let mut widths: Vec<_> = (0..columns).map(|column| cells(column).map(|c| shown(c)).max().unwrap_or(0)).collect();
    let room = width.saturating_sub(GAP * columns.saturating_sub(1));
    while widths.iter().sum::<usize>() > room {
        let wrappable = widths.iter_mut().zip(&least).filter(|(width, least)| **width > **least);
        let Some((widest, _)) = wrappable.max_by_key(|(width, _)| **width) else { break };
        *widest -= 1;
    }
    rows.iter().flat_map(|row| lines_of(row, &widths)).collect()
}

/// One row: as many lines as its longest cell needs.
fn lines_of(row: &[String], widths: &[usize]) -> Vec<String> {
    let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| wrap(cell, *width)).collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or_default();
    let line = |number: usize| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let part = cell.get(number).map_or("", String::as_str);
            line += &format!("{part}{}", " ".repeat((width + GAP).saturating_sub(shown(part))));
        }
        line.trim_end().to_owned()
    };
    (0..height).map(line).collect()
}

/// The lines, each after that many spaces.
pub(super) fn indented(lines: &[String], by: usize) -> String {
    lines.iter().map(|line| format!("{}\n", format!("{}{line}", " ".repeat(by)).trim_end())).collect()
}
