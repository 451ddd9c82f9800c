//! The name of a model.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A model's name: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
///
/// The pattern keeps a name usable as a file name (the log), an HTTP value and a
/// shell word, so it never contains a path separator, quote or newline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName(Arc<str>);

/// Why a text is not a model name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is empty.
    #[error("a model name cannot be empty")]
    Empty,
    /// The text is longer than 63 characters; the length in characters.
    #[error("a model name has at most 63 characters, this one has {0}")]
    TooLong(usize),
    /// The first character is not a letter or a digit.
    #[error("a model name starts with a letter or digit, not {0:?}")]
    Start(char),
    /// A later character is not allowed.
    #[error("a model name contains only letters, digits, `.`, `_` and `-`, not {0:?}")]
    Character(char),
}

impl ModelName {
    /// The most characters a name may have.
    pub const MAX_LENGTH: usize = 63;

    /// Checks `text` against the pattern.
    ///
    /// [`NameError`] says which part of the pattern it breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let mut characters = text.chars();
        let first = characters.next().ok_or(NameError::Empty)?;
        if !first.is_ascii_alphanumeric() {
            return Err(NameError::Start(first));
        }
        if let Some(bad) = characters.find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
            return Err(NameError::Character(bad));
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(NameError::TooLong(text.len()));
        }
        Ok(Self(text.into()))
    }

    /// The name as text that is shared, not copied.
    #[must_use]
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Borrow<str> for ModelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ModelName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.0.as_ref().to_owned()
    }
}

impl std::str::FromStr for ModelName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_letters_digits_dots_underscores_and_dashes() {
        for good in ["a", "7b", "Qwen3-8B.Q4_K_M", &"x".repeat(63)] {
            assert_eq!(ModelName::parse(good).map(String::from).as_deref(), Ok(good));
        }
        assert_eq!(ModelName::parse(""), Err(NameError::Empty));
        assert_eq!(ModelName::parse("-a"), Err(NameError::Start('-')));
        assert_eq!(ModelName::parse(".."), Err(NameError::Start('.')));
        assert_eq!(ModelName::parse("a/b"), Err(NameError::Character('/')));
        assert_eq!(ModelName::parse("a\nb"), Err(NameError::Character('\n')));
        assert_eq!(ModelName::parse("a\"b"), Err(NameError::Character('"')));
        assert_eq!(ModelName::parse(&"x".repeat(64)), Err(NameError::TooLong(64)));
    }
}
