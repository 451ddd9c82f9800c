//! How many clients are let in at once.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::seldom::Seldom;

/// What this process needs descriptors for besides clients, at most.
const OTHER_DESCRIPTORS: u64 = 128;

/// What a client's request needs: its connection, one to a server, and a file.
const DESCRIPTORS_EACH: u64 = 3;

/// The most connections at once, however many descriptors there are: the heads of so
/// many take a gigabyte.
const MOST_CONNECTIONS: usize = 10_000;

/// Returns how many connections may be open at once with so many descriptors.
pub(super) fn most_connections(descriptors: u64) -> usize {
    let most = (descriptors.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS_EACH).max(16);
    usize::try_from(most).map_or(MOST_CONNECTIONS, |most| most.min(MOST_CONNECTIONS))
}

/// Lets clients in, as many at once as there are places.
pub(super) struct Door {
    most: usize,
    places: Arc<Semaphore>,
    full: Seldom,
    failed: Seldom,
    unencrypted: Seldom,
}

impl Door {
    /// Each of the `listeners` holds a place while it waits for a client: one of them
    /// must not take it from the others.
    pub fn new(most: usize, listeners: usize) -> Self {
        let places = most.saturating_add(listeners.saturating_sub(1)).min(Semaphore::MAX_PERMITS);
        let (full, failed, unencrypted) = (Seldom::default(), Seldom::default(), Seldom::default());
        Self { most, places: Arc::new(Semaphore::new(places)), full, failed, unencrypted }
    }

    /// Waits for a place.
    pub async fn place(&self) -> Option<Arc<OwnedSemaphorePermit>> {
        if self.places.available_permits() == 0
            && let Some(times) = self.full.happens(Instant::now())
        {
            let most = self.most;
            let help = if most < MOST_CONNECTIONS { "; raise `ulimit -n`" } else { "" };
            tracing::warn!("{most} connections are open: others wait until one closes{times}{help}");
        }
        // It is never closed.
        Arc::clone(&self.places).acquire_owned().await.ok().map(Arc::new)
    }

    pub fn failed(&self, error: &io::Error) {
        if let Some(times) = self.failed.happens(Instant::now()) {
            tracing::warn!("cannot accept a connection: {error}{times}");
        }
    }

    pub fn unencrypted(&self, error: &io::Error) {
        if let Some(times) = self.unencrypted.happens(Instant::now()) {
            tracing::warn!("a client did not complete the TLS handshake: {error}{times}");
        }
    }
}
