//! herdsman: its watcher with an address.

use std::fs;

use super::{Proxy, Started, until, until_ready};
use crate::stub;
use crate::support::{World, free_port, get};

/// What its models `a` and `b` share in the rows that start servers: one of them
/// runs at a time.
const ON_DEMAND: &str = "state = \"on_demand\"\ngroup = \"chat\"\n";
const GROUPS: &str = "[chat]\nmax_running = 1\n";

/// Starts it in front of the stub, which it starts itself.
pub fn in_front_of_a_stub() -> Started {
    let world = World::new();
    world.weights("a", "a ");
    let server = stub::wrapper(world.path());
    world.write_definition("a", &format!("binary = '{}'\n{}", server.display(), World::tiny_toml("a")));
    start(world, true)
}

/// Starts it for the models `a` and `b`, of which one runs at a time.
pub fn on_demand() -> Started {
    let world = World::new();
    fs::write(world.models_dir().join("_groups.toml"), GROUPS).map_err(|error| error.to_string())?;
    for name in ["a", "b"] {
        world.weights(name, &format!("{name} "));
        world.write_definition(name, &format!("{ON_DEMAND}{}", World::tiny_toml(name)));
    }
    start(world, false)
}

/// The only place that knows its command line: the watcher, listening on a free port.
fn start(world: World, ready: bool) -> Started {
    let port = free_port();
    let mut watcher = world.start(&["watch", "--listen", &format!("127.0.0.1:{port}")]);
    let pid = watcher.child().id();
    let log = world.path().join("stderr.log");
    let mut ended = || {
        let status = watcher.child().try_wait().expect("wait")?;
        let said = fs::read_to_string(&log).unwrap_or_default();
        Some(format!("{status}: {}", said.lines().next().unwrap_or_default()))
    };
    if ready {
        until_ready(port, "herdsman watch", ended)?;
    } else {
        until(|| get(port, "/health").is_ok()).ok_or_else(|| {
            let how = ended().unwrap_or_else(|| "it does not answer".to_owned());
            format!("herdsman watch: {how}")
        })?;
    }
    Ok(Proxy::new("herdsman", port, vec![pid], vec![Box::new(watcher), Box::new(world)]))
}
