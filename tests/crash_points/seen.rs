//! The instances of a world, as `/proc` shows them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::{Process, World, leaders, processes};

/// How long a dry run may live on.
const PATIENCE: Duration = Duration::from_secs(2);

/// A live instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    pub pid: i32,
    pub start_ticks: u64,
    pub id: String,
    pub model: String,
    pub command_line: String,
}

impl Instance {
    fn new(process: &Process) -> Self {
        let variable = |name| process.variable(name).unwrap_or_default().to_owned();
        Self {
            pid: process.pid,
            start_ticks: process.start_ticks,
            id: variable("HERDSMAN_INSTANCE"),
            model: variable("HERDSMAN_MODEL"),
            command_line: process.arguments.join(" "),
        }
    }
}

/// The live instances of a world.
pub fn instances(world: &World) -> Vec<Instance> {
    let Ok(id) = std::fs::read_to_string(world.state_dir().join("id")) else { return Vec::new() };
    leaders(|process| process.variable("HERDSMAN_STATE") == Some(id.trim_end())).iter().map(Instance::new).collect()
}

/// How many live instances each model has.
pub fn count(instances: &[Instance]) -> BTreeMap<&str, usize> {
    instances.iter().fold(BTreeMap::new(), |mut count, instance| {
        *count.entry(instance.model.as_str()).or_default() += 1;
        count
    })
}

/// Whatever runs with a file of this world in its command line, or for one of
/// its definitions, and is none of `instances`; after a moment, in which a dry
/// run may end.
pub fn left_over(world: &World, instances: &[Instance]) -> Vec<Process> {
    let inside = world.path().to_string_lossy().into_owned();
    let definitions = world.models_dir().display().to_string();
    let look = || {
        processes(|process| {
            let is_of_world = process.arguments.iter().any(|argument| argument.contains(&*inside))
                || process.variable("HERDSMAN_DEFINITION").is_some_and(|path| path.starts_with(&*definitions));
            is_of_world && instances.iter().all(|instance| instance.pid != process.pid)
        })
    };
    let mut found = look();
    let begun = Instant::now();
    while !found.is_empty() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
        found = look();
    }
    found
}
