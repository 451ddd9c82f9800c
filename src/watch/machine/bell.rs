//! The bell that other threads ring to wake the watcher.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::EventfdFlags;

/// Why it was rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ring {
    /// Something in a watched directory changed, or may have.
    Files,
    /// Somebody wrote to the database, perhaps herdsman itself.
    Database,
    /// Someone left a command in the inbox.
    Command,
    /// Clients ask for something else than before.
    Demand,
    /// SIGHUP.
    Hangup,
    /// A child of process 1 exited: it must be reaped.
    Child,
    /// A llama-server has answered.
    LlamaServer,
    /// An attempt to deliver a notification is over.
    Delivered,
    /// SIGUSR2: another herdsman is to take over.
    HandOver,
    /// That one is ready, or will not be.
    Successor,
    /// SIGTERM or SIGINT.
    Stop,
}

/// A bell that many may ring: however often, it is answered once.
#[derive(Clone, Debug)]
pub(super) struct Bell(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    event: OwnedFd,
    rung: Mutex<BTreeSet<Ring>>,
}

impl Bell {
    pub fn new() -> io::Result<Self> {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Inner { event, rung: Mutex::default() })))
    }

    pub fn ring(&self, why: Ring) {
        let first = self.rung().insert(why);
        if first {
            // Fails only if it has been rung 2^64 times and not answered.
            let _ = rustix::io::write(&self.0.event, &1_u64.to_ne_bytes());
        }
    }

    /// Everything it was rung for since the last answer.
    pub fn answer(&self) -> BTreeSet<Ring> {
        let mut count = [0; 8];
        // Nothing to read where nobody rang.
        let _ = rustix::io::read(&self.0.event, &mut count);
        std::mem::take(&mut *self.rung())
    }

    fn rung(&self) -> std::sync::MutexGuard<'_, BTreeSet<Ring>> {
        self.0.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}
