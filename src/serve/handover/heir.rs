//! Starts the successor beside the running watcher.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::{Gifts, Successor};
use crate::watch::machine::HandOver;

/// The sockets that a successor gets, and the successor once it is ready.
#[derive(Clone, Debug, Default)]
pub struct Heir(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    listeners: Vec<(String, OwnedFd)>,
    ready: Option<Successor>,
    /// One is being started.
    is_coming: bool,
}

impl Heir {
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
        let listeners = {
            let mut inner = self.lock();
            if std::mem::replace(&mut inner.is_coming, true) {
                return;
            }
            let copies = inner.listeners.iter().map(|(what, fd)| Ok((what.clone(), fd.try_clone()?)));
            copies.collect::<std::io::Result<Vec<_>>>()
        };
        let heir = self.clone();
        let start = move || {
            let started = listeners.map_err(|error| error.to_string()).and_then(|listeners| {
                Successor::start(Gifts { watch_lock, listeners }).map_err(|error| error.to_string())
            });
            let mut inner = heir.lock();
            inner.is_coming = false;
            match started {
                Ok(successor) => inner.ready = Some(successor),
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

    /// Takes the successor that is ready to begin.
    pub fn take(&self) -> Option<Successor> {
        self.lock().ready.take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
