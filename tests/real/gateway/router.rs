//! A client of llama-server's router finds what it knows: the real router and ours
//! are asked the same, and compared.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::front::Front;
use crate::support::{eventually, free_port, get, llama_server, post};

const PATIENCE: Duration = Duration::from_secs(30);

/// The real router, over the same weights.
struct Router {
    port: u16,
    child: Child,
}

impl Router {
    fn new(front: &Front) -> Self {
        let port = free_port();
        let log = File::create(front.weights().join("router.log")).unwrap();
        let mut command = Command::new(llama_server());
        command.arg("--models-dir").arg(front.weights()).args(["--host", "127.0.0.1", "--port"]);
        command.arg(port.to_string()).args(["--ctx-size", "512", "--threads", "1", "--offline"]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        // It listens before it can answer, and says 503 until then.
        eventually("the router is ready", PATIENCE, || get(port, "/health").is_ok_and(|(status, _)| status == 200));
        Self { port, child }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        // It stops its own servers when it is asked to end, and only then.
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap();
    }
}

/// The keys of all objects in it, each with where it is. Of a list, those of its first
/// element.
fn keys(value: &Value) -> BTreeSet<String> {
    fn add(value: &Value, at: &str, keys: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                keys.insert(format!("{at}.{key}"));
                add(value, &format!("{at}.{key}"), keys);
            }),
            Value::Array(list) => list.iter().take(1).for_each(|value| add(value, &format!("{at}[]"), keys)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    add(value, "", &mut found);
    found
}

fn status_of(port: u16, model: &str) -> String {
    let (_, list) = get(port, "/models").unwrap();
    let entry = list["data"].as_array().unwrap().iter().find(|entry| entry["id"] == model).unwrap();
    entry["status"]["value"].as_str().unwrap().to_owned()
}

#[test]
fn a_client_of_the_router_finds_every_field_and_status_that_it_knows() {
    let front = Front::new(&["alpha", "beta"]);
    let router = Router::new(&front);
    let ports = [router.port, front.port];

    for path in ["/props", "/props?autoload=false", "/health", "/models", "/v1/models", "/tools"] {
        let [(theirs, their_value), (ours, our_value)] = ports.map(|port| get(port, path).unwrap());
        assert_eq!(theirs, ours, "{path}");
        let missing: Vec<_> = keys(&their_value).difference(&keys(&our_value)).cloned().collect();
        assert!(missing.is_empty(), "{path} lacks {missing:?}");
    }
    assert_eq!(ports.map(|port| get(port, "/props").unwrap().1["role"].clone()), ["router", "router"]);
    assert_eq!(ports.map(|port| status_of(port, "alpha")), ["unloaded", "unloaded"]);
    assert_eq!(front.started("alpha"), 0, "none of this loads anything");

    // Loading, and what follows from it.
    let load = |port, path: &str, model: &str| post(port, path, &json!({"model": model})).unwrap();
    for port in ports {
        assert_eq!(load(port, "/models/load", "alpha"), (200, json!({"success": true})));
        eventually("alpha is loaded", PATIENCE, || status_of(port, "alpha") == "loaded");
    }
    eventually("the server has said what it is", PATIENCE, || {
        let [theirs, ours] = ports.map(|port| get(port, "/models").unwrap().1["data"][0].clone());
        let missing: Vec<_> = keys(&theirs).difference(&keys(&ours)).cloned().collect();
        missing.is_empty()
    });

    let same =
        [("/models/load", "alpha"), ("/models/load", "nope"), ("/models/unload", "beta"), ("/models/unload", "nope")];
    for (path, model) in same {
        let [(theirs, their_value), (ours, our_value)] = ports.map(|port| load(port, path, model));
        assert_eq!((theirs, keys(&their_value)), (ours, keys(&our_value)), "{path} {model}");
        assert_eq!(their_value["error"]["type"], our_value["error"]["type"], "{path} {model}");
        if theirs != 404 {
            assert_eq!(their_value, our_value, "{path} {model}");
        }
    }

    // Unloading, and loading again.
    for port in ports {
        assert_eq!(load(port, "/models/unload", "alpha"), (200, json!({"success": true})));
        eventually("alpha is unloaded", PATIENCE, || status_of(port, "alpha") == "unloaded");
        assert_eq!(load(port, "/models/load", "alpha"), (200, json!({"success": true})));
        eventually("alpha is loaded", PATIENCE, || status_of(port, "alpha") == "loaded");
    }
    assert_eq!(front.started("alpha"), 2);
}

#[test]
fn a_model_that_runs_for_good_is_not_unloaded() {
    let front = Front::new(&["alpha"]);
    front.runs_for_good("alpha");
    let (status, answer) = post(front.port, "/models/unload", &json!({"model": "alpha"})).unwrap();
    assert_eq!(status, 400);
    assert!(answer["error"]["message"].as_str().unwrap().contains("`herdsman stop alpha`"), "{answer}");
    assert_eq!(get(front.server_port("alpha"), "/health").unwrap().0, 200);
}

/// The statuses of one model, as events say them until it is loaded.
fn events_of_a_load(port: u16, model: &str) -> Vec<(String, BTreeSet<String>)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /models/sse HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    assert_eq!(post(port, "/models/load", &json!({"model": model})).unwrap().0, 200);
    let mut events = Vec::new();
    loop {
        let line = lines.next().expect("the stream goes on").unwrap();
        let Some(event) = line.strip_prefix("data: ") else { continue };
        let event: Value = serde_json::from_str(event).unwrap();
        assert_eq!(event["model"], model);
        let status = event["data"]["status"].as_str().unwrap().to_owned();
        let is_loaded = status == "loaded";
        events.push((status, keys(&event)));
        if is_loaded {
            return events;
        }
    }
}

#[test]
fn events_of_a_load_are_those_of_the_router() {
    let front = Front::new(&["alpha"]);
    let router = Router::new(&front);
    let [theirs, ours] = [router.port, front.port].map(|port| events_of_a_load(port, "alpha"));
    let statuses = |events: &[(String, BTreeSet<String>)]| {
        let mut statuses: Vec<_> = events.iter().map(|(status, _)| status.clone()).collect();
        // Theirs say more than once how far loading is.
        statuses.dedup();
        statuses
    };
    assert_eq!(statuses(&ours), statuses(&theirs));
    let [theirs, ours] = [&theirs, &ours].map(|events| &events.last().unwrap().1);
    let missing: Vec<_> = theirs.difference(ours).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
