//! Starts the successor beside the running watcher.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::{Gifts, HALL, Hall, HandoverError, Successor};
use crate::state::StateDir;
use crate::watch::machine::HandOver;

/// The sockets that a successor gets, and the successor once it is ready.
#[derive(Clone, Debug)]
pub struct Heir {
    state: StateDir,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    listeners: Vec<(String, OwnedFd)>,
    ready: Option<(Successor, Hall)>,
    /// One is being started.
    is_coming: bool,
}

impl Heir {
    /// Returns the heir of the watcher of this state directory.
    #[must_use]
    pub fn new(state: StateDir) -> Self {
        Self { state, inner: Arc::default() }
    }

    /// Adds a listening socket, and what it is for.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn add(&self, what: String, listener: &impl AsFd) -> std::io::Result<()> {
        let listener = listener.as_fd().try_clone_to_owned()?;
        self.lock().listeners.push((what, listener));
        Ok(())
    }

    /// Returns what a watcher calls to hand over.
    #[must_use]
    pub fn starter(&self) -> HandOver {
        let heir = self.clone();
        Box::new(move |watch_lock, done| heir.start(watch_lock, done))
    }

    /// Starts a successor in a thread of its own, unless one is on its way; calls
    /// `done` once it is ready. If it fails, that is logged, and this watcher goes on.
    fn start(&self, watch_lock: File, done: Box<dyn FnOnce() + Send>) {
        {
            let mut inner = self.lock();
            if inner.ready.is_some() || std::mem::replace(&mut inner.is_coming, true) {
                return;
            }
        }
        let heir = self.clone();
        let start = move || {
            let started = heir.successor(watch_lock);
            let mut inner = heir.lock();
            inner.is_coming = false;
            match started {
                Ok(ready) => inner.ready = Some(ready),
                Err(error) => return tracing::error!("not handed over, this herdsman goes on: {error}"),
            }
            drop(inner);
            done();
        };
        if let Err(error) = thread::Builder::new().name("handover".to_owned()).spawn(start) {
            self.lock().is_coming = false;
            tracing::error!("not handed over, this herdsman goes on: {error}; too many threads?");
        }
    }

    fn successor(&self, watch_lock: File) -> Result<(Successor, Hall), HandoverError> {
        let hall = Hall::open(&self.state).map_err(HandoverError::Hall)?;
        let copies: std::io::Result<Vec<_>> = {
            let inner = self.lock();
            let all = inner.listeners.iter().map(|(what, fd)| (what.as_str(), fd.as_fd()));
            let all = all.chain([(HALL, hall.listener().as_fd())]);
            all.map(|(what, fd)| Ok((what.to_owned(), fd.try_clone_to_owned()?))).collect()
        };
        let listeners = copies.map_err(HandoverError::Hall)?;
        Ok((Successor::start(Gifts { watch_lock, listeners })?, hall))
    }

    /// Takes the successor that is ready to begin, and where this process sends what
    /// it cannot answer any more.
    #[must_use]
    pub fn take(&self) -> Option<(Successor, Hall)> {
        let mut inner = self.lock();
        // Else the addresses would stay taken until the last request here is over.
        inner.listeners.clear();
        inner.ready.take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
