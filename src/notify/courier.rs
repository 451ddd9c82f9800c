//! The watcher's deliveries: each channel has a thread that makes one try at a
//! time; what is to be delivered, and how it went, is read and written by the
//! watcher's own thread on its one connection.
//!
//! So a receiver that hangs holds up no pass and no other channel, and what is
//! recorded of a delivery is no other program's write that would wake the
//! watcher.

use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::deliver::{Carrier, Failure, give_up_others, outcome};
use super::wait;
use crate::database::{Database, DatabaseError, Delivered, Delivery};
use crate::model::{Channel, Timestamp};
use crate::owner::settings::Notify;
use crate::state::{Lock, StateDir};

/// When to try again what another process is at, or could not be recorded.
const AGAIN: Duration = Duration::from_secs(5);

/// All channels of one watcher.
#[derive(Debug)]
pub struct Couriers {
    couriers: Vec<Courier>,
    /// Held from the first delivery on: one process delivers.
    lock: Option<Lock>,
    /// When to look for something to deliver.
    look: Option<Instant>,
    /// What no channel is left for was given up.
    tidied: bool,
    /// What the last round said of the database.
    problem: Option<String>,
}

impl Couriers {
    /// A thread for each channel; `ring` is called when a try is over.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(notify: &Notify, ring: impl Fn() + Clone + Send + 'static) -> std::io::Result<Self> {
        let carriers = Carrier::all(notify)?.into_iter();
        let couriers = carriers.map(|carrier| Courier::new(carrier, ring.clone())).collect::<Result<_, _>>()?;
        Ok(Self { couriers, ..Self::nobody() })
    }

    /// Nobody is to be told: what was to be delivered is given up.
    #[must_use]
    pub const fn nobody() -> Self {
        Self { couriers: Vec::new(), lock: None, look: None, tidied: false, problem: None }
    }

    /// When [`Couriers::round`] is to be called next, if nothing else happens.
    #[must_use]
    pub const fn look(&self) -> Option<Instant> {
        self.look
    }

    /// There is nothing to look for until the next round.
    pub const fn rest(&mut self) {
        self.look = None;
    }

    /// Records what is over, and hands out what is due. It never waits for a
    /// delivery.
    pub fn round(&mut self, database: &mut Database, state: &StateDir, now: Timestamp) {
        let mut looks = vec![self.tidy(database, now)];
        for index in 0..self.couriers.len() {
            looks.push(self.step(index, database, state, now));
        }
        let problem = looks.iter().find_map(|look| Some(look.as_ref().err()?.to_string()));
        if let Some(error) = problem.as_ref().filter(|_| problem != self.problem) {
            tracing::warn!("cannot read or record notifications: {error}; will retry");
        }
        self.problem = problem;
        let soonest = looks.into_iter().filter_map(|look| look.unwrap_or(Some(AGAIN))).min();
        self.look = soonest.map(|after| Instant::now() + after);
    }

    /// Gives up, once, what no channel is left for.
    fn tidy(&mut self, database: &mut Database, now: Timestamp) -> Result<Option<Duration>, DatabaseError> {
        if !self.tidied {
            let channels: Vec<Channel> = self.couriers.iter().map(|courier| courier.channel).collect();
            give_up_others(database, &channels, now)?;
            self.tidied = true;
        }
        Ok(None)
    }

    /// One channel; returns after which time to look at it again.
    fn step(
        &mut self,
        index: usize,
        database: &mut Database,
        state: &StateDir,
        now: Timestamp,
    ) -> Result<Option<Duration>, DatabaseError> {
        let Some(courier) = self.couriers.get_mut(index) else { return Ok(None) };
        courier.receive(now);
        if let Some((delivery, how)) = &courier.over {
            // Kept until it is recorded: it must not be delivered anew meanwhile.
            database.settle_delivery(delivery.number, how, now)?;
            courier.over = None;
        }
        if courier.is_away {
            return Ok(None);
        }
        let Some(delivery) = database.next_delivery(courier.channel)? else { return Ok(None) };
        let wait = wait(delivery.next_try, now);
        if !wait.is_zero() {
            return Ok(Some(wait));
        }
        if self.lock.is_none() {
            // A `reconcile` may be at it, for a moment.
            let Ok(lock) = state.notify_lock() else { return Ok(Some(AGAIN)) };
            self.lock = Some(lock);
        }
        courier.send(delivery);
        Ok(None)
    }
}

/// One channel.
#[derive(Debug)]
struct Courier {
    channel: Channel,
    errands: Sender<Delivery>,
    results: Receiver<(Delivery, Result<(), Failure>)>,
    is_away: bool,
    is_lost: bool,
    /// A try that is over and not recorded.
    over: Option<(Delivery, Delivered)>,
}

impl Courier {
    fn new(carrier: Carrier, ring: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let (errands, errand) = channel::<Delivery>();
        let (result, results) = channel();
        let channel = carrier.channel();
        let work = move || {
            // Until the watcher ends.
            while let Ok(delivery) = errand.recv() {
                let done = carrier.deliver(&delivery, Duration::MAX);
                if result.send((delivery, done)).is_err() {
                    return;
                }
                ring();
            }
        };
        thread::Builder::new().name(format!("tell by {}", channel.as_str())).spawn(work)?;
        Ok(Self { channel, errands, results, is_away: false, is_lost: false, over: None })
    }

    fn send(&mut self, delivery: Delivery) {
        // A thread that ended is noticed by the next `receive`.
        self.is_away = self.errands.send(delivery).is_ok();
    }

    fn receive(&mut self, now: Timestamp) {
        match self.results.try_recv() {
            Ok((delivery, result)) => {
                self.is_away = false;
                let how = outcome(&delivery, result, now);
                report(&delivery, &how, self.channel);
                self.over = Some((delivery, how));
            }
            Err(TryRecvError::Empty) => {}
            // Its thread ended, which only a defect can make it. What it had to
            // deliver is kept.
            Err(TryRecvError::Disconnected) if !self.is_lost => {
                (self.is_away, self.is_lost) = (true, true);
                let by = self.channel.as_str();
                tracing::error!("{by} delivers nothing until herdsman restarts; please report this bug");
            }
            Err(TryRecvError::Disconnected) => {}
        }
    }
}

/// The first failure of a notification is worth a line, and how it ended.
fn report(delivery: &Delivery, how: &Delivered, by: Channel) {
    let (model, did, by) = (delivery.model.as_str(), delivery.kind.in_words(), by.as_str());
    match how {
        Delivered::Yes if delivery.failures > 0 => tracing::info!(model, "{by} for {model} ({did}) delivered"),
        Delivered::Later { error, .. } if delivery.failures == 0 => {
            tracing::warn!(model, "{by} for {model} ({did}) failed; will retry: {error}");
        }
        Delivered::Yes | Delivered::Later { .. } => {}
        Delivered::Never { error } => {
            tracing::error!(model, "{by} for {model} ({did}) failed; will not retry: {error}");
        }
    }
}
