//! What is asked for: requests waiting and in flight, and when each model was used
//! last. One short lock; nothing waits while it holds it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::lease::Refusal;
use super::routes::{Backend, Routes};
use crate::model::{Demand, InstanceId, ModelName, Timestamp, Traffic};
use crate::owner::settings::serve::Serve;

/// The traffic of all models.
pub(super) struct Traffics {
    began: Instant,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    models: BTreeMap<ModelName, ModelTraffic>,
    /// Requests that each instance is answering.
    in_flight: HashMap<InstanceId, u32>,
    /// Instances out of rotation, and since when.
    withdrawn: HashMap<InstanceId, Instant>,
}

#[derive(Default)]
struct ModelTraffic {
    /// The arrival of each request that waits, by its number.
    waiting: BTreeMap<u64, Instant>,
    in_flight: u32,
    last_used: Option<Instant>,
    unload: Option<Instant>,
    wake: Arc<Notify>,
    next: u64,
}

/// What a request that wants an instance finds.
pub(super) enum Entry {
    /// It may go there; it is counted as in flight.
    Enter(Arc<Backend>),
    /// It has to wait: the instance is out of rotation, or answers as many as it may.
    Wait,
}

impl Traffics {
    pub fn new() -> Self {
        Self { began: Instant::now(), inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is no longer so: withdrawals that the pass has seen, models that
    /// are gone and that nobody asks for.
    pub fn published(&self, routes: &Routes) {
        let mut inner = self.lock();
        inner.withdrawn.retain(|_, since| *since > routes.began);
        let known: HashSet<&ModelName> = routes.all().map(|route| &route.model).collect();
        inner
            .models
            .retain(|name, traffic| known.contains(name) || traffic.in_flight > 0 || !traffic.waiting.is_empty());
    }

    pub fn wake_all(&self) {
        self.lock().models.values().for_each(|traffic| traffic.wake.notify_waiters());
    }

    pub fn withdraw(&self, instances: &[InstanceId]) {
        let now = Instant::now();
        self.lock().withdrawn.extend(instances.iter().map(|id| (id.clone(), now)));
    }

    pub fn in_flight(&self, instance: &InstanceId) -> u32 {
        self.lock().in_flight.get(instance).copied().unwrap_or_default()
    }

    /// Registers a request; returns its place in the queue.
    pub fn arrive(&self, model: &ModelName, arrived: Instant, uses: bool, most: usize) -> Result<u64, Refusal> {
        let mut inner = self.lock();
        let traffic = inner.models.entry(model.clone()).or_default();
        if traffic.waiting.len() >= most {
            return Err(Refusal::TooMany(most));
        }
        traffic.next += 1;
        if uses {
            traffic.waiting.insert(traffic.next, arrived);
            traffic.last_used = Some(Instant::now());
            traffic.unload = None;
        }
        Ok(traffic.next)
    }

    /// Notes that a client asked to unload the model.
    pub fn unload(&self, model: &ModelName) {
        self.lock().models.entry(model.clone()).or_default().unload = Some(Instant::now());
    }

    /// Registers a request again whose instance failed.
    pub fn wait_again(&self, model: &ModelName, number: u64, arrived: Instant) {
        self.lock().models.entry(model.clone()).or_default().waiting.insert(number, arrived);
    }

    /// Removes a request that waits; returns whether a pass should see that nobody
    /// waits for the model any more.
    pub fn leave(&self, model: &ModelName, number: u64) -> bool {
        let mut inner = self.lock();
        let Some(traffic) = inner.models.get_mut(model) else { return false };
        traffic.waiting.remove(&number).is_some() && traffic.waiting.is_empty()
    }

    /// Returns what wakes the requests that wait for the model.
    pub fn notify(&self, model: &ModelName) -> Arc<Notify> {
        Arc::clone(&self.lock().models.entry(model.clone()).or_default().wake)
    }

    /// Moves a request from waiting to in flight, if the instance takes it.
    pub fn enter(&self, model: &ModelName, number: u64, backend: Arc<Backend>) -> Entry {
        let mut inner = self.lock();
        if inner.withdrawn.contains_key(&backend.instance) {
            return Entry::Wait;
        }
        let busy = inner.in_flight.get(&backend.instance).copied().unwrap_or_default();
        if backend.max_in_flight.is_some_and(|limit| busy >= limit) {
            return Entry::Wait;
        }
        inner.in_flight.insert(backend.instance.clone(), busy + 1);
        let traffic = inner.models.entry(model.clone()).or_default();
        traffic.waiting.remove(&number);
        traffic.in_flight += 1;
        Entry::Enter(backend)
    }

    /// Counts a request in flight at an instance, whether that takes others or not.
    pub fn enter_regardless(&self, model: &ModelName, instance: &InstanceId) {
        let mut inner = self.lock();
        *inner.in_flight.entry(instance.clone()).or_default() += 1;
        inner.models.entry(model.clone()).or_default().in_flight += 1;
    }

    /// Ends a request in flight; returns whether a pass should see it: it was the
    /// last one of an instance that is withdrawn, or that others wait to replace.
    pub fn end(&self, model: &ModelName, instance: &InstanceId, uses: bool) -> bool {
        let mut inner = self.lock();
        let left = inner.in_flight.get(instance).copied().unwrap_or_default().saturating_sub(1);
        if left == 0 {
            inner.in_flight.remove(instance);
        } else {
            inner.in_flight.insert(instance.clone(), left);
        }
        if let Some(traffic) = inner.models.get_mut(model) {
            traffic.in_flight = traffic.in_flight.saturating_sub(1);
            if uses {
                traffic.last_used = Some(Instant::now());
            }
            traffic.wake.notify_waiters();
        }
        let others_wait = || inner.models.values().any(|traffic| !traffic.waiting.is_empty());
        left == 0 && (inner.withdrawn.contains_key(instance) || others_wait())
    }

    pub fn demand(&self, now: Timestamp, settings: &Serve) -> Demand {
        let at = |instant: Instant| Timestamp(now.0 - milliseconds(instant.elapsed()));
        let inner = self.lock();
        let models = inner.models.iter().map(|(name, traffic)| {
            let asked = Traffic {
                waiting: u32::try_from(traffic.waiting.len()).unwrap_or(u32::MAX),
                waiting_since: traffic.waiting.values().min().copied().map(at),
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

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
