//! What is wrong with the value of an option.

/// Why a value does not fit its option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueProblem {
    /// What is wrong, in one sentence.
    pub message: String,
    /// A few words under the caret.
    pub label: Option<String>,
    /// The fix, in the imperative.
    pub help: Option<String>,
}

impl ValueProblem {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), label: None, help: None }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
