//! The gateway: one address for all models.
//!
//! | file | holds |
//! |---|---|
//! | [`routes`] | where requests may go, as of the last pass |
//! | [`traffic`], `queue`, `in_flight` | what is asked for, as of now: the demand |
//! | [`publish`], [`publisher`] | the routes of a pass |
//! | [`lease`] | a request's right to use an instance, and the wait for it |
//! | [`naming`] | which model a request names, and its body |
//! | `looks` | the files that count at once when people change them |
//! | [`own`] | what the gateway answers itself |
//! | [`dispatch`] | a request, from its arrival to where it goes |
//! | `succeeded` | what becomes of requests once another herdsman has taken over |
//! | `forward`, `comments` | waiting for an instance, sending, sending again |
//! | `headers`, `passing`, `tunnel` | what passes, there and back |
//! | `upstream` | the connections to instances |
//! | [`errors`] | why a request fails, in the shape that its client expects |
//! | [`record`] | what is noted of each request |
//! | [`tokens`], [`activity`] | how many tokens it was; the last requests |
//!
//! Requests and passes share only this: a pass publishes [`Routes`] and reads the
//! [`Demand`]; a request takes a [`Lease`]. Neither waits for the other, but for
//! [`Gateway::withdraw`], which takes no longer than a lock.

pub mod activity;
mod comments;
pub mod dispatch;
pub mod errors;
mod fleet;
mod forward;
pub(in crate::serve) mod headers;
mod in_flight;
pub mod lease;
mod looks;
pub mod naming;
pub mod own;
mod passing;
pub mod publish;
pub mod publisher;
mod queue;
pub mod record;
pub mod routes;
pub(in crate::serve) mod succeeded;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
pub mod tokens;
pub mod traffic;
mod tunnel;
mod upstream;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

pub use in_flight::{InFlight, Unfinished};
pub use lease::{Asker, Lease, Refusal};
pub use routes::{Backend, Route, Routes, Standing};

use self::activity::Activity;
use self::traffic::Traffics;
use self::upstream::Pools;
use crate::model::{Demand, InstanceId, Timestamp};
use crate::owner::settings::serve::Serve;
use crate::serve::access::Access;

/// The gateway, shared by all that serve and by the watcher.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    settings: ArcSwap<Serve>,
    access: ArcSwap<Access>,
    /// Wakes those who wait for the first routes.
    published: Notify,
    traffics: Traffics,
    own: own::State,
    looks: looks::Looks,
    activity: Activity,
    pools: Pools,
    successor: OnceLock<Arc<Backend>>,
    /// Asks the watcher for a pass.
    ring: Box<dyn Fn() + Send + Sync>,
}

impl Gateway {
    /// Returns a gateway without a route yet. `ring` is called when the demand
    /// changes in a way that a pass should see.
    #[must_use]
    pub fn new(settings: Serve, ring: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            access: ArcSwap::from_pointee(Access::new(&settings)),
            settings: ArcSwap::from_pointee(settings),
            published: Notify::new(),
            traffics: Traffics::new(),
            own: own::State::default(),
            looks: looks::Looks::default(),
            activity: Activity::default(),
            pools: Pools::default(),
            successor: OnceLock::new(),
            ring: Box::new(ring),
        }))
    }

    /// Returns the owner's settings as they are now: for a moment. What is needed while
    /// something waits is cloned out of it, so that the threads share no counter here.
    #[must_use]
    pub fn settings(&self) -> Guard<Arc<Serve>> {
        self.0.settings.load()
    }

    /// Returns who may use what, by these settings: for a moment, as
    /// [`Gateway::settings`].
    #[must_use]
    pub fn access(&self) -> Guard<Arc<Access>> {
        self.0.access.load()
    }

    /// Replaces the owner's settings.
    pub fn set_settings(&self, settings: Serve) {
        self.0.access.store(Arc::new(self.access().changed_to(&settings)));
        self.0.settings.store(Arc::new(settings));
    }

    /// Asks the watcher for a pass.
    pub fn ring(&self) {
        (self.0.ring)();
    }

    /// Notes that the herdsman before this one had keys, whatever the settings name now.
    pub fn had_keys(&self) {
        self.0.access.store(Arc::new(Access::after_keys(&self.settings())));
    }

    /// Returns where requests may go now: for a moment, as [`Gateway::settings`].
    #[must_use]
    pub fn routes(&self) -> Guard<Arc<Routes>> {
        self.0.traffics.routes()
    }

    /// Returns where requests may go, once that is known: the first pass of a watcher
    /// takes a moment.
    pub async fn known_routes(&self) -> Arc<Routes> {
        loop {
            let mut published = std::pin::pin!(self.0.published.notified());
            // From here on, no publication goes unnoticed.
            published.as_mut().enable();
            let routes = self.routes();
            if routes.are_known() {
                return Guard::into_inner(routes);
            }
            drop(routes);
            published.await;
        }
    }

    /// Publishes the routes of a pass, and wakes the requests that wait for one. An
    /// instance that was withdrawn after the pass began stays withdrawn.
    pub fn publish(&self, routes: Routes) {
        let ready: HashSet<_> = routes.ready().map(|backend| backend.instance.clone()).collect();
        self.0.traffics.publish(routes);
        self.0.pools.close(|instance| !ready.contains(instance));
        self.0.published.notify_waiters();
        self.0.own.published();
    }

    /// Makes every request wait that has no instance yet: another herdsman is about to
    /// take over. Returns what is in flight at each instance; that only ends from now on.
    #[must_use]
    pub fn pause(&self) -> Unfinished {
        self.0.traffics.pause_all();
        self.unfinished()
    }

    /// Ends [`Gateway::pause`]: no herdsman has taken over.
    pub fn resume(&self) {
        self.0.traffics.resume_all();
    }

    /// Ends [`Gateway::pause`]: sends every request that has no instance yet to the
    /// herdsman that has taken over, which listens on the unix socket at `hall`.
    pub fn hand_over(&self, hall: &str) {
        // Only the first one counts.
        let _ = self.0.successor.set(Arc::new(Backend::successor(hall, String::new())));
        self.publish(self.routes().leading_to(hall));
        self.resume();
    }

    /// Returns the herdsman that has taken over.
    pub(super) fn successor(&self) -> Option<&Arc<Backend>> {
        self.0.successor.get()
    }

    /// Returns what is in flight at each instance, also of the herdsman before this one.
    #[must_use]
    pub fn unfinished(&self) -> Unfinished {
        let mut unfinished = self.0.traffics.unfinished();
        // What is sent on is in flight there.
        self.successor().into_iter().for_each(|to| _ = unfinished.remove(&to.instance));
        unfinished
    }

    /// Counts what the herdsman before this one is answering now as in flight: no pass
    /// stops a server under it.
    pub fn set_unfinished(&self, now: Unfinished) {
        if self.0.traffics.set_unfinished(now) {
            (self.0.ring)();
        }
    }

    /// Takes instances out of rotation: once this returns, no request that has not
    /// taken its [`Lease`] gets one.
    pub fn withdraw(&self, instances: &[InstanceId]) {
        self.0.traffics.withdraw(instances);
        self.0.pools.close(|instance| instances.contains(instance));
    }

    /// Takes a withdrawal back: by the routes as they are, instances get requests again.
    pub fn readmit(&self, instances: &[InstanceId]) {
        self.0.traffics.readmit(instances);
    }

    /// Returns the connections to instances.
    fn pools(&self) -> &Pools {
        &self.0.pools
    }

    /// Counts the requests that an instance is answering; polls only once it is out of
    /// rotation.
    #[must_use]
    pub fn in_flight(&self, instance: &InstanceId) -> u32 {
        self.0.traffics.in_flight(instance)
    }

    /// Returns the last requests.
    #[must_use]
    pub fn activity(&self) -> &Activity {
        &self.0.activity
    }

    /// Returns what is asked for, at `now`.
    #[must_use]
    pub fn demand(&self, now: Timestamp) -> Demand {
        self.0.traffics.demand(now, &self.settings())
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}
