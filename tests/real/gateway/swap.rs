//! Models that share room.

use std::thread;

use super::served::{Served, Stream, ask, slow_toml};
use crate::support::World;

fn group(world: &World, names: &[&str]) {
    std::fs::write(world.models_dir().join("_groups.toml"), "[chat]\nmax_running = 1\n").unwrap();
    for name in names {
        world.weights(name, &format!("{name} "));
        member(world, name, &World::tiny_toml(name));
    }
}

fn member(world: &World, name: &str, toml: &str) {
    world.write_definition(name, &format!("state = \"on_demand\"\ngroup = \"chat\"\n{toml}"));
}

/// How many servers were started.
fn starts(served: &Served) -> usize {
    served.watcher.as_ref().unwrap().log().matches(" start: asked for").count()
}

#[test]
fn ten_requests_for_two_models_of_a_group_take_two_swaps() {
    let world = World::new();
    group(&world, &["a", "b"]);
    let served = Served::new(world);
    let port = served.port;
    let clients: Vec<_> = (0..10)
        .map(|number| {
            let model = ["a", "b"][number % 2];
            (model, thread::spawn(move || ask(port, model)))
        })
        .collect();
    for (model, client) in clients {
        assert_eq!(client.join().unwrap(), Ok(format!("{model} {model} {model} ")));
    }
    assert_eq!(served.running().len(), 1);
    let starts = starts(&served);
    assert!(starts <= 3, "{starts} starts");
}

#[test]
fn a_member_with_a_request_in_flight_is_not_stopped_for_another() {
    let world = World::new();
    group(&world, &["b"]);
    let toml = slow_toml(&world, "a");
    member(&world, "a", &toml);
    let served = Served::new(world);
    let stream = Stream::begin(served.port, "a", 150);
    let port = served.port;
    let other = thread::spawn(move || ask(port, "b"));
    assert_eq!(stream.end(), 150);
    assert_eq!(other.join().unwrap(), Ok("b b b ".to_owned()));
    assert_eq!(served.running(), ["b"]);
}
