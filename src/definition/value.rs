//! Reads TOML values as the types that keys need, with errors that say what was
//! expected and what was found.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::Names;
use super::source::Source;
use super::suggest;
use super::typed::{self, Odd};
use crate::model::{Diagnostic, OptionSetting, Origin};

/// The most problems reported for one file: more are noise, and each takes time to
/// find.
const MOST_PROBLEMS: usize = 50;

/// A value, and where it was set.
#[derive(Clone, Debug)]
pub(crate) struct Located<T> {
    pub value: T,
    pub origin: Origin,
    pub span: Range<usize>,
}

/// One option that a file sets.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub setting: OptionSetting,
    /// The value as the row's `parameters` column holds it.
    pub json: serde_json::Value,
    /// The input files it names, absolute.
    pub files: Vec<Arc<str>>,
    pub origin: Origin,
}

/// A value of the file as the parser gives it.
pub(crate) type Value<'t> = Spanned<DeValue<'t>>;

/// One file while its values are read: collects every problem.
pub(crate) struct Reader<'s, 't> {
    pub source: &'s Source<'t>,
    pub names: &'s mut Names,
    pub problems: Vec<Diagnostic>,
    /// What only its llama-server can check, whose options are unknown.
    pub unchecked: Vec<Diagnostic>,
}

impl<'s, 't> Reader<'s, 't> {
    pub fn new(source: &'s Source<'t>, names: &'s mut Names) -> Self {
        Self { source, names, problems: Vec::new(), unchecked: Vec::new() }
    }

    /// Whether to stop reading the file: fix these problems first.
    pub fn is_full(&self) -> bool {
        self.problems.len() >= MOST_PROBLEMS
    }

    /// Notes a problem.
    pub fn problem(&mut self, span: Range<usize>, message: impl Into<String>, label: &str, help: impl Into<String>) {
        let mut problem = self.source.error(span, message).help(help);
        problem.label = (!label.is_empty()).then(|| label.to_owned());
        self.problems.push(problem);
    }

    /// Whether the file has errors, and so cannot be used.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Diagnostic::is_error)
    }

    /// Warns of paths in `value` that were typed for a shell or for Windows.
    pub fn odd_paths(&mut self, value: &Value<'_>) {
        if let DeValue::Array(array) = value.get_ref() {
            return array.iter().for_each(|value| self.odd_paths(value));
        }
        let Some(text) = value.get_ref().as_str() else { return };
        // TOML turns the `\t` of `"C:\temp"` into a tab.
        let escaped = text.contains(char::is_control).then(|| text.escape_default().to_string());
        let typed = escaped.as_deref().unwrap_or(text);
        if let Some(odd) = Odd::of(typed) {
            let message = format!("the path is used literally: {}", odd.problem());
            let help = odd.help(typed, typed::home().as_deref());
            self.problems.push(self.source.error(value.span(), message).help(help).warning());
        }
    }

    /// Reports that `key` has a value of the wrong type.
    pub fn wrong_kind(&mut self, key: &str, value: &Value<'_>, expected: &str, help: impl Into<String>) {
        let found = kind(value.get_ref());
        let message = format!("`{key}`: expected {expected}, found {found}");
        self.problem(value.span(), message, &format!("expected {expected}"), help);
    }

    /// A valid value.
    pub fn located<T>(&self, value: T, span: Range<usize>) -> Located<T> {
        Located { value, origin: self.source.origin(&span), span }
    }

    pub fn string<'v>(&mut self, key: &str, value: &'v Value<'_>) -> Option<&'v str> {
        self.text(key, value, true)
    }

    /// A string in the array of `key`.
    pub fn element<'v>(&mut self, key: &str, value: &'v Value<'_>) -> Option<&'v str> {
        self.text(key, value, false)
    }

    /// `is_whole`: the value of the key itself, not an element of its array.
    fn text<'v>(&mut self, key: &str, value: &'v Value<'_>, is_whole: bool) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            let help = match value.get_ref() {
                DeValue::Array(_) | DeValue::Table(_) => "write one string in quotes".to_owned(),
                _ => {
                    let found = self.source.text.get(value.span()).unwrap_or("…");
                    let key = if is_whole { format!("{key} = ") } else { String::new() };
                    format!("put it in quotes: `{key}\"{found}\"`")
                }
            };
            self.wrong_kind(key, value, "a string", help);
        }
        // A NUL ends a C string: argv, the environment and paths cannot hold it.
        if text.is_some_and(|text| text.contains('\0')) {
            self.problem(value.span(), format!("`{key}` contains a NUL character"), "", "remove `\\u0000`");
            return None;
        }
        text
    }

    pub fn boolean(&mut self, key: &str, value: &Value<'_>) -> Option<Located<bool>> {
        let Some(on) = value.get_ref().as_bool() else {
            self.wrong_kind(key, value, "a boolean", format!("write `{key} = true` or `{key} = false`"));
            return None;
        };
        Some(self.located(on, value.span()))
    }

    /// A whole number in `range`.
    pub fn integer<T: TryFrom<i64> + PartialOrd>(
        &mut self,
        key: &str,
        value: &Value<'_>,
        range: RangeInclusive<T>,
        help: &str,
    ) -> Option<Located<T>> {
        let Some(integer) = value.get_ref().as_integer() else {
            self.wrong_kind(key, value, "an integer", help);
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        match number.and_then(|number| T::try_from(number).ok()).filter(|number| range.contains(number)) {
            Some(number) => Some(self.located(number, value.span())),
            None => {
                self.problem(value.span(), format!("`{key}` cannot be {integer}"), "out of range", help);
                None
            }
        }
    }

    /// One of a closed set of words.
    pub fn word<T: Copy>(&mut self, key: &str, value: &Value<'_>, words: &[(&str, T)]) -> Option<Located<T>> {
        let text = self.string(key, value)?;
        if let Some((_, word)) = words.iter().find(|(word, _)| *word == text) {
            return Some(self.located(*word, value.span()));
        }
        let names = || words.iter().map(|(word, _)| *word);
        let help = match suggest::nearest(text, names()) {
            Some(near) => format!("did you mean `\"{near}\"`?"),
            None => format!("use {}", suggest::alternatives(names())),
        };
        self.problem(value.span(), format!("`{key}` cannot be {text:?}"), "", help);
        None
    }

    pub fn table<'v, 'f>(&mut self, key: &str, value: &'v Value<'f>) -> Option<&'v DeTable<'f>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            self.wrong_kind(key, value, "a table", format!("start the table with a line `[{key}]`"));
        }
        table
    }
}

/// The type of a value, with its article.
pub(crate) fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
