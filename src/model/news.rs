//! What others are told: of troubles, and that they are over.

use serde::{Deserialize, Serialize};

use super::{ModelName, Timestamp};

/// What there is to tell of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewsKind {
    /// What is declared does not start, and nothing serves in its place.
    Failed,
    /// What is declared does not start; what served before serves again.
    RolledBack,
    /// It ends again and again.
    CrashLooping,
    /// Another program changed or deleted its row, which is put back.
    Drifted,
    /// All that was told is over.
    Recovered,
}

impl NewsKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Failed, Self::RolledBack, Self::CrashLooping, Self::Drifted, Self::Recovered];

    /// The word for it in settings, payloads and the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::CrashLooping => "crash_looping",
            Self::Drifted => "drifted",
            Self::Recovered => "recovered",
        }
    }

    /// Returns what the model did, for people: `webhook for m (rolled back)`.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
            Self::CrashLooping => "keeps crashing",
            Self::Drifted => "changed by another program",
            Self::Recovered => "recovered",
        }
    }
}

/// A way to tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// A program that is run.
    Command,
    /// An address that is POSTed to.
    Webhook,
}

impl Channel {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Command, Self::Webhook];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Webhook => "webhook",
        }
    }
}

/// Something to be delivered, by each of its channels by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The same on every try, so that a receiver can drop repeats.
    pub id: String,
    /// When it came to be.
    pub at: Timestamp,
    /// Of which model.
    pub model: ModelName,
    /// What it tells.
    pub kind: NewsKind,
    /// The payload, JSON.
    pub body: String,
    /// How it is delivered.
    pub channels: Vec<Channel>,
}

/// What is recorded of the telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Telling {
    /// From now on there is somebody to tell. What was so before is not news.
    Begin,
    /// A trouble of a model has begun; without a letter it is only remembered.
    Open {
        /// The model.
        model: ModelName,
        /// What kind of trouble.
        kind: NewsKind,
        /// What tells it from another of its kind.
        about: String,
        /// When.
        at: Timestamp,
        /// What to tell.
        letter: Option<Letter>,
    },
    /// All troubles of a model are over.
    Close {
        /// The model.
        model: ModelName,
        /// What to tell.
        letter: Option<Letter>,
    },
}

/// What is remembered of a trouble that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its kind.
    pub kind: NewsKind,
    /// What tells it from another of its kind.
    pub about: String,
    /// Whether anybody was told.
    pub told: bool,
    /// Since when.
    pub since: Timestamp,
}
