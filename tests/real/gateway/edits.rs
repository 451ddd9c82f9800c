//! Edits under load: they cost waiting time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::served::{PATIENCE, Served, Stream, ask, slow_toml};
use crate::support::{World, eventually};

/// How long a pass waits for a locked database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Clients that ask for a model again and again, and what went wrong.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    clients: Vec<thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(port: u16, model: &'static str) -> Self {
        let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients = (0..4)
            .map(|_| {
                let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
                thread::spawn(move || {
                    let mut failed = Vec::new();
                    while !is_over.load(Ordering::SeqCst) {
                        match ask(port, model) {
                            Ok(_) => drop(answered.fetch_add(1, Ordering::SeqCst)),
                            Err(why) => failed.push(why),
                        }
                    }
                    failed
                })
            })
            .collect();
        Self { is_over, answered, clients }
    }

    /// Waits for so many more answers.
    fn goes_on(&self, more: usize) {
        let from = self.answered.load(Ordering::SeqCst);
        eventually("more answers", PATIENCE, || self.answered.load(Ordering::SeqCst) >= from + more);
    }

    /// Waits for one more answer, not long.
    fn answers_within(&self, limit: Duration) {
        let from = self.answered.load(Ordering::SeqCst);
        eventually("another answer", limit, || self.answered.load(Ordering::SeqCst) > from);
    }

    #[track_caller]
    fn never_failed(self) {
        self.is_over.store(true, Ordering::SeqCst);
        let failed: Vec<String> = self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        assert_eq!(failed, Vec::<String>::new());
    }
}

fn with_context(name: &str, tokens: u32) -> String {
    World::tiny_toml(name).replace("512", &tokens.to_string())
}

#[test]
fn an_edit_of_one_model_does_not_touch_the_stream_of_another() {
    let world = World::new();
    let toml = slow_toml(&world, "a");
    world.write_definition("a", &toml);
    world.tiny("b");
    world.converges();
    let (a, b) = (world.pid("a"), world.pid("b"));
    let served = Served::new(world);
    let stream = Stream::begin(served.port, "a", 300);
    served.world.write_definition("b", &with_context("b", 256));
    eventually("b restarts", PATIENCE, || served.world.instances().iter().any(|(pid, name)| name == "b" && *pid != b));
    assert_eq!(served.ask("b"), Ok("b b b ".to_owned()));
    assert_eq!(stream.end(), 300);
    assert_eq!(served.world.pid("a"), a);
}

#[test]
fn ten_quick_saves_and_a_rollback_under_load_fail_no_request() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    let pid = world.pid("a");
    let served = Served::new(world);
    let load = Load::on(served.port, "a");
    load.goes_on(20);
    for save in 1..=10 {
        served.world.write_definition("a", &with_context("a", 512 + 64 * save));
        thread::sleep(Duration::from_millis(20));
    }
    eventually("it restarts", PATIENCE, || served.world.is_replaced("a", pid));
    load.goes_on(20);
    // This one dies: the server of before comes back.
    served.world.weights_that_die("bad");
    served.world.write_definition("a", &with_context("a", 512).replace("weights/a.gguf", "weights/bad.gguf"));
    served.watcher.as_ref().unwrap().eventually_says("waiting for an edit");
    load.goes_on(20);
    load.never_failed();
}

#[test]
fn reconcile_beside_a_serving_watcher_fails_no_request() {
    let world = World::new();
    world.tiny("a");
    let served = Served::new(world);
    let load = Load::on(served.port, "a");
    load.goes_on(20);
    for round in 0..4 {
        let pid = served.world.pid("a");
        served.world.write_definition("a", &with_context("a", 256 + 64 * round));
        served.world.run(&["reconcile"]).exits_with(&[0]);
        assert_ne!(served.world.pid("a"), pid);
        served.world.run(&["restart", "a"]).exits(0);
    }
    load.goes_on(20);
    load.never_failed();
}

#[test]
fn a_stream_is_drained_before_reconcile_beside_the_watcher_restarts_its_server() {
    let world = World::new();
    let toml = slow_toml(&world, "a");
    world.write_definition("a", &toml);
    world.converges();
    let served = Served::new(world);
    let pid = served.world.pid("a");
    let stream = Stream::begin(served.port, "a", 300);
    served.world.write_definition("a", &toml.replace("4096", "2048"));
    let reconcile = served.world.start(&["reconcile"]);
    assert_eq!(stream.end(), 300);
    drop(reconcile);
    eventually("it restarts", PATIENCE, || served.world.is_replaced("a", pid));
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
}

#[test]
fn a_watcher_that_hangs_keeps_reconcile_from_stopping_a_server_and_is_named() {
    let world = World::new();
    world.tiny("a");
    let mut served = Served::new(world);
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
    let pid = served.world.pid("a");
    let watcher = served.watcher().pid().as_raw_nonzero().get();
    served.watcher().signal(rustix::process::Signal::STOP);
    served.world.write_definition("a", &with_context("a", 256));
    let named = format!("pid {watcher}");
    served.world.run(&["reconcile", "--no-wait"]).exits(1).says(&[&named, "herdsman.sock", "no server was stopped"]);
    assert_eq!(served.world.pid("a"), pid);
    served.watcher().signal(rustix::process::Signal::CONT);
    eventually("the watcher does it", PATIENCE, || served.world.is_replaced("a", pid));
}

/// A pass cannot record that the server drains, so the server stays in rotation.
#[test]
fn an_edit_that_cannot_be_recorded_costs_no_request_its_answer() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    let pid = world.pid("a");
    let mut served = Served::new(world);
    let load = Load::on(served.port, "a");
    load.goes_on(20);
    let other = rusqlite::Connection::open(served.world.path().join("state/herdsman.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    served.world.write_definition("a", &with_context("a", 256));
    let begun = Instant::now();
    // Into the second pass, which waits for the lock too.
    while begun.elapsed() < BUSY_TIMEOUT * 2 {
        load.answers_within(Duration::from_secs(3));
    }
    served.watcher().eventually_says("another program has held the database locked");
    assert_eq!(served.world.pid("a"), pid);
    other.execute_batch("COMMIT").unwrap();
    eventually("it restarts", PATIENCE, || served.world.is_replaced("a", pid));
    load.goes_on(20);
    load.never_failed();
}
