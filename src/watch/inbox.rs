//! Commands for the watcher, which its next pass carries out, permits for its passes, and
//! what keeps these from reading an edit that may be taken back.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use super::permit::{Follower, Permit};
use crate::pass::by_hand::{Answer, Asked};

/// A command, and who waits for its answer.
#[derive(Debug)]
pub struct Envelope {
    /// The command.
    pub asked: Asked,
    reply: Sender<Answer>,
}

impl Envelope {
    /// Answers the command. Nobody may be waiting any more.
    pub fn answer(self, answer: Answer) {
        let _gone = self.reply.send(answer);
    }
}

/// A queue of commands that any thread may add to.
#[derive(Clone)]
pub struct Inbox(Arc<Inner>);

struct Inner {
    /// `None` once the watcher has ended.
    waiting: Mutex<Option<VecDeque<Envelope>>>,
    /// Likewise.
    permits: Mutex<Option<Vec<(Permit, Follower)>>>,
    /// Held while an edit of the definitions may be taken back, and while they are read.
    definitions: Mutex<()>,
    /// Wakes the watcher.
    ring: Box<dyn Fn() + Send + Sync>,
}

impl Inbox {
    /// Makes an inbox that calls `ring` for every command.
    pub fn new(ring: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            waiting: Mutex::new(Some(VecDeque::new())),
            permits: Mutex::new(Some(Vec::new())),
            definitions: Mutex::default(),
            ring: Box::new(ring),
        }))
    }

    /// Leaves a command. Its answer comes once it is recorded or refused; if the
    /// receiver is disconnected instead, it could not be recorded.
    #[must_use]
    pub fn put(&self, asked: Asked) -> Receiver<Answer> {
        let (reply, answer) = channel();
        if let Some(waiting) = &mut *self.waiting() {
            waiting.push_back(Envelope { asked, reply });
        }
        self.wake();
        answer
    }

    /// Leaves a permit. If the follower is dropped unheard, the watcher ends.
    pub fn permit(&self, permit: Permit, follower: Follower) {
        if let Some(permits) = &mut *self.permits() {
            permits.push((permit, follower));
        }
        self.wake();
    }

    /// Takes all permits out.
    #[must_use]
    pub fn take_permits(&self) -> Vec<(Permit, Follower)> {
        self.permits().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Begins an edit of the definitions that may be taken back: until the guard is
    /// dropped, no pass of this watcher reads them. Wake the watcher then. Waits while
    /// they are read.
    pub fn edits(&self) -> MutexGuard<'_, ()> {
        self.0.definitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps edits away until the guard is dropped; `None`: one may yet be taken back.
    pub(super) fn reads(&self) -> Option<MutexGuard<'_, ()>> {
        match self.0.definitions.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Has the watcher look again.
    pub fn wake(&self) {
        (self.0.ring)();
    }

    /// Takes the oldest command out.
    #[must_use]
    pub fn take(&self) -> Option<Envelope> {
        self.waiting().as_mut()?.pop_front()
    }

    /// Drops what waits: the pass that was to record it has failed.
    pub fn refuse(&self) {
        if let Some(waiting) = &mut *self.waiting() {
            waiting.clear();
        }
    }

    /// Drops what is left, and from now on every command at once: the watcher ends.
    pub fn close(&self) {
        *self.waiting() = None;
        *self.permits() = None;
    }

    fn waiting(&self) -> MutexGuard<'_, Option<VecDeque<Envelope>>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permits(&self) -> MutexGuard<'_, Option<Vec<(Permit, Follower)>>> {
        self.0.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}
