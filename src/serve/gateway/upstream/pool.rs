//! The connections to each instance.
//!
//! A llama-server gives each open connection a thread of its own, out of a few (its
//! slots and four more), and an idle one holds it for 5 s. So few are kept, for a
//! short time, and none while another request may wait for a thread.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::Connection;
use crate::model::InstanceId;

/// How long an idle connection is kept. The server closes its end after 5 s.
const KEEP: Duration = Duration::from_secs(2);

/// How many connections may stay idle that long, those in use included: fewer than
/// the threads of any llama-server, so that one is free for requests to its own port.
const FEW: usize = 4;

/// How long an idle connection is kept beyond those: clients that ask again at once
/// still find it.
const TICK: Duration = Duration::from_millis(50);

/// The most idle connections.
const MOST_IDLE: usize = 64;

/// How long a new connection may be without an answer before idle ones make way: the
/// server may have no thread for it.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);

/// The pools of all instances.
#[derive(Debug, Default)]
pub struct Pools(Mutex<BTreeMap<InstanceId, Arc<Pool>>>);

impl Pools {
    /// Returns the pool of an instance.
    pub fn of(&self, instance: &InstanceId) -> Arc<Pool> {
        let mut pools = self.lock();
        if let Some(pool) = pools.get(instance) {
            return Arc::clone(pool);
        }
        Arc::clone(pools.entry(instance.clone()).or_default())
    }

    /// Closes the idle connections of the instances that `is_gone` names, and the busy
    /// ones once they are idle.
    pub fn close(&self, is_gone: impl Fn(&InstanceId) -> bool) {
        self.lock().retain(|instance, pool| {
            let is_gone = is_gone(instance);
            if is_gone {
                pool.close();
            }
            !is_gone
        });
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Arc<Pool>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connections to one instance.
#[derive(Default)]
pub struct Pool {
    inner: Mutex<Inner>,
    /// New connections that have been without an answer for too long.
    pressing: AtomicU32,
}

#[derive(Default)]
struct Inner {
    /// The last one is the one used last.
    idle: Vec<(Connection, Instant)>,
    busy: usize,
    is_closed: bool,
    /// Whether a task looks after the idle ones.
    is_swept: bool,
}

impl Pool {
    /// Returns an idle connection, if there is one that its server seems to keep open.
    pub fn take(self: &Arc<Self>) -> Option<Line> {
        let mut inner = self.lock();
        while let Some((mut connection, since)) = inner.idle.pop() {
            if since.elapsed() < KEEP && connection.is_quiet() {
                inner.busy += 1;
                return Some(Line { pool: Arc::clone(self), connection: Some(connection) });
            }
        }
        None
    }

    /// Counts a new connection.
    pub fn add(self: &Arc<Self>, connection: Connection) -> Line {
        self.lock().busy += 1;
        Line { pool: Arc::clone(self), connection: Some(connection) }
    }

    /// Closes the idle connections, and keeps none, until the result is dropped.
    pub fn press(&self) -> Pressing<'_> {
        self.pressing.fetch_add(1, Ordering::Relaxed);
        self.lock().idle.clear();
        Pressing(self)
    }

    fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        inner.idle.clear();
    }

    fn keep(self: &Arc<Self>, connection: Connection) {
        let mut inner = self.lock();
        let is_wanted = !inner.is_closed && inner.idle.len() < MOST_IDLE;
        if !is_wanted || self.pressing.load(Ordering::Relaxed) > 0 {
            return;
        }
        inner.idle.push((connection, Instant::now()));
        if !std::mem::replace(&mut inner.is_swept, true) {
            tokio::spawn(sweep(Arc::clone(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// Closes what has been idle for too long, until nothing is idle.
async fn sweep(pool: Arc<Pool>) {
    loop {
        tokio::time::sleep(TICK).await;
        let mut inner = pool.lock();
        let mut surplus = (inner.idle.len() + inner.busy).saturating_sub(FEW);
        inner.idle.retain(|(_, since)| {
            let idle = since.elapsed();
            let is_surplus = surplus > 0 && idle >= TICK;
            surplus -= usize::from(is_surplus);
            !is_surplus && idle < KEEP
        });
        if inner.idle.is_empty() {
            inner.is_swept = false;
            return;
        }
    }
}

/// A request waits for a thread of the server.
pub struct Pressing<'p>(&'p Pool);

impl Drop for Pressing<'_> {
    fn drop(&mut self) {
        self.0.pressing.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection in use; dropped, it is closed.
pub struct Line {
    pool: Arc<Pool>,
    /// `None` once it was given back.
    connection: Option<Connection>,
}

impl Line {
    /// Returns the connection.
    pub const fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// Gives the connection back, for another request.
    pub fn keep(mut self) {
        if let Some(connection) = self.connection.take().filter(|connection| connection.buffer.is_empty()) {
            self.pool.keep(connection);
        }
    }

    /// Takes the connection out, for something else than HTTP.
    pub const fn take(&mut self) -> Option<Connection> {
        self.connection.take()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.pool.lock().busy -= 1;
    }
}
