//! The closed sets of words of the store vocabulary (what people, JSON and
//! definitions use; `database::convert` knows the database's own words).

use serde::{Deserialize, Serialize};

/// The model family that a definition declares (`type = "…"`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelType {
    /// Llama and its relatives: the default.
    #[default]
    Llama,
    /// Mistral and its relatives.
    Mistral,
    /// Anything else.
    Other,
}

impl ModelType {
    /// Every word, for suggestions and schemas.
    pub const ALL: [Self; 3] = [Self::Llama, Self::Mistral, Self::Other];

    /// The word as definitions spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Other => "other",
        }
    }
}

/// What a model is doing, as people see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// No instance, and none is wanted (`stopped` in the database).
    #[default]
    Idle,
    /// An instance lives but is not ready yet.
    Loading,
    /// An instance is ready.
    Running,
    /// An instance is wanted, and none works.
    Error,
}

impl Status {
    /// Every word.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Loading, Self::Running, Self::Error];

    /// The word as people see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Loading => "loading",
            Self::Running => "running",
            Self::Error => "error",
        }
    }
}

/// What a definition wants (`state = "…"`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DesiredState {
    /// One ready instance: the default.
    #[default]
    Running,
    /// A record, and no instance.
    Stopped,
    /// An instance once a request asks for one, until no request has for a while.
    /// Where no gateway serves, it is right whether it runs or not.
    #[serde(rename = "on_demand")]
    OnDemand,
}

impl DesiredState {
    /// Every word.
    pub const ALL: [Self; 3] = [Self::Running, Self::Stopped, Self::OnDemand];

    /// The word as definitions spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::OnDemand => "on_demand",
        }
    }
}
