//! Idle stops: against requests that arrive meanwhile, long streams, and polls.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use super::http::{Connection, get};
use super::served::{PATIENCE, Served, Stream, ask, slow_toml};
use crate::support::{World, eventually};

/// So many models stop and start beside each other, to save time.
const MODELS: usize = 10;

fn on_demand(world: &World, name: &str, toml: &str, stop_after: &str) {
    world.write_definition(name, &format!("state = \"on_demand\"\n{toml}[idle]\nstop_after = \"{stop_after}\"\n"));
}

fn tiny(world: &World, name: &str, stop_after: &str) {
    world.weights(name, &format!("{name} "));
    on_demand(world, name, &World::tiny_toml(name), stop_after);
}

/// How often the watcher has said so.
fn said(served: &Served, text: &str) -> usize {
    served.watcher.as_ref().unwrap().log().matches(text).count()
}

#[test]
fn requests_at_the_end_of_stop_after_are_answered() {
    let world = World::new();
    let names: Vec<String> = (0..MODELS).map(|number| format!("m{number}")).collect();
    names.iter().for_each(|name| tiny(&world, name, "1s"));
    let served = Served::new(world);
    let (port, each) = (served.port, super::rounds(1_000).div_ceil(MODELS));
    let longest = thread::scope(|scope| {
        let clients = names.iter().zip(0..).map(|(name, number)| {
            scope.spawn(move || {
                let mut longest = Duration::ZERO;
                for round in 0..each as u64 {
                    let since = Instant::now();
                    assert_eq!(ask(port, name), Ok(format!("{name} ").repeat(3)), "in round {round}");
                    longest = longest.max(since.elapsed());
                    // 50 ms around the end, or while the server stops.
                    let later = if round % 2 == 1 { 50 + (round * 41) % 300 } else { (number * 29 + round * 37) % 100 };
                    thread::sleep(Duration::from_millis(950 + later));
                }
                longest
            })
        });
        let clients: Vec<_> = clients.collect();
        clients.into_iter().map(|client| client.join().unwrap()).max().unwrap()
    });
    let (starts, stops) = (said(&served, " start: asked for"), said(&served, " before stop: idle for"));
    println!("{} requests, {starts} starts, {stops} stops that began, longest wait {longest:.1?}", each * MODELS);
    assert!(stops > 0, "no server began to stop, so nothing was shown");
}

#[test]
fn streams_that_outlast_stop_after_are_whole() {
    let world = World::new();
    let toml = slow_toml(&world, "slow");
    on_demand(&world, "slow", &toml, "1s");
    tiny(&world, "unread", "1s");
    on_demand(&world, "unread", &World::tiny_toml("unread").replace("512", "4096"), "1s");
    let served = Served::new(world);
    let begun = Instant::now();
    let (slow, unread) = (Stream::begin(served.port, "slow", 400), Stream::begin(served.port, "unread", 3_000));
    thread::sleep(Duration::from_secs(3));
    assert_eq!((unread.end(), slow.end()), (3_000, 400));
    println!("streams of {:.1?}", begun.elapsed());
    eventually("both stop", PATIENCE, || served.running().is_empty());
}

/// What pages and monitors ask for by themselves, of models that are not named here.
const OF_ALL: [&str; 7] =
    ["/health", "/metrics", "/v1/models", "/models", "/running", "/chat/props", "/chat/favicon.svg"];

/// And of one.
const OF_ONE: [&str; 10] = [
    "/metrics?model=",
    "/props?model=",
    "/slots?model=",
    "/upstream/NAME/",
    "/upstream/NAME/favicon.svg",
    "/upstream/NAME/sw.js",
    "/upstream/NAME/_app/version.json",
    "/upstream/NAME/props",
    "/upstream/NAME/slots",
    "/upstream/NAME/health",
];

/// An hour of polls, one a second of each kind, in some seconds.
#[test]
fn polls_start_nothing_and_keep_nothing_awake() {
    const STOP_AFTER: Duration = Duration::from_secs(2);
    let world = World::new();
    tiny(&world, "awake", "2s");
    tiny(&world, "cold", "2s");
    let served = Served::new(world);
    let (port, polls, is_over) = (served.port, AtomicUsize::new(0), AtomicBool::new(false));
    let wanted = super::rounds(3_600) * (OF_ALL.len() + 2 * OF_ONE.len());
    let took = thread::scope(|scope| {
        let _over = Over(&is_over);
        for first in 0..4 {
            let (polls, is_over) = (&polls, &is_over);
            scope.spawn(move || poll(port, first, polls, is_over));
        }
        eventually("polls", PATIENCE, || polls.load(Relaxed) > 100);
        assert_eq!(served.running(), Vec::<String>::new());
        assert_eq!(served.ask("awake"), Ok("awake awake awake ".to_owned()));
        let since = Instant::now();
        eventually("it stops", PATIENCE, || served.running().is_empty());
        let took = since.elapsed();
        eventually("polls", PATIENCE * 10, || polls.load(Relaxed) >= wanted);
        took
    });
    println!("{} polls; stopped {took:.1?} after its last request", polls.load(Relaxed));
    assert!(took >= STOP_AFTER.mul_f32(0.95) && took < STOP_AFTER + Duration::from_secs(3), "{took:?}");
    assert_eq!((served.running().len(), said(&served, " start: asked for")), (0, 1));
}

fn poll(port: u16, first: usize, polls: &AtomicUsize, is_over: &AtomicBool) {
    let named = ["awake", "cold"].into_iter().flat_map(|name| {
        OF_ONE.iter().map(move |path| match path.strip_suffix('=') {
            Some(_) => format!("{path}{name}"),
            None => path.replace("NAME", name),
        })
    });
    let paths: Vec<String> = OF_ALL.iter().map(|&path| path.to_owned()).chain(named).collect();
    let mut kept = None;
    for path in paths.iter().cycle().skip(first * paths.len() / 4) {
        if is_over.load(Relaxed) {
            return;
        }
        let mut connection = kept.take().unwrap_or_else(|| Connection::open(port).unwrap());
        connection.send(&get(path)).unwrap();
        let head = connection.head().unwrap_or_else(|why| panic!("{path}: {why}"));
        let closes = head.closes;
        connection.body(head).unwrap_or_else(|why| panic!("{path}: {why}"));
        kept = (!closes).then_some(connection);
        polls.fetch_add(1, Relaxed);
    }
}

/// Ends the polls when it is dropped: also if the test fails.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
