//! Parses `llama-server --help` into entries, one per option, as printed.
//!
//! ```text
//! column 0                                40
//! -c,    --ctx-size N                     size of the prompt context (default: 0, …)
//!                                         (env: LLAMA_ARG_CTX_SIZE)
//! -fitt, --fit-target MiB0,MiB1,MiB2,...
//!                                         target margin per device for --fit, …
//! ```
//!
//! An entry starts with a `-` in column 0: its head is the names joined by `, `,
//! then the metavar. Its help starts in column 40, or on the next line if the head
//! is too long. A line of five dashes starts a section. Text of any other shape is
//! skipped; the caller judges whether there are too few options.

/// One option as the help prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Every name with its dashes, short and long, in the order printed.
    pub names: Vec<&'a str>,
    /// What follows the names; empty for a flag.
    pub metavar: &'a str,
    /// The lines of the help text, without the indentation.
    pub lines: Vec<&'a str>,
}

/// Where the help text starts: fixed in llama.cpp's `common_arg::to_string`.
const HELP_COLUMN: usize = 40;

/// The entries of a help text, in order.
pub(super) fn entries(help: &str) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for line in help.lines() {
        if line.starts_with("-----") {
            continue;
        }
        if line.starts_with('-') {
            entries.extend(entry(line));
        } else if let (Some(text), Some(entry)) = (continuation(line), entries.last_mut()) {
            entry.lines.push(text);
        }
    }
    entries
}

/// Parses the entry that starts on `line`.
fn entry(line: &str) -> Option<Entry<'_>> {
    let (head, help) = match line.split_at_checked(HELP_COLUMN) {
        Some((head, help)) if head.ends_with("  ") && !help.is_empty() => (head, Some(help)),
        _ => (line, None),
    };
    let (names, metavar) = names(head);
    (!names.is_empty()).then(|| Entry { names, metavar, lines: help.into_iter().collect() })
}

/// Splits a head into its names and its metavar.
fn names(head: &str) -> (Vec<&str>, &str) {
    let mut names = Vec::new();
    let mut rest = head.trim_ascii();
    while rest.starts_with('-') {
        let end = rest.find([',', ' ']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        names.push(name);
        rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        if !after.starts_with(',') {
            break;
        }
    }
    (names, rest)
}

/// Returns the help text of a continuation line.
fn continuation(line: &str) -> Option<&str> {
    let (indent, text) = line.split_at_checked(HELP_COLUMN)?;
    // Bytes, because this runs over every line, and every start of a pass parses a
    // help.
    let is_blank = |text: &str| text.bytes().all(|byte| byte == b' ');
    (is_blank(indent) && !is_blank(text)).then_some(text)
}

impl<'a> Entry<'a> {
    /// Where the variable's name is in a trailing `(env: LLAMA_ARG_X)`.
    pub fn env(&self) -> Option<&'a str> {
        self.lines.iter().rev().find_map(|line| line.trim().strip_prefix("(env: ")?.strip_suffix(')'))
    }

    /// Returns the help text as one line.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// Returns the help text for people: without the variable, and with each bullet
    /// on its own line.
    pub fn paragraph(&self) -> String {
        let mut paragraph = String::new();
        for line in self.lines.iter().map(|line| line.trim()).filter(|line| !line.starts_with("(env: ")) {
            if !paragraph.is_empty() {
                paragraph.push(if line.starts_with("- ") { '\n' } else { ' ' });
            }
            paragraph.push_str(line);
        }
        paragraph
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_pinned_help_has_every_option_once() {
        let entries = entries(super::super::EMBEDDED_HELP);
        assert_eq!(entries.len(), 248);
        assert_eq!(entries.iter().map(|e| e.names.len()).sum::<usize>(), 405);
        assert_eq!(entries.iter().filter(|e| e.env().is_some()).count(), 135);
    }

    #[test]
    fn a_head_is_split_into_names_and_metavar() {
        let one = |line| entries(line).remove(0);
        assert_eq!(one("-t,    --threads N                      number of").names, ["-t", "--threads"]);
        assert_eq!(one("-t,    --threads N                      number of").metavar, "N");
        assert_eq!(one("-t,    --threads N                      number of").lines, ["number of"]);
        assert_eq!(one("-kvo,  --kv-offload, -nkvo, --no-kv-offload").names.len(), 4);
        assert_eq!(one("--control-vector-layer-range START END").metavar, "START END");
        assert_eq!(one("-dev,  --device <dev1,dev2,..>          comma").metavar, "<dev1,dev2,..>");
        assert_eq!(one("-ot,   --override-tensor <tensor name pattern>=<buffer type>,...").names.len(), 2);
    }

    #[test]
    fn a_head_too_long_for_its_column_has_its_help_on_the_next_line() {
        let text = format!("-fitt, --fit-target MiB0,MiB1,MiB2,...\n{0}margin\n{0}(env: X_Y)\n", " ".repeat(40));
        let entry = entries(&text).remove(0);
        assert_eq!(entry.metavar, "MiB0,MiB1,MiB2,...");
        assert_eq!(entry.lines, ["margin", "(env: X_Y)"]);
        assert_eq!(entry.env(), Some("X_Y"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(-{0,6}|[a-zé,<>{}|. \n]|\\(env: | {38,42}|\\PC){0,60}") {
            for entry in entries(&text) {
                prop_assert!(!entry.names.is_empty());
                let _ = (entry.env(), entry.text());
            }
        }
    }
}
