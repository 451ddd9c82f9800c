//! The outcome of looking at one model.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::super::Finding;
use super::super::input::{Binary, Input, Question};
use super::super::reason::Reason;
use super::super::waiting::WaitFor;
use crate::model::{
    Change, Crashes, Health, Instance, InstanceRecord, InstanceState, Origin, Spec, SpecHash, StopTarget,
};

/// What one model needs.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// The action, before any limit.
    pub wish: Wish,
    /// Its reasons.
    pub reasons: Vec<Reason>,
    /// Record changes that go with it.
    pub changes: Vec<Change>,
    /// That a dry run took the command line: recorded after the generation.
    pub accepted: Option<Change>,
    /// Second instances, and what others left, to stop.
    pub duplicates: Vec<StopWish>,
    /// What it waits for.
    pub waits: Vec<WaitFor>,
    /// What it would wait for if a request asked for it now: nobody does, or in vain.
    pub on_request: Vec<WaitFor>,
    /// What it waits for as well while something holds its restart back.
    pub held_back_waits: Option<WaitFor>,
    /// What may be left of instances whose stop was cut short; their records go
    /// with the bookkeeping.
    pub remains: Vec<StopTarget>,
    /// Observed facts to write whatever happens.
    pub bookkeeping: Vec<Change>,
    /// What happened.
    pub findings: Vec<Finding>,
    /// What must be answered first.
    pub questions: Vec<Question>,
    /// It was ready once, so while it starts it is missing: its start takes a
    /// restart's slot.
    pub missing: bool,
    /// One of its instances is leaving, or coming to replace one, now.
    pub restarting: bool,
    /// It has an instance that loads now.
    pub loading: bool,
    /// The lines whose edit failed on it.
    pub failed_origins: Vec<Origin>,
    /// Its definition is gone, and only its suspension keeps it.
    pub removed_and_suspended: bool,
}

impl Decision {
    /// Nothing to do, to record, to say or to ask: the model is as declared.
    pub fn is_empty(&self) -> bool {
        let Self {
            wish,
            reasons: _,
            changes: _,
            accepted: _,
            duplicates,
            waits,
            on_request: _,
            held_back_waits: _,
            remains: _,
            bookkeeping,
            findings,
            questions,
            missing: _,
            restarting,
            loading,
            failed_origins,
            removed_and_suspended: _,
        } = self;
        matches!(wish, Wish::Nothing)
            && duplicates.is_empty()
            && waits.is_empty()
            && bookkeeping.is_empty()
            && findings.is_empty()
            && questions.is_empty()
            && !restarting
            && !loading
            && failed_origins.is_empty()
    }
}

/// The action one model needs.
#[derive(Clone, Debug, Default)]
pub enum Wish {
    /// None.
    #[default]
    Nothing,
    /// Its record alone.
    Record,
    /// A first record, and perhaps a first instance.
    Create(Option<Box<StartWish>>),
    /// A record for its live instance.
    Adopt,
    /// An instance.
    Start(Box<StartWish>),
    /// Another instance instead of this one.
    Restart(Box<StopWish>, Box<StartWish>),
    /// No instance.
    Stop(Box<StopWish>),
    /// Neither instance nor record.
    Delete(Option<Box<StopWish>>),
}

/// An instance to stop.
#[derive(Clone, Debug)]
pub struct StopWish {
    /// Whom.
    pub target: StopTarget,
    /// Its record.
    pub record: Option<InstanceRecord>,
    /// How long requests in flight may take; `None`: it is not asked.
    pub drain: Option<Duration>,
    /// A gateway may send it requests: it was ready, or no record tells.
    pub is_routed: bool,
    /// It has failed, and its model's status says how.
    pub failed: bool,
}

/// An instance to start: of what. Its port and its command line are made with
/// all models in sight, by `schedule`.
#[derive(Clone, Debug)]
pub struct StartWish {
    /// The spec it serves.
    pub spec: Spec,
    /// The hash it is known by.
    pub hash: SpecHash,
    /// The generation it serves.
    pub generation: u32,
    /// Where it serves.
    pub port: Lease,
    /// Further names it answers to.
    pub aliases: Vec<String>,
    /// The definition's absolute path.
    pub definition: Arc<str>,
    /// Its log must say how many layers are on a GPU.
    pub tells_layers: bool,
    /// The llama-server it runs.
    pub binary: Binary,
    /// The crashes before it.
    pub crashes: Crashes,
}

/// The port that an instance is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// The one that its model has or is assigned.
    Own,
    /// This one, which its generation or the instance before it has; `None`: a
    /// unix socket, or a free one that `schedule` finds.
    On(Option<u16>),
}

pub(super) fn target(live: &Instance, force: bool) -> StopTarget {
    let socket = live.address.socket().map(PathBuf::from);
    StopTarget { id: live.id.clone(), model: live.model.clone(), handle: live.handle.clone(), force, socket }
}

/// Whether a gateway may send requests to a live instance.
pub(super) fn is_routed(input: &Input<'_>, recorded: Option<&InstanceRecord>) -> bool {
    input.site.has_gateway && recorded.is_none_or(|recorded| recorded.ready.is_some())
}

/// A stop that waits for requests in flight, if there can be any: from clients that
/// use its port, or from a gateway that knows it as ready. Without a record there is
/// nowhere to remember until when.
pub(super) fn stop(
    input: &Input<'_>,
    live: &Instance,
    recorded: Option<&InstanceRecord>,
    drain: Option<Duration>,
) -> Box<StopWish> {
    let state = recorded.map(|r| r.state);
    let is_routed = is_routed(input, recorded);
    let is_deaf = matches!(live.health, Health::Loading | Health::NotListening | Health::Wrapped { .. });
    let idle = matches!(state, None | Some(InstanceState::Stopping)) || is_deaf && !is_routed;
    Box::new(StopWish {
        target: target(live, false),
        record: recorded.cloned(),
        drain: drain.filter(|_| !idle),
        is_routed,
        failed: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_as_declared_needs_nothing() {
        assert!(Decision::default().is_empty());
        assert!(!Decision { restarting: true, ..Decision::default() }.is_empty());
        assert!(!Decision { loading: true, ..Decision::default() }.is_empty());
    }
}
