//! Converts a TOML value to an option's setting: checked, normalised, and as words
//! of the command line.

use std::sync::Arc;

use serde_json::Value;
use toml::de::DeValue;

use super::number;
use super::option::{ListStyle, OptionSpec, PathRole, ValueKind};
use super::problem::ValueProblem;
use super::types::Range;
use super::{path, suggest};
use crate::model::{OptionSetting, OptionValue};

/// An option with a value that llama-server reads as intended.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// The part that is hashed and goes to the command line.
    pub setting: OptionSetting,
    /// The typed value, for the row's `parameters` column.
    pub json: Value,
    /// The files llama-server will read for it, absolute.
    pub files: Vec<Arc<str>>,
    /// Whether those are GGUF files.
    pub weights: bool,
}

/// One element of a value.
struct Element {
    /// Its normalised spelling.
    text: Arc<str>,
    /// The same, typed.
    json: Value,
}

impl Element {
    fn text(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        Self { json: Value::from(&*text), text }
    }
}

impl OptionSpec {
    /// Returns the setting for a definition's `value`. `negated`: the key was the
    /// option's negation. `resolve` makes a path from the definition absolute.
    ///
    /// # Errors
    /// llama-server would refuse the value, or read something else from it.
    pub fn setting(
        &self,
        value: &DeValue<'_>,
        negated: bool,
        resolve: &dyn Fn(&str) -> String,
    ) -> Result<Setting, ValueProblem> {
        if self.kind == ValueKind::Flag {
            return self.flag(value, negated);
        }
        let mut elements = self.elements(value)?;
        let mut files = Vec::new();
        if let Some(role) = self.path {
            for element in &mut elements {
                let resolved = path::resolve(&self.key, &element.text, role, resolve)?;
                *element = Element::text(resolved.text);
                files.extend(resolved.input);
            }
        }
        let args = self.args(&elements);
        let (value, json) = match <[Element; 1]>::try_from(elements) {
            Ok([Element { text, json }]) => (OptionValue::One(text), json),
            Err(elements) => {
                let (texts, values) = elements.into_iter().map(|e| (e.text, e.json)).unzip();
                (OptionValue::Many(texts), Value::Array(values))
            }
        };
        let weights = matches!(self.path, Some(PathRole::Input { weights: true, .. }));
        Ok(Setting { setting: OptionSetting { value, args }, json, files, weights })
    }

    fn flag(&self, value: &DeValue<'_>, negated: bool) -> Result<Setting, ValueProblem> {
        let DeValue::Boolean(on) = value else {
            return Err(self.wrong("true or false", value).help("it is a flag: write `true` or `false`"));
        };
        let on = *on != negated;
        let args = match &self.negation {
            _ if on => vec![Arc::clone(&self.argument)],
            Some(negation) => vec![negation.as_str().into()],
            None => Vec::new(),
        };
        let setting = OptionSetting { value: OptionValue::Flag(on), args };
        Ok(Setting { setting, json: Value::Bool(on), files: Vec::new(), weights: false })
    }

    /// Returns the command-line words for normalised values.
    fn args(&self, elements: &[Element]) -> Vec<Arc<str>> {
        let argument = Arc::clone(&self.argument);
        let texts = elements.iter().map(|element| &element.text);
        match self.list {
            ListStyle::Single | ListStyle::Words(_) => std::iter::once(argument).chain(texts.cloned()).collect(),
            ListStyle::Repeated => texts.flat_map(|text| [Arc::clone(&argument), Arc::clone(text)]).collect(),
            ListStyle::Joined(separator) => {
                let quoted = texts.map(|text| if self.path.is_some() { path::csv(text) } else { text.to_string() });
                vec![argument, quoted.collect::<Vec<_>>().join(&separator.to_string()).into()]
            }
        }
    }

    /// Returns the elements of a value, each normalised: of an array, or of a text
    /// that llama-server would split.
    fn elements(&self, value: &DeValue<'_>) -> Result<Vec<Element>, ValueProblem> {
        let key = &self.key;
        match (value, self.list) {
            (DeValue::Array(array), _) if self.kind != ValueKind::Json => {
                let elements: Vec<_> = array.iter().map(|e| self.element(e.get_ref())).collect::<Result<_, _>>()?;
                self.check_length(elements.len())?;
                Ok(elements)
            }
            (_, ListStyle::Words(words)) => {
                Err(self.wrong(&format!("an array of {words} values"), value).help(self.example_array(words)))
            }
            (DeValue::String(text), ListStyle::Joined(_)) if self.path.is_some() && text.contains('"') => {
                Err(ValueProblem::new(format!("`{key}` contains a quote"))
                    .help(format!("write an array with one path per element: `{key} = [\"a\", \"b\"]`")))
            }
            (DeValue::String(text), ListStyle::Joined(separator)) => text
                .split(separator)
                .map(|part| self.element(&DeValue::String(if self.is_typed() { part.trim() } else { part }.into())))
                .collect(),
            _ => Ok(vec![self.element(value)?]),
        }
    }

    fn check_length(&self, length: usize) -> Result<(), ValueProblem> {
        let key = &self.key;
        let problem = |message: String, help: String| Err(ValueProblem::new(message).help(help));
        match self.list {
            _ if length == 0 => {
                problem(format!("`{key}` is an empty array"), format!("remove `{key}`, or give it a value"))
            }
            ListStyle::Single if length > 1 => problem(
                format!("`{key}` takes one value, not {length}"),
                format!("llama-server uses only the last of several `{}`: keep one", self.argument),
            ),
            ListStyle::Words(words) if length != words => {
                problem(format!("`{key}` takes {words} values, not {length}"), self.example_array(words))
            }
            _ => Ok(()),
        }
    }

    /// Whether elements are more than text, so that blanks around them do not
    /// matter.
    fn is_typed(&self) -> bool {
        !self.choices.is_empty() || matches!(self.kind, ValueKind::Integer(_) | ValueKind::Float(_))
    }

    /// Checks and normalises one value that is not an array.
    fn element(&self, value: &DeValue<'_>) -> Result<Element, ValueProblem> {
        if let DeValue::String(text) = value
            && text.contains('\0')
        {
            let problem = ValueProblem::new(format!("`{}` contains a NUL character", self.key));
            return Err(problem.help("remove it: a command line cannot contain it"));
        }
        if !self.choices.is_empty() {
            return self.choice(value);
        }
        match &self.kind {
            ValueKind::Integer(range) => self.integer(value, range),
            ValueKind::Float(range) => self.float(value, range),
            ValueKind::Json => self.json(value),
            ValueKind::Flag | ValueKind::Text => self.plain(value),
        }
    }

    fn choice(&self, value: &DeValue<'_>) -> Result<Element, ValueProblem> {
        let text = match value {
            DeValue::Boolean(on) => if *on { "on" } else { "off" }.to_owned(),
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(_) => number::integer(value).map_or_else(String::new, |number| number.to_string()),
            _ => return Err(self.wrong("one of its values", value).help(self.one_of())),
        };
        if !self.choices.contains(&text) {
            if matches!(value, DeValue::Boolean(_)) {
                return Err(self.wrong("one of its values", value).help(self.one_of()));
            }
            let near = suggest::nearest(&text, self.choices.iter().map(String::as_str));
            let help = near.map_or_else(|| self.one_of(), |near| format!("did you mean `{near}`?"));
            return Err(ValueProblem::new(format!("`{}` cannot be `{text}`", self.key))
                .label("not one of its values")
                .help(help));
        }
        match self.kind {
            ValueKind::Integer(_) => {
                Ok(Element { json: text.parse::<i64>().map_or(Value::Null, Value::from), text: text.into() })
            }
            _ => Ok(Element::text(text)),
        }
    }

    fn integer(&self, value: &DeValue<'_>, range: &Range<i64>) -> Result<Element, ValueProblem> {
        if let DeValue::String(text) = value
            && self.words.iter().any(|word| word == text)
        {
            return Ok(Element::text(text.as_ref()));
        }
        let number = number::integer(value).ok_or_else(|| self.not_a_number("a whole number", value))?;
        if number < range.min || number > range.max {
            let max = (range.max != i64::MAX).then_some(range.max);
            return Err(self.out_of_range(&number.to_string(), &range.min.to_string(), max, &range.why));
        }
        Ok(Element { text: number.to_string().into(), json: Value::from(number) })
    }

    fn float(&self, value: &DeValue<'_>, range: &Range<f64>) -> Result<Element, ValueProblem> {
        let number = number::float(value).ok_or_else(|| self.not_a_number("a number", value))?;
        let text = number::float_text(number);
        if number < range.min || number > range.max {
            let max = (range.max < f64::from(f32::MAX)).then_some(range.max);
            return Err(self.out_of_range(&text, &number::float_text(range.min), max, &range.why));
        }
        Ok(Element { json: Value::from(number), text: text.into() })
    }

    fn json(&self, value: &DeValue<'_>) -> Result<Element, ValueProblem> {
        match value {
            DeValue::String(text) => match serde_json::from_str::<serde::de::IgnoredAny>(text) {
                Ok(_) => Ok(Element::text(text.as_ref())),
                Err(error) => Err(ValueProblem::new(format!("`{}` is not JSON: {error}", self.key))
                    .label("not JSON")
                    .help("write JSON in single quotes ('{\"key\": true}'), or a TOML table ({ key = true })")),
            },
            DeValue::Table(_) | DeValue::Array(_) => match to_json(value) {
                Some(json) => Ok(Element::text(json.to_string())),
                None => Err(ValueProblem::new(format!("`{}` contains a value that JSON cannot express", self.key))),
            },
            _ => Err(self.wrong("JSON or a table", value)),
        }
    }

    fn plain(&self, value: &DeValue<'_>) -> Result<Element, ValueProblem> {
        let key = &self.key;
        match value {
            DeValue::String(text) if self.list == ListStyle::Joined(';') && text.contains(',') => {
                Err(ValueProblem::new(format!("`{key}` is separated by `;`, not by `,`"))
                    .help(format!("write an array: `{key} = [\"a\", \"b\"]`")))
            }
            DeValue::String(text) => Ok(Element::text(text.as_ref())),
            DeValue::Integer(_) | DeValue::Float(_) => match (number::integer(value), number::float(value)) {
                (Some(number), _) => Ok(Element { text: number.to_string().into(), json: Value::from(number) }),
                (None, Some(number)) => {
                    Ok(Element { text: number::float_text(number).into(), json: Value::from(number) })
                }
                (None, None) => Err(self.wrong("a smaller number, or text", value)),
            },
            DeValue::Boolean(_) => Err(self
                .wrong("a value", value)
                .help(format!("it is not a flag: write `{key} = \"…\"`, or remove it to use llama-server's default"))),
            _ => Err(self.wrong("text or a number", value)),
        }
    }

    /// Reports a value of the wrong type.
    fn wrong(&self, expected: &str, value: &DeValue<'_>) -> ValueProblem {
        let found = match value {
            DeValue::Boolean(on) => format!("`{on}`"),
            DeValue::Integer(number) => format!("`{number}`"),
            DeValue::Float(number) => format!("`{number}`"),
            DeValue::String(_) => "text".to_owned(),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(_) => "an array".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        ValueProblem::new(format!("`{}` takes {expected}, not {found}", self.key)).label(format!("expected {expected}"))
    }

    /// Reports something other than a number. Text is shown as it is: `512x`.
    fn not_a_number(&self, expected: &str, value: &DeValue<'_>) -> ValueProblem {
        let words: Vec<_> = self.words.iter().map(|word| format!("`\"{word}\"`")).collect();
        let expected = [expected.to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" or ");
        let problem = self.wrong(&expected, value);
        let DeValue::String(text) = value else { return problem };
        let found = if text.is_empty() { "empty text".to_owned() } else { format!("`{text}`") };
        let problem = ValueProblem { message: format!("`{}` takes {expected}, not {found}", self.key), ..problem };
        match suggest::nearest(text, self.words.iter().map(String::as_str)) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem.help("write just the number, without quotes or a unit"),
        }
    }

    fn out_of_range(&self, number: &str, min: &str, max: Option<impl ToString>, why: &str) -> ValueProblem {
        let range = max.map_or_else(|| format!("at least {min}"), |max| format!("from {min} to {}", max.to_string()));
        let why = if why.is_empty() { "llama-server refuses anything else" } else { why };
        ValueProblem::new(format!("`{}` cannot be {number}", self.key))
            .label(format!("must be {range}"))
            .help(format!("use a value that is {range}: {why}"))
    }

    fn one_of(&self) -> String {
        format!("use one of {}", self.choices.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", "))
    }

    fn example_array(&self, words: usize) -> String {
        let values: Vec<_> = (1..=words).map(|n| n.to_string()).collect();
        format!("write it as `{} = [{}]` ({})", self.key, values.join(", "), self.metavar)
    }
}

/// Converts a TOML value to JSON; `None` if it contains a number that JSON cannot
/// express.
fn to_json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(_) => Value::from(number::integer(value)?),
        DeValue::Float(number) => Value::Number(serde_json::Number::from_f64(number.as_str().parse().ok()?)?),
        DeValue::Boolean(on) => Value::from(*on),
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Array(array) => Value::Array(array.iter().map(|e| to_json(e.get_ref())).collect::<Option<_>>()?),
        DeValue::Table(table) => Value::Object(
            table
                .iter()
                .map(|(key, value)| Some((key.get_ref().to_string(), to_json(value.get_ref())?)))
                .collect::<Option<_>>()?,
        ),
    })
}
