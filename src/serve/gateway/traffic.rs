//! What is asked for: requests waiting and in flight, and when each model was used
//! last. One short lock; nothing waits while it holds it.
//!
//! Invariants:
//! - A request enters an instance only by the newest routes, and never one that is
//!   withdrawn: routes, withdrawals and counts change under the same lock.
//! - Of the requests for one model, the older enters first.
//! - However many wait for a model, a pass is asked for once until one of them enters
//!   or all have left.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

use super::in_flight::{InFlight, Unfinished};
use super::lease::Refusal;
use super::queue::{Avoided, ModelTraffic, Ticket, is_avoided};
use super::routes::{Backend, Routes, Standing};
use crate::model::{Demand, InstanceId, ModelName, Timestamp, Traffic};
use crate::owner::settings::serve::Serve;

/// The traffic of all models, and where it may go.
pub(super) struct Traffics {
    began: Instant,
    /// Replaced under the lock, read without it by everyone who only looks.
    routes: ArcSwap<Routes>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    models: BTreeMap<ModelName, ModelTraffic>,
    instances: BTreeMap<InstanceId, InFlight>,
    /// Instances out of rotation, and since when.
    withdrawn: HashMap<InstanceId, Instant>,
    /// Whether every request has to wait.
    is_paused: bool,
    /// What the herdsman before this one is still answering: counted in the others, too.
    unfinished: Unfinished,
    /// When a refused request asked for a pass last.
    doubted: Option<Instant>,
}

/// What a request that wants an instance finds.
pub(super) enum Entry {
    /// It may go there; it is counted as in flight.
    Enter(Arc<Backend>),
    /// It has to wait until it is woken.
    Wait {
        wake: Arc<Notify>,
        /// Whether no instance is ready; else one is, and is full.
        is_held: bool,
        /// Whether a pass should see that it waits.
        rings: bool,
    },
}

impl Traffics {
    pub fn new() -> Self {
        Self { began: Instant::now(), routes: ArcSwap::from_pointee(Routes::default()), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn routes(&self) -> Guard<Arc<Routes>> {
        self.routes.load()
    }

    /// Replaces the routes, wakes everyone, and forgets what is no longer so:
    /// withdrawals that the pass has seen, models that are gone and that nobody
    /// asks for.
    pub fn publish(&self, routes: Routes) {
        let mut inner = self.lock();
        inner.withdrawn.retain(|_, since| *since > routes.began);
        inner.models.retain(|name, traffic| {
            routes.find(name.as_str()).is_some() || traffic.in_flight > 0 || !traffic.queue.is_empty()
        });
        self.routes.store(Arc::new(routes));
        inner.wake_all();
    }

    pub fn withdraw(&self, instances: &[InstanceId]) {
        let mut inner = self.lock();
        let now = Instant::now();
        inner.withdrawn.extend(instances.iter().map(|id| (id.clone(), now)));
    }

    /// Takes withdrawals back, and wakes everyone.
    pub fn readmit(&self, instances: &[InstanceId]) {
        let mut inner = self.lock();
        inner.withdrawn.retain(|id, _| !instances.contains(id));
        inner.wake_all();
    }

    /// Counts the requests that an instance is answering. Polls count once it is out of
    /// rotation and they end: before, another one always comes, and would keep it awake.
    pub fn in_flight(&self, instance: &InstanceId) -> u32 {
        let inner = self.lock();
        let Some(in_flight) = inner.instances.get(instance) else { return 0 };
        let is_routed = self.routes.load().ready().any(|backend| backend.instance == *instance);
        if is_routed && !inner.withdrawn.contains_key(instance) { in_flight.uses } else { in_flight.all }
    }

    /// Returns every instance that is answering requests, polls included.
    pub fn unfinished(&self) -> Unfinished {
        self.lock().instances.iter().map(|(id, in_flight)| (id.clone(), in_flight.clone())).collect()
    }

    /// Counts what the herdsman before this one is answering now as in flight, instead
    /// of what it was answering before; returns whether a pass should see it.
    pub fn set_unfinished(&self, now: Unfinished) -> bool {
        let mut inner = self.lock();
        let before = std::mem::replace(&mut inner.unfinished, now.clone());
        for (id, in_flight) in now {
            let traffic = inner.models.entry(in_flight.model.clone()).or_default();
            traffic.in_flight = traffic.in_flight.saturating_add(in_flight.uses);
            let here = inner.instances.entry(id).or_insert_with(|| InFlight::none(in_flight.model));
            here.add(in_flight.all, in_flight.uses);
        }
        // In this order, none is without a request in between.
        let ended = before
            .into_iter()
            .map(|(id, InFlight { model, all, uses })| self.ended(&mut inner, &model, &id, all, uses));
        ended.fold(false, |rings, ring| rings | ring)
    }

    /// Makes every request wait that has no instance yet.
    pub fn pause_all(&self) {
        self.lock().is_paused = true;
    }

    /// Ends [`Traffics::pause_all`].
    pub fn resume_all(&self) {
        let mut inner = self.lock();
        inner.is_paused = false;
        inner.wake_all();
    }

    /// Registers a request in the queue, unless `most` uses wait already. One that is
    /// refused counts for nothing: no pass sees it.
    pub fn arrive(&self, model: &ModelName, arrived: Instant, uses: bool, most: usize) -> Result<Ticket, Refusal> {
        let mut inner = self.lock();
        if let Some(Standing::Unavailable(why)) = self.routes.load().find(model.as_str()).map(|route| &route.standing) {
            return Err(Refusal::Unavailable(why.clone()));
        }
        let traffic = inner.models.entry(model.clone()).or_default();
        if uses && traffic.waiting >= most {
            return Err(Refusal::TooMany(most));
        }
        traffic.next += 1;
        if uses {
            traffic.last_used = Some(Instant::now());
            traffic.unload = None;
        }
        let ticket = Ticket { model: model.clone(), number: traffic.next, arrived, uses };
        traffic.insert(&ticket, None);
        Ok(ticket)
    }

    /// Whether a pass should see if an on-demand model still cannot start, which
    /// refused a request just now: the routes are not new, and no other such request has
    /// asked lately.
    pub fn doubts(&self, model: &ModelName) -> bool {
        /// The longest time that clients are refused for a reason that is gone.
        const EVERY: Duration = Duration::from_secs(5);
        let routes = self.routes.load();
        if routes.began.elapsed() < EVERY || !routes.find(model.as_str()).is_some_and(|route| route.on_demand) {
            return false;
        }
        let mut inner = self.lock();
        let is_due = inner.doubted.is_none_or(|at| at.elapsed() >= EVERY);
        inner.doubted = if is_due { Some(Instant::now()) } else { inner.doubted };
        is_due
    }

    /// Registers a request again, at its old place, whose instance failed.
    pub fn return_to_queue(&self, ticket: &Ticket, avoids: Avoided) {
        self.lock().models.entry(ticket.model.clone()).or_default().insert(ticket, Some(avoids));
    }

    /// Removes a request that has no instance yet; returns whether a pass should see
    /// that nobody waits for the model any more.
    pub fn leave(&self, ticket: &Ticket) -> bool {
        let mut inner = self.lock();
        let Some(traffic) = inner.models.get_mut(&ticket.model) else { return false };
        if !traffic.remove(ticket) {
            return false;
        }
        let is_last = ticket.uses && traffic.waiting == 0;
        let rings = is_last && std::mem::take(&mut traffic.has_rung);
        // It may have been woken to take a place.
        self.wake_next(&inner, &ticket.model);
        rings
    }

    /// A request stops waiting, but stays in the queue.
    pub fn pause(&self, ticket: &Ticket) {
        let mut inner = self.lock();
        let waiter = inner.models.get_mut(&ticket.model).and_then(|traffic| traffic.queue.get_mut(&ticket.place()));
        if waiter.is_some_and(|waiter| waiter.wake.take().is_some()) {
            self.wake_next(&inner, &ticket.model);
        }
    }

    /// Moves a request from the queue to an instance, if there is one that takes it.
    ///
    /// # Errors
    /// There will be none: why.
    pub fn enter(&self, ticket: &Ticket) -> Result<Entry, Refusal> {
        let mut inner = self.lock();
        let routes = self.routes.load();
        let standing = routes.find(ticket.model.as_str()).map(|route| &route.standing);
        let ready = match standing {
            None if !routes.are_known() => None,
            None => return Err(Refusal::Unknown(ticket.model.to_string())),
            Some(Standing::Unavailable(why)) => return Err(Refusal::Unavailable(why.clone())),
            Some(Standing::OnDemand) if !ticket.uses => return Err(Refusal::NotRunning),
            Some(Standing::OnDemand | Standing::Coming) => None,
            Some(Standing::Ready(backend)) => Some(backend),
        };
        let Inner { models, instances, withdrawn, is_paused, .. } = &mut *inner;
        let traffic = models.entry(ticket.model.clone()).or_default();
        let avoids = traffic.queue.get(&ticket.place()).and_then(|waiter| waiter.avoids.as_ref());
        let usable = ready
            .filter(|backend| !*is_paused && !withdrawn.contains_key(&backend.instance))
            .filter(|backend| !is_avoided(avoids, backend, routes.began));
        let Some(backend) = usable else {
            let rings = ticket.uses && routes.are_known() && !std::mem::replace(&mut traffic.has_rung, true);
            return Ok(Entry::Wait { wake: traffic.wait(ticket), is_held: true, rings });
        };
        let in_flight = instances.get(&backend.instance).map_or(0, |in_flight| in_flight.uses);
        let is_next = |room: u32| {
            traffic.queued_for(backend, routes.began).take_while(|(place, _)| **place < ticket.place()).count()
                < room as usize
        };
        let has_room = backend.max_in_flight.is_none_or(|most| is_next(most.saturating_sub(in_flight)));
        if ticket.uses && !has_room {
            return Ok(Entry::Wait { wake: traffic.wait(ticket), is_held: false, rings: false });
        }
        traffic.remove(ticket);
        traffic.has_rung = false;
        traffic.in_flight += u32::from(ticket.uses);
        let here = instances.entry(backend.instance.clone()).or_insert_with(|| InFlight::none(ticket.model.clone()));
        here.add(1, u32::from(ticket.uses));
        // One wake-up may stand for several places.
        self.wake_next(&inner, &ticket.model);
        Ok(Entry::Enter(Arc::clone(backend)))
    }

    /// Counts a request in flight at an instance, whether that takes others or not.
    /// It is no use of its model.
    pub fn enter_regardless(&self, model: &ModelName, instance: &InstanceId) {
        let mut inner = self.lock();
        inner.instances.entry(instance.clone()).or_insert_with(|| InFlight::none(model.clone())).add(1, 0);
    }

    /// Ends a request in flight; returns whether a pass should see it: it was the
    /// last one of an instance that is withdrawn, or that others wait to replace.
    pub fn end(&self, model: &ModelName, instance: &InstanceId, uses: bool) -> bool {
        self.ended(&mut self.lock(), model, instance, 1, u32::from(uses))
    }

    /// Ends so many requests, `uses` of which were a use.
    fn ended(&self, inner: &mut Inner, model: &ModelName, instance: &InstanceId, all: u32, uses: u32) -> bool {
        let is_last = match inner.instances.get_mut(instance) {
            Some(left) if left.all > all => {
                (left.all, left.uses) = (left.all - all, left.uses.saturating_sub(uses));
                false
            }
            _ => {
                inner.instances.remove(instance);
                true
            }
        };
        if let Some(traffic) = inner.models.get_mut(model).filter(|_| uses > 0) {
            traffic.in_flight = traffic.in_flight.saturating_sub(uses);
            traffic.last_used = Some(Instant::now());
        }
        self.wake_next(inner, model);
        let others_wait = || inner.models.values().any(|traffic| traffic.has_rung);
        is_last && (inner.withdrawn.contains_key(instance) || others_wait())
    }

    /// Wakes the request whose turn it is, if its instance has a limit.
    fn wake_next(&self, inner: &Inner, model: &ModelName) {
        let Some(traffic) = inner.models.get(model).filter(|traffic| traffic.waiting > 0) else { return };
        let routes = self.routes.load();
        let Some(Standing::Ready(backend)) = routes.find(model.as_str()).map(|route| &route.standing) else { return };
        let Some(most) = backend.max_in_flight else { return };
        let in_flight = inner.instances.get(&backend.instance).map_or(0, |in_flight| in_flight.uses);
        if in_flight < most
            && let Some((_, next)) = traffic.queued_for(backend, routes.began).next()
        {
            next.wake.iter().for_each(|wake| wake.notify_one());
        }
    }

    /// Notes that a client wants the model unloaded; a later request takes that back.
    pub fn unload(&self, model: &ModelName) {
        self.lock().models.entry(model.clone()).or_default().unload = Some(Instant::now());
    }

    pub fn demand(&self, now: Timestamp, settings: &Serve) -> Demand {
        let at = |instant: Instant| Timestamp(now.0.saturating_sub(milliseconds(instant.elapsed())));
        let inner = self.lock();
        let models = inner.models.iter().map(|(name, traffic)| {
            let oldest = traffic.queue.iter().find(|(_, waiter)| waiter.uses).map(|((arrived, _), _)| *arrived);
            let asked = Traffic {
                waiting: u32::try_from(traffic.waiting).unwrap_or(u32::MAX),
                waiting_since: oldest.map(at),
                in_flight: traffic.in_flight,
                last_used: if traffic.in_flight > 0 { Some(now) } else { traffic.last_used.map(at) },
                unload: traffic.unload.map(at),
            };
            (name.clone(), asked)
        });
        Demand {
            since: at(self.began),
            max_wait_ms: u64::try_from(settings.max_wait.as_millis()).unwrap_or(u64::MAX),
            models: models.collect(),
        }
    }
}

impl Inner {
    /// Wakes every request that waits, to look for its instance again.
    fn wake_all(&self) {
        let queued = self.models.values().flat_map(|traffic| traffic.queue.values());
        queued.filter_map(|waiter| waiter.wake.as_ref()).for_each(|wake| wake.notify_one());
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
