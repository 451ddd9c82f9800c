//! Who may use what.

use std::sync::Arc;

use crate::model::ModelName;

/// Who sent a request, and what they may use.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name of their key; `None`: no key is needed here.
    pub name: Option<Arc<str>>,
    /// Patterns of the models they may use, with `*`.
    pub models: Arc<[String]>,
    /// Whether they may change what runs.
    pub admin: bool,
}

impl Caller {
    /// Returns the caller that needs no key: it may use and change everything.
    #[must_use]
    pub fn anyone() -> Self {
        Self { name: None, models: Arc::from(["*".to_owned()]), admin: true }
    }

    /// Whether they may use this model.
    #[must_use]
    pub fn may_use(&self, model: &ModelName) -> bool {
        self.models.iter().any(|pattern| matches(pattern, model.as_str()))
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
}
