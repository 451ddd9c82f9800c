//! What a model is doing, from its record and what was observed.

use super::{DesiredState, GenerationOutcome, Health, Instance, ModelRecord, Status};

impl Status {
    /// What a model with this record and this live instance is doing; and whether
    /// that is only the last known state, because it cannot be asked. `proven`:
    /// whether an instance that answers is known to serve its model.
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

/// Nothing is running: whatever was recorded as running or loading no longer is.
fn without_instance(record: Option<&ModelRecord>) -> Status {
    match record {
        Some(r) if r.state == DesiredState::Stopped => Status::Idle,
        Some(r) if r.status == Status::Error || r.crashes.count > 0 => Status::Error,
        Some(r) if matches!(r.generation.outcome, GenerationOutcome::Failed(_)) => Status::Error,
        Some(r) if r.status == Status::Running => Status::Error,
        _ => Status::Idle,
    }
}
