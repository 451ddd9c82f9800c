//! DEMAND: what clients ask of the models now. It is an input of the plan and
//! never recorded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ModelName, Timestamp};

/// What the clients of a gateway ask for, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// When the gateway began to serve: before that, nobody counted.
    pub since: Timestamp,
    /// How long the oldest waiting request of a full group waits before the gateway
    /// makes room for it although every member is busy (`[serve] max_wait`), in
    /// milliseconds.
    pub max_wait_ms: u64,
    /// The models that were asked for since then.
    pub models: BTreeMap<ModelName, Traffic>,
}

/// The requests for one model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Requests that wait until the model is ready.
    pub waiting: u32,
    /// When the oldest of them arrived.
    pub waiting_since: Option<Timestamp>,
    /// Requests that an instance is answering.
    pub in_flight: u32,
    /// When the last request that counts as use began or ended; while one is in
    /// flight, now. Polls are not counted.
    pub last_used: Option<Timestamp>,
    /// When a client asked to unload the model. A later request takes that back.
    pub unload: Option<Timestamp>,
}

impl Traffic {
    /// Whether a request needs the model to run.
    #[must_use]
    pub const fn is_asked_for(&self) -> bool {
        self.waiting > 0 || self.in_flight > 0
    }
}
