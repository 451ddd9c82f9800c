//! The table that is printed: medians, their spread, and herdsman beside its aims.

use crate::measure::median;
use crate::proxies::NAMES;
use crate::rows::{Aim, Figure, Row, Sample};

/// The samples of a row, by column.
pub type Samples = Vec<(&'static str, Vec<Sample>)>;

/// A cell: what was measured in each round that did not fail.
struct Cell {
    values: Vec<f64>,
    failures: usize,
    rounds: usize,
}

/// The head of the table.
pub fn head() -> String {
    format!("| work | {} | aim |\n|---|{}---|", NAMES.join(" | "), "---:|".repeat(NAMES.len()))
}

/// The lines of a row.
pub fn lines(row: &Row, samples: &Samples) -> Vec<String> {
    let figures = row.figures.iter().enumerate();
    figures.map(|(index, figure)| line(figure, &cells(samples, index))).collect()
}

/// Why samples failed: one line for each proxy and reason.
pub fn failures(row: &Row, samples: &Samples) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, samples) in samples {
        for reason in samples.iter().filter_map(|sample| sample.as_ref().err()) {
            let line = format!("{name}, {}: {reason}", row.name);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines
}

fn cells(samples: &Samples, figure: usize) -> Vec<(&'static str, Cell)> {
    let cell = |samples: &[Sample]| Cell {
        values: samples.iter().flatten().filter_map(|sample| sample[figure]).collect(),
        failures: samples.iter().filter(|sample| sample.is_err()).count(),
        rounds: samples.len(),
    };
    samples.iter().map(|(name, samples)| (*name, cell(samples))).collect()
}

fn line(figure: &Figure, cells: &[(&'static str, Cell)]) -> String {
    let cell = |name: &str| cells.iter().find_map(|(column, cell)| (*column == name).then_some(cell));
    let texts = NAMES.map(|name| cell(name).map_or_else(|| "–".to_owned(), Cell::text));
    let median = |name: &str| cell(name).filter(|cell| !cell.values.is_empty()).map(Cell::median);
    let failed = cell("herdsman").is_some_and(|cell| cell.failures > 0);
    format!("| {} | {} | {} |", figure.title, texts.join(" | "), aim(&figure.aim, failed, median))
}

/// The aim, and where herdsman was measured, how near it is.
fn aim(aim: &Aim, failed: bool, median: impl Fn(&str) -> Option<f64>) -> String {
    let ours = median("herdsman");
    let times = |name: &str| Some(ours? / median(name)?);
    let (text, reached) = match aim {
        Aim::AtMost(most, name) => (format!("≤ {most} × {name}"), times(name).map(|it| (it, it <= *most))),
        Aim::AtLeast(least, name) => (format!("≥ {least} × {name}"), times(name).map(|it| (it, it >= *least))),
        Aim::AtMostPlus(more, name) => {
            let difference = ours.zip(median(name)).map(|(ours, theirs)| ours - theirs);
            (format!("≤ {name} + {more}"), difference.map(|it| (it, it <= *more)))
        }
        Aim::Within(most) => (format!("≤ {most}"), ours.map(|it| (it, it <= *most))),
        Aim::Succeeds => ("succeeds".to_owned(), ours.map(|it| (it, true))),
        Aim::Open => ("–".to_owned(), None),
    };
    match reached {
        Some((it, reached)) => {
            let verdict = if reached && !failed { "reached" } else { "MISSED" };
            format!("{text}: {} {verdict}", number(it))
        }
        None if failed => format!("{text}: MISSED"),
        None => text,
    }
}

impl Cell {
    fn median(&self) -> f64 {
        median(self.values.clone())
    }

    fn text(&self) -> String {
        let failed = format!("fails {} of {}", self.failures, self.rounds);
        if self.values.is_empty() {
            return if self.failures == 0 { "–".to_owned() } else { failed };
        }
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let middle = number(self.median());
        let spread =
            if self.values.len() > 1 { format!(" ({}–{})", number(least), number(most)) } else { String::new() };
        let failed = if self.failures == 0 { String::new() } else { format!("; {failed}") };
        format!("{middle}{spread}{failed}")
    }
}

/// Three digits or more, thousands apart.
fn number(number: f64) -> String {
    if number.abs() < 99.95 {
        return if number.abs() < 9.995 { format!("{number:.2}") } else { format!("{number:.1}") };
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        if index > 0 && left.is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
