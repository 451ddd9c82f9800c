//! The schema of an option's value: [`OptionSpec::setting`] as a schema.
//!
//! If an option takes several types, one schema lists them all with the limits of
//! each (`minimum` applies only to numbers, `pattern` only to texts), because
//! editors explain what is wrong with a `type`, but not with an `anyOf`.

use serde_json::{Map, Value, json};

use super::text;
use crate::llama::catalogue::{ListStyle, OptionSpec, PathRole, ValueKind};

/// One value that is not a list.
struct Element {
    /// Values it may have besides those of `types`.
    words: Vec<Value>,
    /// The types of other values; may be empty.
    types: Vec<&'static str>,
    /// The limits of those.
    limits: Map<String, Value>,
    /// The pattern of text values; `None`: any text.
    text: Option<String>,
}

/// The schema of an option's value.
pub(super) fn schema(option: &OptionSpec) -> Value {
    let mut schema = if option.kind == ValueKind::Flag {
        json!({ "type": "boolean" })
    } else if option.kind == ValueKind::Json && option.choices.is_empty() {
        json!({ "type": ["object", "array", "string"] })
    } else {
        listed(Element::of(option), option)
    };
    if !option.help.is_empty() {
        schema["description"] = option.help.as_str().into();
    }
    if option.deprecated {
        schema["deprecated"] = true.into();
    }
    if let Some(default) = default(option) {
        schema["default"] = default;
    }
    schema
}

/// An element, or a list of elements if the option takes one.
fn listed(element: Element, option: &OptionSpec) -> Value {
    let items = element.schema();
    let mut either = match option.list {
        ListStyle::Single | ListStyle::Repeated => element,
        ListStyle::Joined(separator) => element.joined(separator, option),
        ListStyle::Words(_) => Element { words: Vec::new(), types: Vec::new(), limits: Map::new(), text: None },
    };
    let (least, most) = match option.list {
        ListStyle::Single => (1, Some(1)),
        ListStyle::Joined(_) | ListStyle::Repeated => (1, None),
        ListStyle::Words(words) => (words, Some(words)),
    };
    either.types.push("array");
    either.limits.insert("items".to_owned(), items);
    either.limits.insert("minItems".to_owned(), least.into());
    either.limits.extend(most.map(|most| ("maxItems".to_owned(), most.into())));
    either.schema()
}

impl Element {
    fn of(option: &OptionSpec) -> Self {
        let words = |words: &[String]| words.iter().map(|word| Value::from(word.as_str())).collect::<Vec<_>>();
        let (mut types, mut limits) = (Vec::new(), Map::new());
        if !option.choices.is_empty() {
            let mut typed: Vec<Value> = option.choices.iter().filter_map(|choice| typed(choice)).collect();
            typed.extend(words(&option.choices));
            return Self { words: typed, types, limits, text: None };
        }
        let mut limit = |key: &str, value: Option<Value>| limits.extend(value.map(|value| (key.to_owned(), value)));
        let text = match &option.kind {
            ValueKind::Integer(range) => {
                types.extend(["integer", "string"]);
                limit("minimum", Some(range.min.into()));
                limit("maximum", (range.max != i64::MAX).then(|| range.max.into()));
                Some(text::INTEGER.to_owned())
            }
            ValueKind::Float(range) => {
                types.extend(["number", "string"]);
                limit("minimum", (range.min > f64::from(f32::MIN)).then(|| range.min.into()));
                limit("maximum", (range.max < f64::from(f32::MAX)).then(|| range.max.into()));
                Some(text::FLOAT.to_owned())
            }
            ValueKind::Flag | ValueKind::Json | ValueKind::Text => match option.path {
                Some(PathRole::Input { scaled: true, .. }) => {
                    types.push("string");
                    Some(format!("[^:]+:{}", text::FLOAT))
                }
                role => {
                    types.extend(["string", "number"]);
                    // An empty path is none.
                    limit("minLength", role.map(|_| 1.into()));
                    None
                }
            },
        };
        Self { words: words(&option.words), types, limits, text }
    }

    /// The same, if a text may contain several elements.
    fn joined(mut self, separator: char, option: &OptionSpec) -> Self {
        let separator = text::literally(&separator.to_string());
        let words: Vec<String> = self.words.iter().filter_map(Value::as_str).map(text::literally).collect();
        let is_typed = !matches!(option.kind, ValueKind::Text) || !option.choices.is_empty();
        let element = match &self.text {
            Some(text) => Some(words.into_iter().chain([text.clone()]).collect::<Vec<_>>().join("|")),
            None if !words.is_empty() => Some(words.join("|")),
            // A list of paths in one text is split at every comma, so it contains
            // no quotes.
            None if option.path.is_some() => Some("[^\",]+".to_owned()),
            None if separator == ";" => Some("[^,]*".to_owned()),
            None => None,
        };
        if element.is_some() && !self.types.contains(&"string") {
            self.types.push("string");
        }
        self.text = element.map(|element| {
            let blank = if is_typed { r"\s*" } else { "" };
            format!("{blank}({element}){blank}({separator}{blank}({element}){blank})*")
        });
        self
    }

    fn schema(&self) -> Value {
        let mut typed = self.limits.clone();
        match &self.types[..] {
            [] => {}
            [one] => drop(typed.insert("type".to_owned(), (*one).into())),
            several => drop(typed.insert("type".to_owned(), several.into())),
        }
        if let Some(text) = &self.text {
            typed.insert("pattern".to_owned(), format!("^({text})$").into());
        }
        match (&self.words[..], self.types.is_empty()) {
            ([], _) => Value::Object(typed),
            (words, true) => json!({ "enum": words }),
            (words, false) => json!({ "anyOf": [{ "enum": words }, typed] }),
        }
    }
}

/// The other way to write a choice besides text.
fn typed(choice: &str) -> Option<Value> {
    match choice {
        "on" => Some(true.into()),
        "off" => Some(false.into()),
        _ => choice.parse::<i64>().ok().filter(|number| number.to_string() == choice).map(Value::from),
    }
}

/// llama-server's default, if its help gives one that the option itself accepts:
/// `(default: 2048)`, but not `(default: same as --threads)`.
fn default(option: &OptionSpec) -> Option<Value> {
    let (_, rest) = option.help.split_once("default: ")?;
    let word = rest.split([',', ')', ';']).next()?.trim_matches('\'');
    let is_known = |words: &[String]| words.iter().any(|known| known == word);
    match &option.kind {
        ValueKind::Integer(_) if is_known(&option.choices) => typed(word),
        _ if is_known(&option.choices) => Some(word.into()),
        _ if !option.choices.is_empty() || option.list != ListStyle::Single => None,
        ValueKind::Flag => match word {
            "enabled" | "true" => Some(true.into()),
            "disabled" | "false" => Some(false.into()),
            _ => None,
        },
        ValueKind::Integer(_) if is_known(&option.words) => Some(word.into()),
        ValueKind::Integer(range) => word.parse().ok().filter(|n| (range.min..=range.max).contains(n)).map(Value::from),
        ValueKind::Float(range) => word.parse().ok().filter(|n| (range.min..=range.max).contains(n)).map(Value::from),
        ValueKind::Json | ValueKind::Text => None,
    }
}
