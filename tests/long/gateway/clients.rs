//! Clients that ask at once, each on a thread of its own, and what came of it all.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use fastrand::Rng;

use super::client::{Broken, Client, Kind, Outcome};
use super::texts::Texts;
use crate::support::eventually;

/// So many failures are enough to see what is wrong.
const ENOUGH: usize = 20;

/// What the clients have in common.
#[derive(Default)]
pub struct Clients {
    pub texts: Texts,
    answered: AtomicUsize,
    is_over: AtomicBool,
    sum: Mutex<Sum>,
}

/// What came of the requests.
#[derive(Default)]
pub struct Sum {
    pub left: usize,
    pub broken: Vec<Broken>,
    pub failed: Vec<String>,
    waits: Vec<Duration>,
}

/// Ends the clients when it is dropped: also if the test fails.
pub struct Over<'c>(&'c Clients);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Relaxed);
    }
}

impl Clients {
    /// Returns what ends the clients.
    pub const fn guard(&self) -> Over<'_> {
        Over(self)
    }

    /// How many whole answers there were.
    pub fn answered(&self) -> usize {
        self.answered.load(Relaxed)
    }

    /// Waits for so many more answers.
    pub fn go_on(&self, more: usize) {
        let from = self.answered();
        eventually("more answers", Duration::from_secs(120), || self.has_failed() || self.answered() >= from + more);
    }

    /// Whether any request failed.
    pub fn has_failed(&self) -> bool {
        !self.sum.lock().unwrap().failed.is_empty()
    }

    /// Lets one more client ask for these models until the end.
    pub fn start<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        port: u16,
        kind: Kind,
        models: &[&str],
    ) -> ScopedJoinHandle<'s, ()> {
        let mut client = Client::new(kind, models, port, &self.texts, Rng::new());
        scope.spawn(move || {
            while !self.is_over.load(Relaxed) {
                let outcome = client.ask();
                let mut sum = self.sum.lock().unwrap();
                match outcome {
                    Outcome::Answered(wait) => {
                        sum.waits.push(wait);
                        self.answered.fetch_add(1, Relaxed);
                    }
                    Outcome::Left => sum.left += 1,
                    Outcome::Broken(broken) => sum.broken.push(broken),
                    Outcome::Failed(why) => {
                        sum.failed.push(why);
                        if sum.failed.len() > ENOUGH {
                            return;
                        }
                    }
                }
            }
        })
    }

    /// Returns what came of it, once the clients have ended.
    pub fn sum(self) -> (Sum, Texts) {
        (self.sum.into_inner().unwrap(), self.texts)
    }
}

impl Sum {
    /// Asserts that every request was answered, and every stream whole.
    #[track_caller]
    pub fn is_flawless(&self) {
        let broken = self.broken.iter().map(ToString::to_string);
        let problems: Vec<_> = self.failed.iter().cloned().chain(broken).collect();
        assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    }

    /// How long first bytes took, in one line.
    pub fn waits(&mut self) -> String {
        self.waits.sort_unstable();
        let at = |share: usize| self.waits.get(self.waits.len() * share / 1000).copied().unwrap_or_default();
        format!("p50 {:.1?}, p99 {:.1?}, p99.9 {:.1?}, longest {:.1?}", at(500), at(990), at(999), {
            self.waits.last().copied().unwrap_or_default()
        })
    }
}
