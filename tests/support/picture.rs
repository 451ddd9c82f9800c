//! A terminal's screen as an SVG: a picture that is text.

use std::fmt::Write as _;

use vt100::{Cell, Color, Screen};

/// The size of a character, and the room around them all, pixels.
const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 19.0;
const MARGIN: f32 = 16.0;

const BACKGROUND: &str = "#1b1f27";
const FOREGROUND: &str = "#d5d9e0";
/// The sixteen colours programs name by number.
const COLOURS: [&str; 16] = [
    "#3b4252", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d5d9e0", "#6b7384", "#f08790",
    "#b3dd94", "#f5d68f", "#85c5ff", "#da94ee", "#78d0db", "#ffffff",
];

/// The lines of `screen` down to the last that is not empty.
pub fn svg(screen: &Screen) -> String {
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let line = |row| screen.contents_between(row, 0, row, columns);
    let used = (0..rows).rev().find(|row| !line(*row).trim().is_empty()).map_or(0, |row| row + 1);
    let (width, height) = (f32::from(columns) * WIDTH + 2.0 * MARGIN, f32::from(used) * HEIGHT + 2.0 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"14\" fill=\"{FOREGROUND}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    for row in 0..used {
        let y = MARGIN + (f32::from(row) + 0.75) * HEIGHT;
        let _ = write!(svg, "<text y=\"{y:.1}\" xml:space=\"preserve\">");
        for run in runs(screen, row, columns) {
            let _ = write!(
                svg,
                "<tspan x=\"{:.1}\"{}>{}</tspan>",
                MARGIN + f32::from(run.column) * WIDTH,
                run.style,
                run.text
            );
        }
        svg.push_str("</text>\n");
    }
    svg + "</svg>\n"
}

/// What an SVG of [`svg`] shows.
pub fn lines(svg: &str) -> Vec<String> {
    svg.lines().filter(|line| line.starts_with("<text")).map(text_of).collect()
}

/// The characters of an element, its spaces between runs as one.
fn text_of(element: &str) -> String {
    let mut text = String::new();
    for part in element.split('<').skip(1) {
        let (tag, content) = part.split_once('>').unwrap_or_default();
        if tag.starts_with("tspan") {
            text += content;
            text.push(' ');
        }
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

/// Characters of one style, without spaces at their ends.
struct Run {
    column: u16,
    style: String,
    text: String,
}

fn runs(screen: &Screen, row: u16, columns: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut gap = String::new();
    for column in 0..columns {
        let Some(cell) = screen.cell(row, column).filter(|cell| !cell.contents().trim().is_empty()) else {
            gap.push(' ');
            continue;
        };
        let style = style(cell);
        let text = cell.contents().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        match runs.last_mut().filter(|run| run.style == style && gap.len() < 2) {
            Some(run) => run.text += &format!("{gap}{text}"),
            None => runs.push(Run { column, style, text }),
        }
        gap.clear();
    }
    runs
}

fn style(cell: &Cell) -> String {
    let mut style = match cell.fgcolor() {
        Color::Default => String::new(),
        Color::Idx(number) => COLOURS.get(usize::from(number)).map(|c| format!(" fill=\"{c}\"")).unwrap_or_default(),
        Color::Rgb(r, g, b) => format!(" fill=\"#{r:02x}{g:02x}{b:02x}\""),
    };
    if cell.bold() {
        style += " font-weight=\"bold\"";
    }
    if cell.dim() {
        style += " opacity=\"0.6\"";
    }
    style
}
