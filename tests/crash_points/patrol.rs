//! Looks all the time whether a model of any world has two live instances.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::seen::Instance;
use crate::support::{Process, World, leaders};

/// Between two looks: a look takes a millisecond or two, a server lives longer.
const PAUSE: Duration = Duration::from_millis(20);

/// Runs beside all worlds, until it is ended.
pub struct Patrol {
    known: Arc<Known>,
    thread: JoinHandle<Vec<String>>,
}

#[derive(Default)]
struct Known {
    over: AtomicBool,
    /// What is in each of these directories is ours to look at.
    worlds: Mutex<Vec<String>>,
    /// Processes that a story begins with: doubles on purpose.
    before: Mutex<Vec<(i32, u64)>>,
}

impl Patrol {
    pub fn begin() -> Self {
        let known = Arc::<Known>::default();
        let thread = std::thread::spawn({
            let known = Arc::clone(&known);
            move || {
                let mut doubles = Vec::new();
                while !known.over.load(Ordering::Relaxed) {
                    doubles.extend(known.look());
                    std::thread::sleep(PAUSE);
                }
                doubles
            }
        });
        Self { known, thread }
    }

    /// From now on, this world is looked at; `before` may be doubles of each
    /// other, but not of what comes after them.
    pub fn watch(&self, world: &World, before: &[Instance]) {
        let identity = |instance: &Instance| (instance.pid, instance.start_ticks);
        self.known.before.lock().unwrap().extend(before.iter().map(identity));
        self.known.worlds.lock().unwrap().push(world.path().display().to_string());
    }

    /// What was seen.
    pub fn end(self) -> Vec<String> {
        self.known.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Known {
    fn look(&self) -> Option<String> {
        let worlds = self.worlds.lock().unwrap().clone();
        let of_a_world = |process: &Process| {
            let definition = process.variable("HERDSMAN_DEFINITION").unwrap_or_default();
            worlds.iter().any(|world| definition.starts_with(world.as_str()))
        };
        let leaders = leaders(of_a_world);
        let mut models: BTreeMap<(&str, &str), Vec<&Process>> = BTreeMap::new();
        for leader in &leaders {
            let variable = |name| leader.variable(name).unwrap_or_default();
            models.entry((variable("HERDSMAN_STATE"), variable("HERDSMAN_MODEL"))).or_default().push(leader);
        }
        // Seen one after the other: together only those that still live now.
        models.retain(|_, processes| {
            processes.retain(|process| process.is_alive());
            processes.len() > 1
        });
        let before = self.before.lock().unwrap();
        let is_new = |process: &&Process| !before.contains(&(process.pid, process.start_ticks));
        models.values().find(|processes| processes.iter().any(is_new)).map(|processes| format!("{processes:?}"))
    }
}
