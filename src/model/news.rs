//! Notifications: news of troubles, and of their end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ModelName, Timestamp};

/// A kind of news about a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewsKind {
    /// The declared generation does not start, and nothing serves in its place.
    Failed,
    /// The declared generation does not start; the previous one serves again.
    RolledBack,
    /// It keeps crashing.
    CrashLooping,
    /// Another program changed or deleted its row, which herdsman restores.
    Drifted,
    /// All reported troubles are over.
    Recovered,
}

impl NewsKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Failed, Self::RolledBack, Self::CrashLooping, Self::Drifted, Self::Recovered];

    /// Its word in settings, payloads and the database.
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

    /// What the model did, for people.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
            Self::CrashLooping => "crash looping",
            Self::Drifted => "changed by another program",
            Self::Recovered => "recovered",
        }
    }
}

/// A way to deliver news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// A program to run.
    Command,
    /// A URL to POST to.
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

/// A notification, delivered separately by each of its channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The same id on every try, so that a receiver can drop duplicates.
    pub id: String,
    /// When it happened.
    pub at: Timestamp,
    /// The model.
    pub model: ModelName,
    /// The kind of news.
    pub kind: NewsKind,
    /// The payload, JSON.
    pub body: String,
    /// The channels that deliver it.
    pub channels: Vec<Channel>,
}

/// What to record about notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Telling {
    /// From now on there is a receiver. Earlier events are not news.
    Begin,
    /// A trouble of a model has begun; without a letter it is only recorded.
    Open {
        /// The model.
        model: ModelName,
        /// The kind of trouble.
        kind: NewsKind,
        /// Distinguishes it from another of its kind.
        about: String,
        /// When.
        at: Timestamp,
        /// The notification to send.
        letter: Option<Letter>,
    },
    /// All troubles of a model are over.
    Close {
        /// The model.
        model: ModelName,
        /// The notification to send.
        letter: Option<Letter>,
    },
}

/// A recorded trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Its kind.
    pub kind: NewsKind,
    /// Distinguishes it from another of its kind.
    pub about: String,
    /// Whether anybody was notified.
    pub is_announced: bool,
    /// Since when.
    pub since: Timestamp,
}

/// What was announced so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    /// Whether notifications were ever configured.
    pub begun: bool,
    /// The troubles that are not over.
    pub troubles: BTreeMap<ModelName, Vec<Trouble>>,
}
