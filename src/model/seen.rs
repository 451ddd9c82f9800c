//! What a model does, by what is recorded of it and what was seen.

use super::{DesiredState, GenerationOutcome, Health, Instance, ModelRecord, Status};

impl Status {
    /// What a model with this record and this live instance does; and whether
    /// that is only what was last known, because it cannot be asked. `proven`
    /// says whether one that answers is known to serve its model.
    #[must_use]
    pub fn seen(record: Option<&ModelRecord>, live: Option<&Instance>, proven: bool) -> (Self, bool) {
        match live.map(|live| &live.health) {
            Some(Health::Ready) if proven => (Self::Running, false),
            Some(Health::Ready | Health::Loading | Health::NotListening | Health::Wrapped { .. }) => {
                (Self::Loading, false)
            }
            Some(Health::Unanswered(_)) => (record.map_or(Self::Loading, |record| record.status), true),
            None => (without_instance(record), false),
        }
    }
}

/// Nothing runs: whatever was recorded as running or loading is not any more.
fn without_instance(record: Option<&ModelRecord>) -> Status {
    match record {
        Some(r) if r.state == DesiredState::Stopped => Status::Idle,
        Some(r) if r.status == Status::Error || r.crashes.count > 0 => Status::Error,
        Some(r) if matches!(r.generation.outcome, GenerationOutcome::Failed(_)) => Status::Error,
        Some(r) if r.status == Status::Running => Status::Error,
        _ => Status::Idle,
    }
}
