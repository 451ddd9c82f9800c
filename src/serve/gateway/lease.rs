//! A request's right to use an instance, and the wait for it.
//!
//! ```text
//!   Gateway::ask ──► Asker ── lease ──► Lease ── dropped: the request is over
//!                      │  ▲               │
//!              dropped: │  └── failed ─────┘  before a byte of an answer: again
//!              it left  ▼
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Gateway;
use super::queue::Ticket;
use super::routes::Backend;
use super::traffic::Entry;
use crate::model::ModelName;

/// Why a request gets no instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such model (any more).
    #[error("there is no model {0:?}")]
    Unknown(String),
    /// herdsman will not start it: why.
    #[error("{0}")]
    Unavailable(String),
    /// It waited as long as it may (`[serve] hold`).
    #[error("the model was not ready within {}", crate::model::text::duration(*.0))]
    TimedOut(Duration),
    /// Too many requests wait for this model (`[serve] max_waiting`).
    #[error("{} already waiting (`[serve] max_waiting`)", crate::model::text::count(*.0, "request"))]
    TooMany(usize),
    /// The request starts nothing, and the model is not running.
    #[error("it is not running")]
    NotRunning,
}

/// A request that asks for a model: it counts as waiting until it has a [`Lease`],
/// and when it is dropped it has left.
#[derive(Debug)]
pub struct Asker {
    gateway: Gateway,
    ticket: Ticket,
}

impl Gateway {
    /// Registers a request for `model` that arrived at `arrived`. One that does not
    /// use the model (`uses`: a poll) neither starts it nor keeps it awake.
    ///
    /// # Errors
    /// It cannot start, or too many requests wait for it already.
    pub fn ask(&self, model: &ModelName, arrived: Instant, uses: bool) -> Result<Asker, Refusal> {
        self.ask_among(self.settings().max_waiting, model, arrived, uses)
    }

    /// As [`Gateway::ask`], for a request that the herdsman before this one let wait:
    /// however many do.
    ///
    /// # Errors
    /// It cannot start.
    pub(super) fn ask_again(&self, model: &ModelName, arrived: Instant, uses: bool) -> Result<Asker, Refusal> {
        self.ask_among(usize::MAX, model, arrived, uses)
    }

    fn ask_among(&self, most: usize, model: &ModelName, arrived: Instant, uses: bool) -> Result<Asker, Refusal> {
        let traffics = &self.0.traffics;
        let ticket = traffics.arrive(model, arrived, uses, most).inspect_err(|refusal| {
            if uses && matches!(refusal, Refusal::Unavailable(_)) && traffics.doubts(model) {
                (self.0.ring)();
            }
        })?;
        Ok(Asker { gateway: self.clone(), ticket })
    }
}

impl Gateway {
    /// Leases this very instance, in rotation or not, for a request about something
    /// that only it has. That is no use of the model.
    pub(super) fn lease_of(&self, model: ModelName, backend: Arc<Backend>) -> Lease {
        self.0.traffics.enter_regardless(&model, &backend.instance);
        Lease { gateway: self.clone(), model, backend, uses: false }
    }
}

impl Asker {
    /// Returns the model that it asks for.
    #[must_use]
    pub const fn model(&self) -> &ModelName {
        &self.ticket.model
    }

    /// Waits for an instance, `[serve] hold` at most from the request's arrival.
    /// Requests for one model get theirs in the order in which they arrived.
    ///
    /// # Errors
    /// Says why the request cannot be answered.
    pub async fn lease(&self) -> Result<Lease, Refusal> {
        self.lease_noting(|| {}).await
    }

    /// As [`Asker::lease`]; calls `held` if it waits because no instance is ready.
    pub(super) async fn lease_noting(&self, held: impl FnMut()) -> Result<Lease, Refusal> {
        let hold = self.gateway.settings().hold;
        let Some(hold) = hold else { return self.wait(held).await };
        let deadline = tokio::time::Instant::from_std(self.ticket.arrived + hold);
        tokio::time::timeout_at(deadline, self.wait(held)).await.unwrap_or(Err(Refusal::TimedOut(hold)))
    }

    /// Notes that the leased instance failed before a byte of its answer: the next
    /// lease is for another one, or for this one once a later pass finds it ready.
    /// The request is waiting again, at its old place in the queue.
    pub fn failed(&mut self, lease: Lease) {
        let avoided = (lease.backend.instance.clone(), Instant::now());
        self.gateway.0.traffics.return_to_queue(&self.ticket, avoided);
        drop(lease);
        (self.gateway.0.ring)();
    }

    async fn wait(&self, mut held: impl FnMut()) -> Result<Lease, Refusal> {
        let traffics = &self.gateway.0.traffics;
        let mut paused = None;
        loop {
            match traffics.enter(&self.ticket)? {
                Entry::Enter(backend) => {
                    return Ok(Lease {
                        gateway: self.gateway.clone(),
                        model: self.ticket.model.clone(),
                        backend,
                        uses: self.ticket.uses,
                    });
                }
                Entry::Wait { wake, is_held, rings } => {
                    // Others go first while this one does not wait, but is not over either.
                    paused.get_or_insert_with(|| AtEnd(|| traffics.pause(&self.ticket)));
                    if is_held {
                        held();
                    }
                    if rings {
                        (self.gateway.0.ring)();
                    }
                    wake.notified().await;
                }
            }
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if self.gateway.0.traffics.leave(&self.ticket) {
            (self.gateway.0.ring)();
        }
    }
}

/// Does something when it goes out of scope.
struct AtEnd<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A request's right to use an instance: it is in flight until this is dropped.
#[derive(Debug)]
pub struct Lease {
    gateway: Gateway,
    model: ModelName,
    backend: Arc<Backend>,
    uses: bool,
}

impl Lease {
    /// Returns the model.
    #[must_use]
    pub const fn model(&self) -> &ModelName {
        &self.model
    }

    /// Returns the instance.
    #[must_use]
    pub const fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.gateway.0.traffics.end(&self.model, &self.backend.instance, self.uses) {
            (self.gateway.0.ring)();
        }
    }
}
