//! What instances are answering, as herdsmen say it to each other when one takes over.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{InstanceId, ModelName};

/// Every instance that is answering requests.
pub type Unfinished = BTreeMap<InstanceId, InFlight>;

/// The requests that an instance is answering.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    pub(super) model: ModelName,
    pub(super) all: u32,
    /// Those of them that are a use, and no poll.
    pub(super) uses: u32,
}

impl InFlight {
    pub(super) const fn none(model: ModelName) -> Self {
        Self { model, all: 0, uses: 0 }
    }

    pub(super) fn add(&mut self, all: u32, uses: u32) {
        self.all = self.all.saturating_add(all);
        self.uses = self.uses.saturating_add(uses);
    }
}
