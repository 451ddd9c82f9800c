//! The requests for one model that have no instance yet, in the order in which they go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;

use super::routes::Backend;
use crate::model::{InstanceId, ModelName};

/// The traffic of a model.
#[derive(Default)]
pub(super) struct ModelTraffic {
    /// The requests that have no instance yet, in order of arrival.
    pub queue: BTreeMap<Place, Waiter>,
    /// How many of them are a use.
    pub waiting: usize,
    /// Uses in flight.
    pub in_flight: u32,
    pub last_used: Option<Instant>,
    pub unload: Option<Instant>,
    /// Whether a pass was asked for since a request entered last.
    pub has_rung: bool,
    pub next: u64,
}

/// A place in the queue: when the request arrived, here or at the herdsman before this
/// one, and a number, since two may arrive at once.
pub(super) type Place = (Instant, u64);

/// A request that has no instance yet.
pub(super) struct Waiter {
    pub uses: bool,
    /// Wakes it; `None`: it does not wait yet.
    pub wake: Option<Arc<Notify>>,
    pub avoids: Option<Avoided>,
}

/// An instance that failed a request, and when.
pub(super) type Avoided = (InstanceId, Instant);

/// A request, in the queue of its model.
#[derive(Debug)]
pub(super) struct Ticket {
    pub model: ModelName,
    pub number: u64,
    pub arrived: Instant,
    /// Whether it is a use of the model, and not a poll.
    pub uses: bool,
}

impl Ticket {
    pub const fn place(&self) -> Place {
        (self.arrived, self.number)
    }
}

impl ModelTraffic {
    pub fn insert(&mut self, ticket: &Ticket, avoids: Option<Avoided>) {
        let waiter = Waiter { uses: ticket.uses, wake: None, avoids };
        if self.queue.insert(ticket.place(), waiter).is_none() {
            self.waiting += usize::from(ticket.uses);
        }
    }

    /// Whether it was still there.
    pub fn remove(&mut self, ticket: &Ticket) -> bool {
        let was_there = self.queue.remove(&ticket.place()).is_some();
        self.waiting -= usize::from(ticket.uses && was_there);
        was_there
    }

    /// Returns what wakes this request from now on.
    pub fn wait(&mut self, ticket: &Ticket) -> Arc<Notify> {
        let wake = self.queue.get_mut(&ticket.place()).map(|waiter| waiter.wake.get_or_insert_default());
        wake.map(|wake| Arc::clone(wake)).unwrap_or_default()
    }

    /// The uses that wait for a place at this instance, the oldest first.
    pub fn queued_for<'t>(
        &'t self,
        backend: &'t Backend,
        began: Instant,
    ) -> impl Iterator<Item = (&'t Place, &'t Waiter)> {
        let wants = move |waiter: &Waiter| {
            waiter.uses && waiter.wake.is_some() && !is_avoided(waiter.avoids.as_ref(), backend, began)
        };
        self.queue.iter().filter(move |(_, waiter)| wants(waiter))
    }
}

/// Whether a request does not go to this instance: it failed it, and no later pass,
/// which began at `began`, has found it ready. Once another herdsman has taken over,
/// no later pass comes and there is nowhere else to go.
pub(super) fn is_avoided(avoids: Option<&Avoided>, backend: &Backend, began: Instant) -> bool {
    !backend.is_successor() && avoids.is_some_and(|(id, at)| *id == backend.instance && began <= *at)
}
