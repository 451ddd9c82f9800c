//! Waits between passes until another look is worth it.

use std::time::{Duration, Instant};

use super::Host;
use super::endpoint::Endpoint;
use super::observe::endpoint;
use super::pidfd::Pidfd;
use super::socket::Listening;
use crate::model::{Health, Instance};

/// The first pause between two questions: a tiny model is ready in 31 ms.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

impl Host {
    /// Blocks until something about the watched instances may have changed
    /// (one exits, or answers otherwise than when it was seen) and says `true`,
    /// or until the time is over and says `false`. An exit is noticed at once,
    /// an answer after 5 ms at first and 200 ms later on.
    ///
    /// A machine that cannot be looked at counts as a change: the next pass
    /// reports it.
    pub fn wait_for_change(&mut self, watched: &[Instance], timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let mut processes = Vec::new();
        let mut asked: Vec<(i32, Endpoint)> = Vec::new();
        for instance in watched {
            let pid = instance.process.pid;
            match (Pidfd::open(pid, instance.process.start_ticks), endpoint(pid)) {
                (Ok(Some(pidfd)), Ok(endpoint)) => {
                    processes.push(pidfd);
                    asked.push((pid, endpoint));
                }
                _ => return true,
            }
        }
        let processes: Vec<&Pidfd> = processes.iter().collect();
        let mut pause = FIRST_PAUSE;
        loop {
            let left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
            match Pidfd::wait_any(&processes, pause.min(left)) {
                Ok(gone) if !gone.contains(&true) => {}
                Ok(_) | Err(_) => return true,
            }
            if left.is_zero() {
                return false;
            }
            if self.answers_otherwise(watched, &asked) {
                return true;
            }
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    fn answers_otherwise(&mut self, watched: &[Instance], asked: &[(i32, Endpoint)]) -> bool {
        let Ok(listening) = Listening::read() else { return true };
        let Ok(now) = self.health_of(asked, &listening) else { return true };
        // Why a server gives no answer may be worded otherwise each time.
        let differs = |seen: &Health, now: &Health| std::mem::discriminant(seen) != std::mem::discriminant(now);
        watched.iter().zip(&now).any(|(instance, now)| differs(&instance.health, now))
    }
}
