//! `herdsman watch` beside a benchmark.

use std::time::{Duration, Instant};

use super::clock::cpu_time;
use crate::support::{Background, World};

/// The debounce time that the watcher is run with: its default.
pub const DEBOUNCE: Duration = Duration::from_millis(200);

/// A running watcher; killed when dropped.
pub struct Watcher {
    process: Background,
    pid: u32,
}

impl Watcher {
    /// Starts `herdsman watch ARGUMENTS` in `world`.
    pub fn start(world: &World, arguments: &[&str]) -> Self {
        let arguments: Vec<&str> = ["watch"].into_iter().chain(arguments.iter().copied()).collect();
        let mut process = world.start(&arguments);
        let pid = process.child().id();
        Self { process, pid }
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until it does nothing any more but look at what gives no sign.
    ///
    /// # Panics
    /// It ends, or is still busy after five minutes.
    pub fn rests(&mut self) {
        /// Longer than any burst of its own: events wait for the debounce.
        const STILL: Duration = Duration::from_millis(350);
        /// It looks at what gives no sign once a second.
        const LITTLE: Duration = Duration::from_millis(3);
        let start = Instant::now();
        loop {
            let ended = self.process.child().try_wait().expect("wait");
            assert!(ended.is_none(), "the watcher ended: {ended:?}; see stderr.log");
            let before = cpu_time(self.pid);
            std::thread::sleep(STILL);
            if cpu_time(self.pid) - before < LITTLE {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(300), "the watcher does not come to rest");
        }
    }
}
