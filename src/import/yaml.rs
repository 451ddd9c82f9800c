//! A YAML document as a tree with positions.
//!
//! The parser gives events; the tree is built here because no library provides all
//! of: positions of keys, merge keys (`<<`, which llama-swap's parser supports),
//! keys that are set twice, and aliases that are shared, not copied, so that a
//! short text never becomes a large tree.

use std::ops::Range;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

/// The deepest nesting that is accepted: dropping a tree is recursive.
const DEEPEST: usize = 64;

/// A node, and where it is in the text, in bytes.
#[derive(Debug)]
pub(super) struct Node {
    pub value: Value,
    pub span: Range<usize>,
    /// From 1.
    pub line: u32,
}

#[derive(Debug)]
pub(super) enum Value {
    /// Text, and whether it is unquoted.
    Scalar(String, bool),
    List(Vec<Rc<Node>>),
    /// In the order of the text, merged entries last.
    Map(Vec<Pair>),
}

/// A key and its value.
pub(super) type Pair = (Rc<Node>, Rc<Node>);

/// A problem of the text, and where it is.
#[derive(Debug)]
pub(super) struct Problem {
    pub message: String,
    pub span: Range<usize>,
}

impl Node {
    /// The text of a scalar that is not null.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, plain) if !(*plain && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")) => {
                Some(text)
            }
            _ => None,
        }
    }

    /// Whether it is null or effectively missing.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar(..)) && self.text().is_none()
    }

    /// The keys and values of a map.
    pub fn entries(&self) -> Option<&[Pair]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn items(&self) -> Option<&[Rc<Node>]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a key of a map.
    pub fn get(&self, key: &str) -> Option<&Rc<Node>> {
        self.entries()?.iter().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// Its kind, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar(..) if self.is_null() => "nothing",
            Value::Scalar(..) => "a string or number",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// Parses the first document of the text; `None`: there is none.
pub(super) fn parse(text: &str) -> Result<Option<Rc<Node>>, Problem> {
    let mut builder = Builder { text, lines: line_starts(text), open: Vec::new(), anchors: Vec::new(), root: None };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            let at = builder.offset(*error.marker());
            Problem { message: format!("not valid YAML: {}", error.info()), span: at..at }
        })?;
        builder.take(event, span)?;
        if builder.root.is_some() {
            break;
        }
    }
    Ok(builder.root)
}

fn line_starts(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1)).collect()
}

/// A list or map that is not complete yet.
struct Open {
    start: usize,
    line: u32,
    anchor: usize,
    is_map: bool,
    children: Vec<Rc<Node>>,
}

struct Builder<'t> {
    text: &'t str,
    lines: Vec<usize>,
    open: Vec<Open>,
    /// Nodes by anchor, 0 unused.
    anchors: Vec<Option<Rc<Node>>>,
    root: Option<Rc<Node>>,
}

impl Builder<'_> {
    /// The byte of a position: the parser counts characters.
    fn offset(&self, marker: Marker) -> usize {
        let start = marker.line().checked_sub(1).and_then(|line| self.lines.get(line)).copied();
        let Some(rest) = start.and_then(|start| self.text.get(start..)) else { return self.text.len() };
        let within = rest.char_indices().nth(marker.col()).map_or(rest.len(), |(at, _)| at);
        start.unwrap_or_default() + within
    }

    fn range(&self, span: Span) -> Range<usize> {
        let start = self.offset(span.start);
        start..self.offset(span.end).max(start)
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let range = self.range(span);
        let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX);
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let value = Value::Scalar(text.into_owned(), style == ScalarStyle::Plain);
                self.add(Node { value, span: range, line }, anchor);
            }
            Event::Alias(anchor) => match self.anchors.get(anchor).cloned().flatten() {
                Some(node) => self.push(node),
                None => {
                    return Err(Problem { message: "the alias is inside its own anchor".to_owned(), span: range });
                }
            },
            Event::SequenceStart(anchor, _) => self.begin(range, line, anchor, false)?,
            Event::MappingStart(anchor, _) => self.begin(range, line, anchor, true)?,
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
        Ok(())
    }

    fn begin(&mut self, range: Range<usize>, line: u32, anchor: usize, is_map: bool) -> Result<(), Problem> {
        if self.open.len() >= DEEPEST {
            return Err(Problem { message: format!("nested deeper than {DEEPEST} levels"), span: range });
        }
        self.open.push(Open { start: range.start, line, anchor, is_map, children: Vec::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Problem> {
        let Some(Open { start, line, anchor, is_map, children }) = self.open.pop() else { return Ok(()) };
        let end = children.last().map_or(start, |child| child.span.end.max(start));
        let value = if is_map { Value::Map(pairs(children)?) } else { Value::List(children) };
        self.add(Node { value, span: start..end, line }, anchor);
        Ok(())
    }

    fn add(&mut self, node: Node, anchor: usize) {
        let node = Rc::new(node);
        if anchor > 0 {
            if self.anchors.len() <= anchor {
                self.anchors.resize(anchor + 1, None);
            }
            self.anchors[anchor] = Some(Rc::clone(&node));
        }
        self.push(node);
    }

    fn push(&mut self, node: Rc<Node>) {
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
    }
}

/// Pairs up alternating keys and values, with what `<<` merges in. The map's own
/// keys win, then the first map merged.
fn pairs(children: Vec<Rc<Node>>) -> Result<Vec<Pair>, Problem> {
    let mut own: Vec<Pair> = Vec::with_capacity(children.len() / 2);
    let mut merged: Vec<Rc<Node>> = Vec::new();
    let mut children = children.into_iter();
    while let (Some(key), Some(value)) = (children.next(), children.next()) {
        if matches!(&key.value, Value::Scalar(text, true) if text == "<<") {
            match &value.value {
                Value::List(maps) => merged.extend(maps.iter().cloned()),
                _ => merged.push(value),
            }
            continue;
        }
        if let Some(text) = key.text()
            && own.iter().any(|(known, _)| known.text() == Some(text))
        {
            let message = format!("the key `{}` is set twice", crate::model::text::printable(text));
            return Err(Problem { message, span: key.span.clone() });
        }
        own.push((key, value));
    }
    for map in merged {
        let Some(entries) = map.entries() else {
            let message = format!("`<<` merges maps, but this is {}", map.kind());
            return Err(Problem { message, span: map.span.clone() });
        };
        for (key, value) in entries {
            if !own.iter().any(|(known, _)| known.text() == key.text()) {
                own.push((Rc::clone(key), Rc::clone(value)));
            }
        }
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn node(text: &str) -> Rc<Node> {
        parse(text).unwrap().unwrap()
    }

    #[test]
    fn a_map_knows_its_places_and_what_is_merged_into_it() {
        let text = "é: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n";
        let root = node(text);
        let b = root.get("b").unwrap();
        assert_eq!([b.get("x").unwrap().text(), b.get("y").unwrap().text()], [Some("1"), Some("3")]);
        assert_eq!(&text[b.get("y").unwrap().span.clone()], "3");
        assert_eq!(b.get("y").unwrap().line, 4);
    }

    #[test]
    fn reports_invalid_yaml_with_its_place() {
        let problem = |text: &str| parse(text).unwrap_err();
        assert!(problem("a: [1\nb: 2\n").message.starts_with("not valid YAML"));
        let twice = problem("a: 1\nb: 2\na: 3\n");
        assert_eq!((twice.message.as_str(), twice.span), ("the key `a` is set twice", 10..11));
        assert!(problem(&"[".repeat(100)).message.contains("64 levels"));
        assert!(problem("a: &a [*a]").message.contains("inside its own anchor"));
        assert!(parse("").unwrap().is_none());
    }

    #[test]
    fn aliases_of_aliases_make_no_large_tree() {
        let mut text = "a0: &a0 [x]\n".to_owned();
        for level in 1..60 {
            let items = vec![format!("*a{}", level - 1); 20].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        assert_eq!(node(&text).entries().unwrap().len(), 60);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-c:\\-\\[\\]{}&*<'\"|>#\n é,]{0,60}") {
            let _ = parse(&text);
        }
    }
}
