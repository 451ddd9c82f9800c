//! Answers slow questions in threads of their own, so that no pass waits for them.
//!
//! ```text
//!   get(key) ----- known, or soon known ------------------> the answer
//!        \                                                     ^
//!         +------- not yet: go on without it       a later get |
//!                        thread ---- answer, rings the bell ---+
//! ```
//!
//! Invariants: each question is asked by one thread at a time, and the bell wakes the
//! passes that went on without its answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Called when an answer arrives that somebody went on without.
pub(super) type Bell = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

/// Questions of one kind, by what tells them apart.
pub(super) struct Beside<K, V>(Arc<Shared<K, V>>);

struct Shared<K, V> {
    asked: Mutex<BTreeMap<K, Asked<V>>>,
    answered: Condvar,
    bell: Bell,
}

enum Asked<V> {
    /// Since when; and whether somebody went on without the answer.
    Pending { since: Instant, is_missed: bool },
    /// Since when it is known.
    Known(V, Instant),
}

impl<K, V> Beside<K, V>
where
    K: Clone + Ord + Send + 'static,
    V: Clone + Send + 'static,
{
    pub fn new(bell: Bell) -> Self {
        Self(Arc::new(Shared { asked: Mutex::default(), answered: Condvar::new(), bell }))
    }

    /// The answer, which `ask` finds if it is neither known nor asked for. `None`:
    /// it was asked for longer than `patience` ago and is still to come.
    pub fn get(&self, key: &K, patience: Duration, ask: impl FnOnce() -> V + Send + 'static) -> Option<V> {
        let mut asked = self.0.lock();
        if !asked.contains_key(key) {
            asked.insert(key.clone(), Asked::Pending { since: Instant::now(), is_missed: false });
            drop(asked);
            self.begin(key.clone(), ask);
            asked = self.0.lock();
        }
        loop {
            match asked.get_mut(key)? {
                Asked::Known(answer, _) => return Some(answer.clone()),
                Asked::Pending { since, is_missed } => {
                    let left = patience.saturating_sub(since.elapsed());
                    if left.is_zero() {
                        *is_missed = true;
                        return None;
                    }
                    asked = self.0.answered.wait_timeout(asked, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    fn begin(&self, key: K, ask: impl FnOnce() -> V + Send + 'static) {
        let shared = Arc::clone(&self.0);
        let work = {
            let key = key.clone();
            move || shared.answer(key, ask())
        };
        if thread::Builder::new().name("asks llama-server".to_owned()).spawn(work).is_err() {
            // Without a thread there is no answer: a later pass asks again.
            self.0.lock().remove(&key);
        }
    }

    /// A known answer, and for how long it has been known.
    pub fn known(&self, key: &K) -> Option<(V, Duration)> {
        match self.0.lock().get(key)? {
            Asked::Known(answer, since) => Some((answer.clone(), since.elapsed())),
            Asked::Pending { .. } => None,
        }
    }

    /// For how long an answer has been awaited; `None`: it is known, or not asked for.
    pub fn awaited(&self, key: &K) -> Option<Duration> {
        match self.0.lock().get(key)? {
            Asked::Known(..) => None,
            Asked::Pending { since, .. } => Some(since.elapsed()),
        }
    }

    /// Forgets the known answers that `keep` does not keep: they are asked for
    /// again.
    pub fn retain(&self, mut keep: impl FnMut(&K, &V, Duration) -> bool) {
        self.0.lock().retain(|key, asked| match asked {
            Asked::Known(answer, since) => keep(key, answer, since.elapsed()),
            Asked::Pending { .. } => true,
        });
    }

    /// Waits until nothing is asked any more, or until `deadline`.
    pub fn settle(&self, deadline: Instant) {
        let mut asked = self.0.lock();
        while asked.values().any(|asked| matches!(asked, Asked::Pending { .. })) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            asked = self.0.answered.wait_timeout(asked, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl<K: Ord, V> Shared<K, V> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<K, Asked<V>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, key: K, answer: V) {
        let before = self.lock().insert(key, Asked::Known(answer, Instant::now()));
        self.answered.notify_all();
        if let (Some(Asked::Pending { is_missed: true, .. }), Some(ring)) = (before, self.bell.get()) {
            ring();
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn asks_once_and_rings_for_those_who_went_on_without_the_answer() {
        let (bell, rung) = (Bell::default(), Arc::new(AtomicU32::new(0)));
        let counts = Arc::clone(&rung);
        let _set = bell.set(Box::new(move || {
            counts.fetch_add(1, Ordering::SeqCst);
        }));
        let beside: Beside<&str, u32> = Beside::new(bell);
        let (answer, slow) = channel();
        assert_eq!(beside.get(&"slow", Duration::ZERO, move || slow.recv().unwrap()), None);
        assert_eq!(beside.get(&"quick", LONG, || 1), Some(1), "others do not wait for it");
        assert_eq!(beside.get(&"slow", Duration::ZERO, || unreachable!()), None);
        assert!(beside.awaited(&"slow").is_some() && beside.awaited(&"quick").is_none());
        answer.send(2).unwrap();
        assert_eq!(beside.get(&"slow", LONG, || unreachable!()), Some(2));
        while rung.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        assert_eq!(rung.load(Ordering::SeqCst), 1, "only for the slow one");
        beside.retain(|key, _, _| *key != "slow");
        assert_eq!(beside.get(&"slow", LONG, || 3), Some(3), "forgotten, it is asked again");
    }
}
