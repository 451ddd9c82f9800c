//! Models that requests start, and that stop when nobody asks for them.

use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::served::{PATIENCE, Served, ask};
use crate::support::{World, eventually, get, post};

fn on_demand(world: &World, name: &str, more: &str) {
    world.weights(name, &format!("{name} "));
    world.write_definition(name, &format!("state = \"on_demand\"\n{}{more}", World::tiny_toml(name)));
}

/// Acceptance: 1,000 rounds in `tests/long`.
pub const ROUNDS: usize = 15;

#[test]
fn requests_that_arrive_while_it_stops_are_answered() {
    let world = World::new();
    on_demand(&world, "a", "[idle]\nstop_after = \"200ms\"\n");
    let served = Served::new(world);
    stops_and_starts(&served, ROUNDS);
}

/// Asks around the moment at which an idle model stops, and always gets an answer.
pub fn stops_and_starts(served: &Served, rounds: usize) {
    let stops = || served.watcher.as_ref().unwrap().log().matches("a stop: idle").count();
    let mut round = 0;
    // A busy machine stops it later: further rounds wait longer, so that some meet a stop.
    while round < rounds || stops() == 0 {
        assert!(round < 4 * rounds, "it never stopped, so nothing was shown");
        assert_eq!(served.ask("a"), Ok("a a a ".to_owned()), "in round {round}");
        let later = 170 * (round / rounds) as u64;
        thread::sleep(Duration::from_millis(170 + (round as u64 * 13) % 120 + later));
        round += 1;
    }
}

#[test]
fn a_thousand_requests_start_it_once_and_nobody_is_refused() {
    let world = World::new();
    on_demand(&world, "a", "");
    let served = Served::new(world);
    assert_eq!(served.running(), Vec::<String>::new());
    let port = served.port;
    let clients: Vec<_> = (0..200).map(|_| thread::spawn(move || ask(port, "a"))).collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), Ok("a a a ".to_owned()));
    }
    assert_eq!(served.running(), ["a"]);
    let log = served.watcher.as_ref().unwrap().log();
    assert_eq!(log.matches("a start: asked for").count(), 1, "{log}");
    assert!(log.lines().count() < 15, "passes for every request:\n{log}");
}

#[test]
fn polls_and_lists_start_nothing() {
    let world = World::new();
    on_demand(&world, "a", "");
    let served = Served::new(world);
    assert_eq!(get(served.port, "/v1/models").unwrap().0, 200);
    assert_eq!(get(served.port, "/slots?model=a").unwrap().0, 503);
    assert_eq!(served.running(), Vec::<String>::new());
}

#[test]
fn what_cannot_start_fails_at_once_with_the_reason_and_what_does_not_exist_is_unknown() {
    let world = World::new();
    world.weights_that_die("dies");
    world.write_definition("dies", &World::tiny_toml("dies"));
    world.tiny("stopped");
    world.write_definition("stopped", &format!("state = \"stopped\"\n{}", World::tiny_toml("stopped")));
    world.write_definition("broken", "model = 7\n");
    let mut served = Served::new(world);
    served.watcher().eventually_says("dies failed to start 2 times in a row");
    let begun = Instant::now();
    for (model, reason) in
        [("dies", "failed to start"), ("stopped", "declared stopped"), ("broken", "models.d/broken.toml:1")]
    {
        let why = served.ask(model).unwrap_err();
        assert!(why.starts_with("503") && why.contains(reason), "{model}: {why}");
    }
    assert!(served.ask("none").unwrap_err().starts_with("404"));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_client_that_leaves_calls_the_start_off_unless_it_began() {
    let world = World::new();
    on_demand(&world, "a", "");
    let served = Served::new(world);
    // Whatever was begun, nothing is left waiting for ever.
    let client = std::net::TcpStream::connect(("127.0.0.1", served.port)).unwrap();
    drop(client);
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
}

#[test]
fn a_server_that_is_killed_costs_waiting_time_only() {
    let world = World::new();
    world.tiny("a");
    let served = Served::new(world);
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
    for round in 0..3 {
        served.world.kill("a");
        assert_eq!(served.ask("a"), Ok("a a a ".to_owned()), "after kill {round}");
    }
}

#[test]
fn a_watcher_that_is_killed_leaves_no_gateway_and_the_next_one_serves_at_once() {
    let world = World::new();
    world.tiny("a");
    let mut served = Served::new(world);
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
    let pid = served.world.pid("a");
    let ended = served.watcher.take().unwrap().end_by(Signal::KILL);
    assert_eq!(ended.code, None);
    assert!(served.world.state_dir().join("herdsman.sock").exists());
    // Nobody listens there: a pass stops servers as where nobody serves.
    served.world.write_definition("a", &World::tiny_toml("a").replace("512", "256"));
    served.world.converges();
    assert_ne!(served.world.pid("a"), pid);
    served.start();
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
    let ended = served.watcher.take().unwrap().stop();
    assert_eq!(ended.code, Some(0));
    assert!(!served.world.state_dir().join("herdsman.sock").exists());
}

#[test]
fn down_beside_a_serving_watcher_is_refused() {
    let world = World::new();
    world.tiny("a");
    let served = Served::new(world);
    served.world.run(&["down"]).exits(75);
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
}

#[test]
fn a_taken_address_is_a_usage_error_that_names_it() {
    let world = World::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    world.run(&["watch", "--listen", &address]).exits(64).says(&[&address, "in use"]);
    world.run(&["watch", "--listen", "nowhere"]).exits(64).says(&["nowhere", "an IP address or `localhost`"]);
}

#[test]
fn a_key_that_is_removed_stops_working() {
    let world = World::new();
    world.tiny("a");
    let key = |name: &str| format!("[[serve.keys]]\nname = \"{name}\"\nkey = {{ file = \"{name}.key\" }}\n");
    for name in ["ann", "ben"] {
        let path = world.path().join(format!("{name}.key"));
        std::fs::write(&path, format!("{name}-secret\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    std::fs::write(world.settings(), key("ann") + &key("ben")).unwrap();
    let mut served = Served::new(world);
    served.watcher().eventually_says("a is ready");
    assert_eq!(served.ask_with("a", "ann-secret"), 200);
    assert_eq!(served.ask_with("a", "other"), 401);
    std::fs::write(served.world.settings(), key("ben")).unwrap();
    // The next pass may be half a minute away.
    eventually("it stops working", Duration::from_secs(5), || served.ask_with("a", "ann-secret") == 401);
    assert_eq!(served.ask_with("a", "ben-secret"), 200);
    // Without the last key, a proxy on this machine lets in nobody: neither with a key nor without.
    let proxied = "ben-secret\r\nX-Forwarded-For: 192.0.2.7";
    assert_eq!(served.ask_with("a", proxied), 200);
    std::fs::write(served.world.settings(), "[serve]\nhold = \"1m\"\n").unwrap();
    eventually("proxies are refused", Duration::from_secs(5), || served.ask_with("a", proxied) == 403);
    assert_eq!(served.ask_with("a", "ben-secret"), 200, "this machine needs no key");
    std::fs::write(served.world.settings(), "[serve]\nopen = true\n").unwrap();
    eventually("proxies are let in", Duration::from_secs(5), || served.ask_with("a", proxied) == 200);
}

#[test]
fn herdsman_does_not_listen_for_everybody_without_keys() {
    let world = World::new();
    world.run(&["watch", "--listen", "0.0.0.0:0"]).exits(64).says(&["refusing to listen on 0.0.0.0:0", "serve.keys"]);
}

fn unload(served: &Served, model: &str) {
    assert_eq!(post(served.port, "/models/unload", &serde_json::json!({"model": model})).unwrap().0, 200);
    eventually("it stops", PATIENCE, || !served.running().contains(&model.to_owned()));
}

#[test]
fn one_whose_file_was_broken_while_it_was_stopped_answers_and_can_be_unloaded() {
    let world = World::new();
    on_demand(&world, "a", "");
    let mut served = Served::new(world);
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
    unload(&served, "a");
    served.world.write_definition("a", "state = \"on_demand\"\nmodel = 7\n");
    served.watcher().eventually_says("a is waiting: left unchanged");
    for _ in 0..2 {
        assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
        unload(&served, "a");
    }
}

#[test]
fn a_new_file_that_claims_their_names_takes_nothing_from_those_that_are_served() {
    let world = World::new();
    world.weights("a", "a ");
    world.weights("b", "b ");
    let aliases = |names: &str, of: &str| format!("aliases = [{names}]\n{}", World::tiny_toml(of));
    world.write_definition("a", &aliases("\"gpt\"", "a"));
    world.write_definition("b", &format!("state = \"on_demand\"\n{}", aliases("\"claude\"", "b")));
    let mut served = Served::new(world);
    served.watcher().eventually_says("a is ready");
    served.world.write_definition("gpt", &World::tiny_toml("a"));
    served.world.write_definition("c", &aliases("\"claude\", \"b\"", "a"));
    served.watcher().eventually_says("b is waiting: left unchanged");
    served.watcher().eventually_says("a is waiting: left unchanged");
    for (name, model) in [("a", "a"), ("gpt", "a"), ("b", "b"), ("claude", "b")] {
        assert_eq!(served.ask(name), Ok(format!("{model} {model} {model} ")), "{name}");
    }
    assert!(served.ask("c").unwrap_err().starts_with("503"));
}

#[test]
fn what_would_not_start_is_refused_without_a_pass_and_starts_soon_after_it_can() {
    let world = World::new();
    on_demand(&world, "a", "");
    let weights = world.path().join("weights/a.gguf");
    std::fs::write(&weights, "not weights").unwrap();
    let herdsman = world.command();
    let mut served = Served::by(world, herdsman, &["--resync", "1h"]);
    served.watcher().eventually_says("a cannot start when asked for: ");
    let before = served.watcher().log();
    for _ in 0..20 {
        let why = served.ask("a").unwrap_err();
        assert!(why.starts_with("503") && why.contains("a.gguf"), "{why}");
    }
    assert_eq!(served.watcher().log(), before, "no pass has anything to say");
    for arguments in [["why", "a"], ["status", "a"]] {
        served.world.run(&arguments).says(&["cannot start now: ", "a.gguf"]);
    }
    // Nothing says when weights change: requests do.
    served.world.weights("a", "a ");
    eventually("it answers", PATIENCE, || served.ask("a").is_ok());
}

#[test]
fn an_unloaded_model_stops_until_it_is_asked_for_again() {
    let world = World::new();
    on_demand(&world, "a", "");
    let served = Served::new(world);
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
    assert_eq!(post(served.port, "/models/unload", &serde_json::json!({"model": "a"})).unwrap().0, 200);
    eventually("it stops", PATIENCE, || served.running().is_empty());
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
}

#[test]
fn a_command_beside_the_watcher_ends_once_requests_go_by_it() {
    let world = World::new();
    on_demand(&world, "a", "");
    let served = Served::new(world);
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
    for round in 0..4 {
        served.world.run(&["stop", "a"]).exits(0);
        let refused = served.ask("a").unwrap_err();
        assert!(refused.starts_with("503 ") && refused.contains("stopped by hand"), "{refused}");
        served.world.run(&["start", "a"]).exits(0);
        assert_eq!(served.ask("a"), Ok("a a a ".to_owned()), "in round {round}");
        on_demand(&served.world, &format!("new-{round}"), "");
        served.world.run(&["reconcile"]).exits(0);
        let name = format!("new-{round}");
        assert_eq!(served.ask(&name), Ok(format!("{name} {name} {name} ")), "in round {round}");
    }
}

#[test]
fn a_start_by_hand_makes_room_in_its_group() {
    let world = World::new();
    std::fs::write(world.models_dir().join("_groups.toml"), "[gpu]\nmax_running = 1\n").unwrap();
    for name in ["ga", "gb"] {
        world.weights(name, &format!("{name} "));
        let toml = World::tiny_toml(name);
        world.write_definition(name, &format!("state = \"on_demand\"\ngroup = \"gpu\"\n{toml}"));
    }
    let served = Served::new(world);
    assert!(served.ask("gb").is_ok());
    served.world.run(&["start", "ga"]).exits(0);
    assert_eq!(served.running(), ["ga"]);
    assert!(served.ask("ga").is_ok());
}

#[test]
fn while_the_last_stream_ends_new_clients_are_refused() {
    let world = World::new();
    let toml = super::served::slow_toml(&world, "m");
    world.write_definition("m", &toml);
    let mut served = Served::new(world);
    let stream = super::served::Stream::begin(served.port, "m", 3000);
    served.watcher().signal(Signal::TERM);
    served.watcher().eventually_says("the watcher stops");
    // The process itself lives for 3 s, because of the stream.
    let soon = Duration::from_secs(1);
    eventually("nobody listens", soon, || std::net::TcpStream::connect(("127.0.0.1", served.port)).is_err());
    drop(stream);
}
