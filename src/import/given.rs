//! An option as a source sets it: its value, its name there, and where.

use serde_json::Value as Json;

use super::remark::SourceLocation;

/// A value in a source.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// No value: the name alone.
    Bare,
    /// Text, which may mean anything.
    Text(String),
    /// Several words.
    Words(Vec<String>),
    /// Typed.
    Json(Json),
}

impl Given {
    /// Formats it for people.
    pub fn shown(&self) -> String {
        match self {
            Self::Bare => String::new(),
            Self::Text(text) => text.clone(),
            Self::Words(words) => words.join(" "),
            Self::Json(Json::String(text)) => text.clone(),
            Self::Json(json) => json.to_string(),
        }
    }
}

/// One occurrence of an option.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// Whether its name is the negation.
    pub negated: bool,
    /// Its name in the source.
    pub spelt: String,
    /// Its value.
    pub given: Given,
    /// Where.
    pub place: SourceLocation,
    /// Name and value for people, without a secret.
    pub shown: String,
}

impl Occurrence {
    /// Whether it sets the same as `other`.
    pub fn is_same(&self, other: &Self) -> bool {
        self.negated == other.negated && self.given == other.given
    }

    /// Its value, if that is one text.
    pub fn text(&self) -> Option<&str> {
        match &self.given {
            Given::Text(text) => Some(text),
            _ => None,
        }
    }
}
