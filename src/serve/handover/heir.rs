//! Starts the successor beside the running watcher.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::{Gifts, HALL, Hall, HandoverError, Successor};
use crate::serve::gateway::Gateway;
use crate::serve::server::SocketFile;
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
    socket_files: Vec<SocketFile>,
    /// What serves here, if anything does.
    gateway: Option<Gateway>,
    ready: Option<(Successor, Hall)>,
    /// One has begun, and this watcher is to end.
    begun: Option<(Successor, Hall)>,
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

    /// Notes the files of unix sockets that herdsman made itself: the successor removes
    /// them when it ends.
    pub fn owns(&self, socket_files: &[SocketFile]) {
        self.lock().socket_files.extend_from_slice(socket_files);
    }

    /// Notes what serves in this process: the successor needs to know its requests.
    pub fn serves(&self, gateway: Gateway) {
        self.lock().gateway = Some(gateway);
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
        let socket_files = self.lock().socket_files.clone();
        Ok((Successor::start(Gifts { watch_lock, listeners, socket_files })?, hall))
    }

    /// Keeps no listening socket open any more: there will be no successor.
    pub fn end(&self) {
        self.lock().listeners.clear();
    }

    /// Takes the successor that has begun, and where this process sends what it cannot
    /// answer any more.
    #[must_use]
    pub fn take(&self) -> Option<(Successor, Hall)> {
        self.lock().begun.take()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HandOver for Heir {
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

    /// Lets the successor begin that is ready. If it fails, that is logged, and this
    /// watcher goes on.
    fn go(&self) -> Option<u32> {
        let mut inner = self.lock();
        let (successor, hall) = inner.ready.take()?;
        // From here on no request goes to a server that the successor may stop.
        let unfinished = inner.gateway.as_ref().map(Gateway::pause).unwrap_or_default();
        match successor.go(unfinished) {
            Ok(successor) => {
                let pid = successor.pid();
                inner.begun = Some((successor, hall));
                // Else the addresses would stay taken until the last request here is over.
                inner.listeners.clear();
                Some(pid)
            }
            Err(error) => {
                inner.gateway.iter().for_each(Gateway::resume);
                tracing::error!("not handed over, this herdsman goes on: {error}");
                None
            }
        }
    }
}
