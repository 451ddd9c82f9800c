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
    let mut ended = || watcher.child().try_wait().expect("wait").map(|status| status.to_string());
    let started = if ready {
        until_ready(port, "herdsman watch", ended)
    } else {
        until(|| get(port, "/health").is_ok() || ended().is_some());
        ended().map_or(Ok(()), |how| Err(format!("herdsman watch ended: {how}")))
    };
    started.map_err(|problem| format!("{problem}; {}", said(&world)))?;
    Ok(Proxy::new("herdsman", port, vec![pid], vec![Box::new(watcher), Box::new(world)]))
}

/// Its error, or else the last that it said.
fn said(world: &World) -> String {
    let log = fs::read_to_string(world.path().join("stderr.log")).unwrap_or_default();
    let mut lines = log.lines().filter(|line| !line.is_empty());
    let error = lines.clone().find(|line| line.starts_with("error"));
    error.or_else(|| lines.next_back()).unwrap_or("it said nothing").to_owned()
}
