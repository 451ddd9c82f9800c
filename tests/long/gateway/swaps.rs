//! Models that share room for one.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::Kind;
use super::clients::Clients;
use super::faults::edit;
use super::served::{PATIENCE, Served, Stream, ask, slow_toml};
use crate::support::{World, eventually, post};

/// So many groups swap beside each other, to save time.
const GROUPS: usize = 4;

fn groups(world: &World, names: &[&str]) {
    let toml: String = names.iter().map(|name| format!("[{name}]\nmax_running = 1\n")).collect();
    std::fs::write(world.models_dir().join("_groups.toml"), toml).unwrap();
}

fn member(world: &World, group: &str, name: &str) {
    world.weights(name, &format!("{name} "));
    let toml = World::tiny_toml(name);
    world.write_definition(name, &format!("state = \"on_demand\"\ngroup = \"{group}\"\n{toml}"));
}

#[test]
fn two_cold_models_of_a_group_that_are_asked_for_almost_at_once_both_answer() {
    let names = ["g0", "g1", "g2", "g3"];
    let world = World::new();
    groups(&world, &names);
    for group in names {
        ["a", "b"].iter().for_each(|model| member(&world, group, &format!("{group}{model}")));
    }
    let served = Served::new(world);
    let (served, each) = (&served, super::rounds(200).div_ceil(GROUPS));
    let longest = thread::scope(|scope| {
        let groups = names.map(|group| scope.spawn(move || rounds(served, group, each)));
        groups.map(|group| group.join().unwrap()).into_iter().max().unwrap()
    });
    println!("{} rounds, longest {longest:.1?}", each * GROUPS);
}

/// Asks for a model and 100 ms later for another one of the group, none running at
/// first, again and again; how long the longest round took.
fn rounds(served: &Served, group: &str, rounds: usize) -> Duration {
    let (a, b) = (format!("{group}a"), format!("{group}b"));
    let says = |name: &str| Ok(format!("{name} ").repeat(3));
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        let since = Instant::now();
        thread::scope(|scope| {
            let first = scope.spawn(|| ask(served.port, &a));
            thread::sleep(Duration::from_millis(100));
            assert_eq!(ask(served.port, &b), says(&b), "in round {round}");
            assert_eq!(first.join().unwrap(), says(&a), "in round {round}");
        });
        longest = longest.max(since.elapsed());
        for model in [&a, &b] {
            // One of them is not loaded.
            post(served.port, "/models/unload", &json!({"model": model})).unwrap();
        }
        eventually("both are cold", PATIENCE, || !served.running().iter().any(|name| name.starts_with(group)));
    }
    longest
}

#[test]
fn endless_traffic_on_one_model_keeps_another_waiting_no_longer_than_max_wait() {
    const MAX_WAIT: Duration = Duration::from_secs(1);
    let world = World::new();
    std::fs::write(world.settings(), "[serve]\nmax_wait = \"1s\"\n").unwrap();
    groups(&world, &["one"]);
    member(&world, "one", "b");
    let clients = Clients::default();
    edit(&world, &clients.texts, "a", "state = \"on_demand\"\ngroup = \"one\"\n");
    let served = Served::new(world);
    let longest = thread::scope(|scope| {
        let _over = clients.guard();
        for kind in [Kind::Fresh, Kind::Kept, Kind::Kept, Kind::Streams, Kind::Slow, Kind::Leaves] {
            clients.start(scope, served.port, kind, &["a"]);
        }
        let waits = (0..super::rounds(100)).map(|_| {
            clients.go_on(50);
            let since = Instant::now();
            assert_eq!(served.ask("b"), Ok("b b b ".to_owned()));
            since.elapsed()
        });
        waits.max().unwrap()
    });
    let (mut sum, _) = clients.sum();
    println!("longest wait for b {longest:.1?}; for a: {}", sum.waits());
    sum.is_flawless();
    // What is in flight ends, and a server stops and another one starts.
    assert!(longest < MAX_WAIT + Duration::from_secs(10), "{longest:?}");
}

#[test]
fn asking_for_a_model_while_it_makes_room_hangs_nothing() {
    let world = World::new();
    std::fs::write(world.settings(), "[serve]\nmax_wait = \"300ms\"\n").unwrap();
    groups(&world, &["one"]);
    member(&world, "one", "b");
    let toml = slow_toml(&world, "a");
    world.write_definition("a", &format!("state = \"on_demand\"\ngroup = \"one\"\n{toml}"));
    let served = Served::new(world);
    let port = served.port;
    for _ in 0..super::rounds(20) {
        let stream = Stream::begin(port, "a", 300);
        let other = thread::spawn(move || ask(port, "b"));
        // The oldest waiter's time is over: a takes no more requests.
        thread::sleep(Duration::from_millis(600));
        let again: Vec<_> = (0..4).map(|_| thread::spawn(move || ask(port, "a"))).collect();
        assert_eq!(stream.end(), 300);
        assert_eq!(other.join().unwrap(), Ok("b b b ".to_owned()));
        for client in again {
            assert_eq!(client.join().unwrap(), Ok("a a a ".to_owned()));
        }
    }
}
