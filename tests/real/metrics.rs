//! Prometheus asks a watcher.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use crate::support::{Watcher, World, eventually, free_port};

const PATIENCE: Duration = Duration::from_secs(30);

/// Status, content type and body of an answer.
pub fn ask(port: u16, request: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let kind = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-type: ").map(str::to_owned));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), kind.unwrap_or_default(), body.to_owned())
}

/// The samples of an exposition, each by its name and labels; panics where it is
/// not Prometheus' text format: every family has HELP and TYPE before its
/// samples, once, and no sample comes twice.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut families) = (BTreeMap::new(), BTreeSet::new());
    let (mut helped, mut family) = ("", ("", ""));
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    assert!(text.ends_with('\n'), "{text:?}");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            helped = help.split_once(' ').unwrap().0;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            family = kind.split_once(' ').unwrap();
            assert_eq!(family.0, helped, "HELP and TYPE belong together: {line}");
            assert!(families.insert(family.0), "twice: {line}");
            assert!(["counter", "gauge", "histogram"].contains(&family.1), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            assert!(is_name(name) && labels.ends_with('}'), "{line}");
            let of = if family.1 == "histogram" { name.rsplit_once('_').unwrap().0 } else { name };
            assert_eq!(of, family.0, "{line}");
            assert_eq!(family.1 == "counter", name.ends_with("_total"), "{line}");
            let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}

pub fn scrape(port: u16) -> BTreeMap<String, f64> {
    let (status, kind, text) = ask(port, "GET /metrics");
    assert_eq!((status, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    samples(&text)
}

fn watch(world: &World) -> (Watcher, u16) {
    let port = free_port();
    let watcher = world.watch(&["--resync=1h", "--debounce=20ms", "--metrics", &format!("127.0.0.1:{port}")]);
    watcher.eventually_says(&format!("serving metrics at http://127.0.0.1:{port}/metrics"));
    (watcher, port)
}

#[test]
fn a_scrape_shows_wanted_states_actual_states_and_events() {
    let world = World::new();
    world.tiny("a");
    world.write_definition("off", &format!("state = \"stopped\"\n{}", World::tiny_toml("a")));
    world.write_definition("wrong", "model = 7\n");
    let (watcher, port) = watch(&world);
    watcher.eventually_says("a is ready");
    let has = |series: &str, value: f64| scrape(port).get(series) == Some(&value);
    eventually("a runs", PATIENCE, || has("herdsman_model_observed_state{model=\"a\",state=\"running\"}", 1.0));
    let seen = scrape(port);
    for (series, value) in [
        ("herdsman_model_observed_state{model=\"a\",state=\"error\"}", 0.0),
        ("herdsman_model_desired_state{model=\"a\",state=\"running\"}", 1.0),
        ("herdsman_model_desired_state{model=\"off\",state=\"stopped\"}", 1.0),
        ("herdsman_model_observed_state{model=\"off\",state=\"idle\"}", 1.0),
        ("herdsman_model_generation{model=\"a\"}", 1.0),
        ("herdsman_model_out_of_sync_seconds{model=\"a\"}", 0.0),
        ("herdsman_definitions_invalid", 1.0),
        ("herdsman_passes_total{result=\"failed\"}", 0.0),
        ("herdsman_notifications_pending", 0.0),
        (concat!("herdsman_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(seen.get(series), Some(&value), "{series} in {seen:#?}");
    }
    let passes = seen["herdsman_passes_total{result=\"ok\"}"];
    assert!(passes >= 1.0);
    assert_eq!(seen["herdsman_pass_duration_seconds_count"], passes);
    assert!(seen["process_start_time_seconds"] > 1e9);
    // From 0 on, so that `increase()` sees the first event.
    let counters = [
        "crashes_total{model=\"a\"}",
        "failed_starts_total{model=\"a\"}",
        "restarts_total{model=\"a\",reason=\"crash\"}",
    ];
    for series in counters {
        assert_eq!(seen.get(&*format!("herdsman_{series}")), Some(&0.0), "{series} in {seen:#?}");
    }

    world.kill("a");
    eventually("the crash is counted", PATIENCE, || has("herdsman_crashes_total{model=\"a\"}", 1.0));
    eventually("so is the start", PATIENCE, || has("herdsman_restarts_total{model=\"a\",reason=\"crash\"}", 1.0));
    let client = rusqlite::Connection::open(world.state_dir().join("herdsman.db")).unwrap();
    client.execute("UPDATE models SET ctx_size = 7 WHERE name = 'a'", []).unwrap();
    eventually("the drift is counted", PATIENCE, || has("herdsman_drift_total{model=\"a\"}", 1.0));
    world.weights_that_die("bad");
    world.write_definition("a", &World::tiny_toml("bad"));
    eventually("it is rolled back", PATIENCE, || {
        has("herdsman_restarts_total{model=\"a\",reason=\"rollback\"}", 1.0)
            && has("herdsman_model_observed_state{model=\"a\",state=\"running\"}", 1.0)
    });
    assert!(scrape(port)["herdsman_model_out_of_sync_seconds{model=\"a\"}"] > 0.0);
    // A file that cannot be read holds up deletions.
    world.remove_definition("wrong");
    world.remove_definition("off");
    eventually("what is gone has no metric", PATIENCE, || {
        !scrape(port).keys().any(|series| series.contains("model=\"off\""))
    });
}

#[test]
fn wrong_slow_and_frequent_requests_disturb_nothing() {
    let world = World::new();
    world.tiny("a");
    let (watcher, port) = watch(&world);
    assert_eq!(ask(port, "GET /").0, 404);
    assert_eq!(ask(port, "POST /metrics").0, 405);
    // Fewer than it takes at a time; they say nothing, ever.
    let silent: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    watcher.eventually_says("a is ready");
    scrape(port);
    // More than it takes: they wait, until the silent ones are shown the door.
    let more: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    world.tiny("b");
    watcher.eventually_says("b is ready");
    drop((silent, more));
    scrape(port);
    let ended = watcher.stop();
    assert_eq!(ended.code, Some(0));
}

#[test]
fn a_taken_address_is_an_error_that_names_it() {
    let world = World::new();
    let taken = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    world.run(&["watch", "--metrics", &address]).exits(64).says(&["--metrics", &address, "in use"]);
    world
        .run(&["watch", "--metrics", "9090"])
        .exits(64)
        .says(&["cannot listen on 9090 (--metrics)", "such as 127.0.0.1:9090"]);
}

#[test]
fn overrides_are_visible_and_raise_no_alarm() {
    let world = World::new();
    ["a", "b"].iter().for_each(|name| world.tiny(name));
    let (watcher, port) = watch(&world);
    ["a", "b"].iter().for_each(|name| watcher.eventually_says(&format!("{name} is ready")));
    world.run(&["stop", "a"]).exits(0);
    world.run(&["suspend", "b"]).exits(0);
    world.write_definition("b", &World::tiny_toml("b").replace("512", "1024"));
    let has = |series: &str, value: f64| scrape(port).get(series) == Some(&value);
    eventually("it has a metric", PATIENCE, || {
        has("herdsman_model_by_hand{model=\"a\",what=\"stopped\"}", 1.0)
            && has("herdsman_model_by_hand{model=\"b\",what=\"suspended\"}", 1.0)
    });
    for model in ["a", "b"] {
        let series = format!("herdsman_model_out_of_sync_seconds{{model=\"{model}\"}}");
        eventually("it is in order", PATIENCE, || has(&series, 0.0));
    }
    world.run(&["start", "a"]).exits(0);
    eventually("it has no metric", PATIENCE, || !has("herdsman_model_by_hand{model=\"a\",what=\"stopped\"}", 1.0));
}
