//! What Prometheus and `status` say of requests.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::served::{PATIENCE, Served, Stream, slow_toml};
use crate::metrics::{ask, scrape};
use crate::support::{World, eventually, get, is_as_schema, post};

/// Two models of a group for one, and a key.
fn world() -> World {
    let world = World::new();
    std::fs::write(world.models_dir().join("_groups.toml"), "[chat]\nmax_running = 1\n").unwrap();
    for name in ["a", "b"] {
        let toml = slow_toml(&world, name);
        let more = if name == "b" { "[idle]\nstop_after = \"1s\"\n" } else { "" };
        world.write_definition(name, &format!("state = \"on_demand\"\ngroup = \"chat\"\n{toml}{more}"));
    }
    let key = world.path().join("ann.key");
    std::fs::write(&key, "ann-secret\n").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(world.settings(), "[[serve.keys]]\nname = \"ann\"\nkey = { file = \"ann.key\" }\n").unwrap();
    world
}

#[test]
fn requests_are_counted_by_model_code_and_key_and_so_is_what_they_cause() {
    let served = Served::new(world());
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
    assert_eq!(served.ask_with("a", "ann-secret"), 200);
    assert_eq!(served.ask_with("a", "wrong"), 401);
    let chat = json!({"model": "a", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3});
    let (_, answer) = post(served.port, "/v1/chat/completions", &chat).unwrap();
    for name in ["none", "nothing"] {
        assert!(served.ask(name).unwrap_err().starts_with("404"));
    }
    // What is herdsman's own counts, too, but not the reading of this.
    for path in ["/health", "/v1/models", "/chat/v1/models", "/running", "/v1/models/none", "/v1/models/nothing"] {
        let _ = get(served.port, path).unwrap();
    }
    // `b` takes the place of `a`, and stops when nobody asks for it.
    assert_eq!(served.ask("b"), Ok("b b b ".to_owned()));
    eventually("b stops", PATIENCE, || scrape(served.port).get("herdsman_idle_stops_total{model=\"b\"}") == Some(&1.0));
    let seen = scrape(served.port);
    let prompt = answer["usage"]["prompt_tokens"].as_f64().unwrap();
    for (series, value) in [
        ("requests_total{code=\"200\",key=\"\",model=\"a\"}", 2.0),
        ("requests_total{code=\"200\",key=\"ann\",model=\"a\"}", 1.0),
        ("requests_total{code=\"401\",key=\"\",model=\"\"}", 1.0),
        ("requests_total{code=\"404\",key=\"\",model=\"\"}", 2.0 + 2.0),
        ("requests_total{code=\"200\",key=\"\",model=\"\"}", 4.0),
        ("requests_total{code=\"200\",key=\"\",model=\"b\"}", 1.0),
        // Both times the model had to start.
        ("request_hold_seconds_count{model=\"a\"}", 1.0),
        ("request_hold_seconds_count{model=\"b\"}", 1.0),
        ("request_duration_seconds_count{model=\"a\"}", 3.0),
        ("request_first_byte_seconds_count{model=\"a\"}", 3.0),
        ("request_retries_total{model=\"a\"}", 0.0),
        ("generated_tokens_total{model=\"a\"}", 3.0 + 1.0 + 3.0),
        ("starts_on_demand_total{model=\"a\"}", 1.0),
        ("starts_on_demand_total{model=\"b\"}", 1.0),
        ("evictions_total{group=\"chat\",model=\"a\"}", 1.0),
        ("idle_stops_total{model=\"a\"}", 0.0),
        ("requests_in_flight{model=\"a\"}", 0.0),
        ("requests_waiting{model=\"b\"}", 0.0),
    ] {
        assert_eq!(seen.get(&format!("herdsman_{series}")), Some(&value), "{series} in {seen:#?}");
    }
    // "hi" of a completion is 4 tokens.
    assert_eq!(seen["herdsman_prompt_tokens_total{model=\"a\"}"], prompt + 4.0 + 4.0);
    let hold = seen["herdsman_request_hold_seconds_sum{model=\"a\"}"];
    assert!(hold > 0.01 && hold <= seen["herdsman_request_first_byte_seconds_sum{model=\"a\"}"], "{hold}");
    let history = served.world.run(&["history", "a"]).exits(0);
    history.says(&["start", "asked for (1 waiting)", "stop", "makes room for b in group chat"]);
    served.world.run(&["history", "b"]).exits(0).says(&["idle for 1."]);
    served.world.run(&["why", "b"]).exits(0).says(&[
        "b is not running; it starts on demand.",
        "models.d/b.toml runs it on demand",
        "idle for 1.",
    ]);
}

#[test]
fn a_request_that_meets_a_dead_server_is_a_retry() {
    let world = World::new();
    world.tiny("a");
    let served = Served::new(world);
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
    let port = served.port;
    let counts = |series: &str, value: f64| {
        eventually(series, PATIENCE, || scrape(port).get(&format!("herdsman_{series}")) == Some(&value));
    };
    counts("requests_total{code=\"200\",key=\"\",model=\"a\"}", 1.0);
    let holds = scrape(port).get("herdsman_request_hold_seconds_count{model=\"a\"}").copied().unwrap_or_default();
    // It holds the request, and never answers.
    served.world.signal("a", Signal::STOP);
    let client = std::thread::spawn(move || super::served::ask(port, "a"));
    let gauge = "herdsman_requests_in_flight{model=\"a\"}";
    eventually("the server has it", PATIENCE, || scrape(port)[gauge] == 1.0);
    served.world.kill("a");
    assert_eq!(client.join().unwrap(), Ok("a a a ".to_owned()));
    counts("request_retries_total{model=\"a\"}", 1.0);
    counts("requests_total{code=\"200\",key=\"\",model=\"a\"}", 2.0);
    // It waited for the next server.
    counts("request_hold_seconds_count{model=\"a\"}", holds + 1.0);
}

#[test]
fn status_shows_requests_where_a_gateway_serves_and_waits_for_none_that_hangs() {
    let mut served = Served::new(world());
    let status = |served: &Served| served.world.run(&["status"]).exits(0);
    let row = |served: &Served, name: &str| -> Vec<String> {
        let ran = status(served);
        let line = ran.stdout.lines().find(|line| line.starts_with(name)).unwrap();
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect()
    };
    status(&served).says(&["RESTARTS  IN FLIGHT  WAITING  LAST USED  NOTE"]);
    assert_eq!(row(&served, "a")[8..11], ["0", "0", "-"]);
    let stream = Stream::begin(served.port, "a", 1500);
    let port = served.port;
    let other = std::thread::spawn(move || super::served::ask(port, "b"));
    eventually("b waits", PATIENCE, || row(&served, "b")[8..11] == ["0", "1", "just now"]);
    assert_eq!(row(&served, "a")[8..11], ["1", "0", "now"]);
    let report = served.world.run(&["status", "--format", "json"]).exits(0).json();
    is_as_schema("status", &report);
    let requests = &report["models"][0]["requests"];
    assert_eq!((&requests["in_flight"], &requests["waiting"]), (&json!(1), &json!(0)));
    assert!(requests["last_used"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    let gauges = scrape(served.port);
    assert_eq!(gauges["herdsman_requests_in_flight{model=\"a\"}"], 1.0);
    assert_eq!(gauges["herdsman_requests_waiting{model=\"b\"}"], 1.0);
    assert_eq!(stream.end(), 1500);
    assert_eq!(other.join().unwrap(), Ok("b b b ".to_owned()));

    served.watcher().signal(Signal::STOP);
    let begun = Instant::now();
    let ran = status(&served).says(&["note: the requests of models are unknown: the watcher (pid ", "within 1.0 s"]);
    assert!(begun.elapsed() < Duration::from_secs(5));
    ran.does_not_say("IN FLIGHT");
    served.watcher().signal(Signal::CONT);
    assert_eq!(served.watcher.take().unwrap().stop().code, Some(0));
    status(&served).does_not_say("IN FLIGHT");
}

#[test]
fn the_address_of_metrics_shows_the_same() {
    let world = World::new();
    world.tiny("a");
    let ports = crate::support::PortBlock::take();
    let [gateway, metrics] = [0, 1].map(|more| ports.range().start() + more);
    let at = |port: u16| format!("127.0.0.1:{port}");
    let watcher = world.watch(&["--resync=1h", "--listen", &at(gateway), "--metrics", &at(metrics)]);
    watcher.eventually_says("a is ready");
    assert_eq!(super::served::ask(gateway, "a"), Ok("a a a ".to_owned()));
    let series = "herdsman_requests_total{code=\"200\",key=\"\",model=\"a\"}";
    // The last byte is there before the request counts as over.
    for port in [gateway, metrics] {
        eventually("it is counted", PATIENCE, || scrape(port).get(series) == Some(&1.0));
    }
    assert_eq!(ask(metrics, "GET /v1/models").0, 404);
}
