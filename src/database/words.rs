//! The words of the columns `type` and `status`, and what they mean.

use crate::model::{ModelType, Status};

/// The words of the column `type`; the misspelling is part of the interface.
pub const TYPE_WORDS: [&str; 4] = ["llama", "gpt", "mistrall", "custom"];

/// The word of the column `type`.
#[must_use]
pub const fn word_of_type(model_type: ModelType) -> &'static str {
    match model_type {
        ModelType::Llama => "llama",
        ModelType::Mistral => "mistrall",
        ModelType::Other => "custom",
    }
}

/// What a word in the column `type` means.
#[must_use]
pub fn type_from_word(word: &str) -> ModelType {
    match word {
        "llama" => ModelType::Llama,
        "mistrall" | "mistral" => ModelType::Mistral,
        _ => ModelType::Other,
    }
}

/// The word of the column `status`.
#[must_use]
pub const fn word_of_status(status: Status) -> &'static str {
    match status {
        Status::Idle => "stopped",
        Status::Loading => "loading",
        Status::Running => "running",
        Status::Error => "error",
    }
}

/// What a word in the column `status` means.
#[must_use]
pub fn status_from_word(word: &str) -> Status {
    match word {
        "loading" => Status::Loading,
        "running" => Status::Running,
        "error" => Status::Error,
        _ => Status::Idle,
    }
}
