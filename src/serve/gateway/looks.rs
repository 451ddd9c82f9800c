//! Looks at the files that count at once when people change them: the owner's settings,
//! and the keys of clients.
//!
//! A disk may be slow, so another thread looks. Requests go on with what it saw last,
//! unless that is too old: a key that was removed must stop working. On a disk that
//! does not answer, they wait a moment, and then go on, too.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout_at;

use super::Gateway;

/// How often the files are looked at, at most.
const EVERY: Duration = Duration::from_millis(100);

/// How old the last look may be when a request is let in without waiting for the next.
const OLDEST: Duration = Duration::from_millis(200);

/// How long a look may take while requests wait for it.
const PATIENCE: Duration = Duration::from_millis(200);

/// When the files were looked at.
pub(super) struct Looks {
    /// When the last complete look began.
    last: watch::Sender<Option<Instant>>,
    /// When the look began that goes on.
    now: Mutex<Option<Instant>>,
}

impl Default for Looks {
    fn default() -> Self {
        Self { last: watch::Sender::new(None), now: Mutex::default() }
    }
}

impl Looks {
    fn now(&self) -> MutexGuard<'_, Option<Instant>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Has the files looked at, if that was long enough ago, and waits for it if it was
    /// too long ago.
    pub(in crate::serve) async fn look_at_files(&self) {
        let last = *self.0.looks.last.borrow();
        let age = last.map(|last| last.elapsed());
        if age.is_some_and(|age| age < EVERY) {
            return;
        }
        let mut done = self.0.looks.last.subscribe();
        let begun = self.begin_look();
        if age.is_none_or(|age| age >= OLDEST) {
            let seen = done.wait_for(|seen| *seen > last);
            // Too late, and it goes on without.
            let _ = timeout_at((begun + PATIENCE).into(), seen).await;
        }
    }

    /// Begins a look unless one goes on; returns when it began.
    fn begin_look(&self) -> Instant {
        let mut now = self.0.looks.now();
        if let Some(begun) = *now {
            return begun;
        }
        let begun = Instant::now();
        *now = Some(begun);
        let look = Look { gateway: self.clone(), begun };
        spawn_blocking(move || look.at_files());
        begun
    }
}

/// A look that goes on; it ends even if it panics.
struct Look {
    gateway: Gateway,
    begun: Instant,
}

impl Look {
    fn at_files(&self) {
        self.gateway.host().iter().for_each(|host| host.look_at_settings());
        self.gateway.access().look_at_keys();
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        let looks = &self.gateway.0.looks;
        *looks.now() = None;
        looks.last.send_replace(Some(self.begun));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::model::ModelName;
    use crate::owner::settings::serve::Serve;
    use crate::serve::gateway::own::Host;
    use crate::state::StateDir;

    /// A watcher on a disk that answers while nobody holds it up.
    struct Slow {
        held_up: Mutex<()>,
        begun: AtomicUsize,
        ended: AtomicUsize,
        state: StateDir,
    }

    impl Host for Slow {
        fn start(&self, _model: &ModelName, _by: Option<&str>) -> Result<(), String> {
            Ok(())
        }

        fn llama_server(&self) -> Option<PathBuf> {
            None
        }

        fn look_at_settings(&self) {
            self.begun.fetch_add(1, Ordering::SeqCst);
            drop(self.held_up.lock().unwrap());
            self.ended.fetch_add(1, Ordering::SeqCst);
        }

        fn state(&self) -> &StateDir {
            &self.state
        }

        fn metrics(&self) -> Result<String, String> {
            Ok(String::new())
        }
    }

    #[test]
    fn requests_wait_for_a_look_that_is_due_and_not_for_a_slow_disk() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let host = Arc::new(Slow {
            held_up: Mutex::default(),
            begun: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            state: StateDir::new("/".into()),
        });
        let gateway = Gateway::new(Serve::default(), || {});
        gateway.attach(Arc::clone(&host) as Arc<dyn Host>);
        let ask = || {
            runtime.block_on(gateway.look_at_files());
            (host.begun.load(Ordering::SeqCst), host.ended.load(Ordering::SeqCst))
        };
        let since = Instant::now();
        assert_eq!(ask(), (1, 1), "it has waited");
        assert!((0..1_000).all(|_| ask().0 > 0));
        let most = 1 + since.elapsed().as_millis() / EVERY.as_millis();
        assert!((host.begun.load(Ordering::SeqCst) as u128) <= most, "one look for many requests");
        while gateway.0.looks.now().is_some() {
            std::thread::yield_now();
        }
        std::thread::sleep(OLDEST);
        let before = ask();
        assert_eq!(before.0, before.1, "it has waited");
        let held_up = host.held_up.lock().unwrap();
        std::thread::sleep(OLDEST);
        // None of them would return if it waited for the end of the look.
        assert_eq!(ask(), (before.0 + 1, before.1), "a look goes on");
        assert!((0..100).all(|_| ask() == (before.0 + 1, before.1)), "alone");
        drop(held_up);
    }
}
