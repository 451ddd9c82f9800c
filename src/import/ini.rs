//! The INI that llama-server reads presets from.
//!
//! Parsed here and not by a library, because llama-server's grammar
//! (`common/preset.cpp`) is its own: `;` and `#` start a comment anywhere, a value
//! has neither quotes nor escapes, a repeated section starts over, and keys before
//! the first section belong to the model `default`. Measured on b10434. What it
//! refuses although it can mean only one thing is accepted here: blanks before a
//! key, leading dashes, `_` for `-`.

use super::source::Problem;

/// The section of keys before the first header.
const DEFAULT: &str = "default";

/// One section: a model, or `*` for all.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Section {
    pub name: String,
    /// From 1.
    pub line: u32,
    pub entries: Vec<Entry>,
    /// Entries that do not count, because their key is set again.
    pub again: Vec<Entry>,
    /// The lines of earlier sections with the same name, which this one replaces.
    pub replaces: Vec<u32>,
}

/// `key = value`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Without leading dashes.
    pub key: String,
    pub value: String,
    /// From 1.
    pub line: u32,
}

/// Returns the sections, in the order in which they first appear.
pub(super) fn parse(text: &str) -> Result<Vec<Section>, Vec<Problem>> {
    let mut sections: Vec<Section> = Vec::new();
    let mut current: Option<usize> = None;
    let mut problems = Vec::new();
    let mut start = 0;
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        let place = start..start + line.trim_end().len();
        start += line.len();
        let line = line.trim();
        if line.is_empty() || line.starts_with(COMMENT) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let Some((name, after)) = rest.split_once(']').filter(|(name, _)| !name.trim().is_empty()) else {
                problems.push(Problem::new(place, "the section header is incomplete", "write `[name]`"));
                continue;
            };
            if !uncommented(after).is_empty() {
                problems.push(Problem::new(place, "there is text after the section's `]`", "put it on its own line"));
                continue;
            }
            current = Some(begin(&mut sections, name.trim(), number));
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            problems.push(Problem::new(place, "this is not `key = value`", "write `key = value`, or `[section]`"));
            continue;
        };
        let key = key.trim().trim_start_matches('-');
        if key.is_empty() || key.contains(|c: char| !(c.is_ascii_alphanumeric() || "_.-".contains(c))) {
            problems.push(Problem::new(place, "this is not an option name", "write an option's name without dashes"));
            continue;
        }
        let index = *current.get_or_insert_with(|| begin(&mut sections, DEFAULT, number));
        let entry = Entry { key: key.to_owned(), value: uncommented(value).to_owned(), line: number };
        let entries = &mut sections[index].entries;
        let before = entries.iter().position(|known| known.key == entry.key).map(|at| entries.remove(at));
        entries.push(entry);
        sections[index].again.extend(before);
    }
    if problems.is_empty() { Ok(sections) } else { Err(problems) }
}

const COMMENT: [char; 2] = [';', '#'];

/// Returns the text before a comment, without blanks around it.
fn uncommented(text: &str) -> &str {
    text.split(COMMENT).next().unwrap_or_default().trim()
}

/// Starts a section, or starts it over.
fn begin(sections: &mut Vec<Section>, name: &str, line: u32) -> usize {
    let new = Section { name: name.to_owned(), line, entries: Vec::new(), again: Vec::new(), replaces: Vec::new() };
    if let Some(index) = sections.iter().position(|known| known.name == name) {
        let before = std::mem::replace(&mut sections[index], new);
        sections[index].replaces = [before.replaces, vec![before.line]].concat();
        return index;
    }
    sections.push(new);
    sections.len() - 1
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_presets_as_llama_server_does() {
        let text = "c = 1\r\n; x\r\n[ a ] # y\r\nm = /a b.gguf ; z\r\n  --no_mmap= 1\r\n[b]\r\nm=/x#y\r\n[a]\r\nt = \"q\"\r\nt = \r\n";
        let sections = parse(text).unwrap();
        let shown: Vec<_> = sections
            .iter()
            .map(|s| (s.name.as_str(), s.line, s.entries.iter().map(|e| (e.key.as_str(), e.value.as_str())).collect()))
            .collect::<Vec<(_, _, Vec<_>)>>();
        assert_eq!(
            shown,
            [("default", 1, vec![("c", "1")]), ("a", 8, vec![("t", "")]), ("b", 6, vec![("m", "/x")])],
            "a repeated section starts over, and `#` starts a comment anywhere"
        );
        assert_eq!((&sections[1].replaces[..], sections[1].again[0].line), (&[3][..], 9), "both lines are reported");
    }

    #[test]
    fn reports_every_invalid_line() {
        let problems = parse("[a\n[]\n[b] x\nhello\né = 1\n= 2\n").unwrap_err();
        assert_eq!(problems.len(), 6);
        assert_eq!(problems[3].span, 12..17);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a\\[\\]=;#\r\n é-]{0,40}") {
            let _ = parse(&text);
        }
    }
}
