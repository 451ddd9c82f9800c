//! An option as a source has it: its value, its name there, and where.

use serde_json::Value as Json;

use super::remark::SourceLocation;

/// A value as a source gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// None: the name alone.
    Bare,
    /// Text, which may stand for anything.
    Text(String),
    /// Several words.
    Words(Vec<String>),
    /// Typed.
    Json(Json),
}

impl Given {
    /// As people read it.
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

/// An option as it is stated once.
#[derive(Clone, Debug)]
pub struct Stated {
    /// Whether its name is the negation.
    pub negated: bool,
    /// Its name as the source has it.
    pub spelt: String,
    /// Its value.
    pub given: Given,
    /// Where.
    pub place: SourceLocation,
    /// Name and value as people read them, without a secret.
    pub shown: String,
}

impl Stated {
    /// Whether it says what `other` says.
    pub fn is_same(&self, other: &Self) -> bool {
        self.negated == other.negated && self.given == other.given
    }

    /// Its value, where that is one text.
    pub fn text(&self) -> Option<&str> {
        match &self.given {
            Given::Text(text) => Some(text),
            _ => None,
        }
    }
}
