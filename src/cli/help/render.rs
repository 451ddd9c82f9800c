//! Markdown as text for a terminal: headings at the margin, everything else
//! indented, code and headings in bold. Escape codes surround single words, so
//! that a word may be moved to another line or column.

use anstyle::Style;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::{layout, topics};

/// How far paragraphs stand from the margin.
const INDENT: usize = 2;

/// Stands for a space that no line breaks at.
const KEPT: char = '\u{a0}';

/// Code that is longer than this may be broken at its spaces.
const LONGEST_KEPT: usize = 32;

const BOLD: Style = Style::new().bold();

/// `markdown`, in lines of at most `width` but for code, which is left as it is.
pub(super) fn render(markdown: &str, width: usize) -> String {
    let mut page = Page { width, ..Page::default() };
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        page.take(event);
    }
    page.out.replace(KEPT, " ")
}

#[derive(Default)]
struct Page {
    width: usize,
    out: String,
    /// Of the paragraph, heading, item or cell that has begun.
    inline: String,
    /// How many bold or emphasised spans are open.
    strong: usize,
    /// Where the open link leads, and where its text begins.
    link: Option<(String, usize)>,
    /// For each open list, the number of its next item if it has numbers.
    lists: Vec<Option<u64>>,
    /// Before the first line of the open item.
    bullet: Option<String>,
    /// The code block that is open.
    code: Option<String>,
    rows: Vec<Vec<String>>,
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match &mut self.code {
                Some(code) => code.push_str(&text),
                None => self.words(&text, self.strong > 0),
            },
            Event::Code(code) => {
                let keep = code.len() <= LONGEST_KEPT;
                let code = if keep { code.replace(' ', &KEPT.to_string()) } else { code.to_string() };
                self.words(&code, true);
            }
            Event::SoftBreak | Event::HardBreak => self.inline.push(' '),
            // Comments mark what is generated; nothing else is written in HTML.
            _ => {}
        }
    }

    /// Adds to what is open, with the spaces of `text`.
    fn words(&mut self, text: &str, bold: bool) {
        for (number, word) in text.split(' ').enumerate() {
            if number > 0 {
                self.inline.push(' ');
            }
            if bold && !word.is_empty() {
                self.inline += &format!("{BOLD}{word}{BOLD:#}");
            } else {
                self.inline += word;
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Strong | Tag::Emphasis => self.strong += 1,
            Tag::Link { dest_url, .. } => self.link = Some((dest_url.to_string(), self.inline.len())),
            Tag::List(first) => {
                self.block(!self.lists.is_empty());
                if self.lists.is_empty() {
                    self.gap();
                }
                self.lists.push(first);
            }
            Tag::Item => {
                self.bullet = Some(match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}. ", *number - 1)
                    }
                    _ => "- ".to_owned(),
                });
            }
            Tag::CodeBlock(kind) => {
                self.block(true);
                debug_assert!(matches!(kind, CodeBlockKind::Fenced(_)), "code is fenced, so that it says its language");
                self.code = Some(String::new());
            }
            Tag::TableHead | Tag::TableRow => self.rows.push(Vec::new()),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong | TagEnd::Emphasis => self.strong = self.strong.saturating_sub(1),
            TagEnd::Link => self.end_link(),
            TagEnd::Heading(level) => {
                let text = std::mem::take(&mut self.inline);
                let text = if level == pulldown_cmark::HeadingLevel::H1 { text.to_uppercase() } else { text };
                self.gap();
                self.out += &format!("{BOLD}{text}{BOLD:#}\n");
            }
            TagEnd::Paragraph => self.block(!self.lists.is_empty()),
            TagEnd::Item => self.block(true),
            TagEnd::List(_) => drop(self.lists.pop()),
            TagEnd::CodeBlock => self.end_code(),
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.inline);
                if let Some(row) = self.rows.last_mut() {
                    row.push(cell);
                }
            }
            TagEnd::Table => self.end_table(),
            _ => {}
        }
    }

    /// An empty line, but for the top of the page.
    fn gap(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    /// Ends what is open as a paragraph; close to the one before, or after an
    /// empty line.
    fn block(&mut self, close: bool) {
        if self.inline.trim().is_empty() {
            return self.inline.clear();
        }
        if !close {
            self.gap();
        }
        let text = std::mem::take(&mut self.inline);
        let bullet = self.bullet.take();
        let indent = INDENT + 2 * self.lists.len();
        // A number is wider than a dash.
        let indent = bullet.as_ref().map_or(indent, |bullet| indent - 2 + bullet.len());
        let mut lines = layout::wrap(&text, self.width.saturating_sub(indent));
        if let (Some(bullet), Some(first)) = (bullet, lines.first_mut()) {
            self.out += &format!("{}{bullet}{first}\n", " ".repeat(indent - bullet.len()));
            lines.remove(0);
        }
        self.out += &layout::indented(&lines, indent);
    }

    /// Says where a link leads, unless its text does: another topic by its
    /// command, the web by its address. Files of the repository are their text.
    fn end_link(&mut self) {
        let Some((target, start)) = self.link.take() else { return };
        let text = self.inline[start..].to_owned();
        let topic = target.split('#').next().and_then(|file| file.strip_suffix(".md")).and_then(topics::find);
        if let Some(topic) = topic {
            let command = format!("{BOLD}herdsman{KEPT}help{KEPT}{}{BOLD:#}", topic.name);
            if self.inline[..start].to_lowercase().ends_with("see ") {
                self.inline.replace_range(start.., &command);
            } else {
                self.inline += &format!(" ({command})");
            }
        } else if target.starts_with("http") && text != target {
            self.inline += &format!(" <{target}>");
        }
    }

    fn end_code(&mut self) {
        let Some(code) = self.code.take() else { return };
        self.gap();
        let indent = " ".repeat(INDENT + 2 * self.lists.len() + 2);
        for line in code.lines() {
            match line.strip_prefix("$ ") {
                Some(command) => self.out += &format!("{indent}$ {BOLD}{command}{BOLD:#}\n"),
                None if line.is_empty() => self.out.push('\n'),
                None => self.out += &format!("{indent}{line}\n"),
            }
        }
    }

    fn end_table(&mut self) {
        let mut rows = std::mem::take(&mut self.rows);
        let head = rows.first().is_some_and(|head| head.iter().all(|cell| cell.trim().is_empty()));
        if head {
            rows.remove(0);
        } else if let Some(head) = rows.first_mut() {
            let bold = |cell: &String| cell.split(' ').map(|word| format!("{BOLD}{word}{BOLD:#}")).collect::<Vec<_>>();
            *head = head.iter().map(|cell| bold(cell).join(" ")).collect();
        }
        self.gap();
        self.out += &layout::indented(&layout::table(&rows, self.width.saturating_sub(INDENT)), INDENT);
    }
}
