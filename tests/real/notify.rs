//! Notifications when a model fails and when it recovers: once each, even if
//! they cannot be reached at first or herdsman is killed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::support::{Receiver, Watcher, World, eventually, is_as_schema, processes};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

fn tells(world: &World, notify: &str) {
    fs::write(world.settings(), format!("[notify]\n{notify}\n")).unwrap();
}

fn tells_webhook(world: &World, receiver: &Receiver) {
    tells(world, &format!("webhook = \"{}\"", receiver.url()));
}

/// A command that does as `script` (sh) says.
fn command(world: &World, script: &str) -> String {
    let path = world.path().join("tell");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Asserts that a payload is as the schema says.
#[track_caller]
fn is_valid(payload: &Value) {
    is_as_schema("notification", payload);
}

fn watch(world: &World) -> Watcher {
    world.watch(&["--resync=1h", "--debounce=20ms"])
}

fn break_it(world: &World, model: &str, more: &str) {
    let bad = format!("bad-{model}");
    world.weights_that_die(&bad);
    world.write_definition(model, &format!("{}{more}", World::tiny_toml(&bad)));
}

fn mend(world: &World, model: &str) {
    world.weights("good", "good ");
    world.write_definition(model, &World::tiny_toml("good"));
}

/// How many rows there are of what is to be delivered.
fn recorded(world: &World) -> i64 {
    let connection = Connection::open(world.state_dir().join("herdsman.db")).unwrap();
    connection.query_row("SELECT count(*) FROM herdsman_notifications", [], |row| row.get(0)).unwrap()
}

#[test]
fn announces_a_rollback_and_its_end_once_each_by_command_and_webhook() {
    let (world, receiver) = (World::new(), Receiver::answering(&[]));
    let file = world.path().join("heard");
    let script = format!("{{ echo \"$HERDSMAN_EVENT $HERDSMAN_MODEL $1\"; cat; echo; }} >> {}", file.display());
    fs::write(world.path().join("key"), "k3y\n").unwrap();
    let settings = format!(
        "command = [\"{}\", \"a $b\"]\nwebhook = \"{}\"\n[notify.headers]\nX-Key = {{ file = \"key\" }}",
        command(&world, &script),
        receiver.url()
    );
    tells(&world, &settings);
    world.tiny("a");
    world.converges();
    assert_eq!(receiver.events(), [""; 0]);
    break_it(&world, "a", "");
    let said = world.run(&["reconcile"]).exits(1);
    said.does_not_say("k3y").does_not_say("s3cret");

    let [request] = &receiver.requests()[..] else { panic!("{:#?}", receiver.requests()) };
    is_valid(&request.body);
    assert_eq!(request.line, "POST /hook/s3cret HTTP/1.1");
    assert_eq!(request.header("x-key"), Some("k3y"));
    assert_eq!(request.header("content-type"), Some("application/json"));
    let body = &request.body;
    assert_eq!((&body["event"], &body["model"]), (&json!("rolled_back"), &json!("a")), "{body:#}");
    assert_eq!((&body["generation"], &body["serving"]), (&json!(2), &json!(1)), "{body:#}");
    assert_eq!(body["status"], "running", "that of the moment it is sent: {body:#}");
    assert_eq!(body["details"]["origins"][0]["file"], "models.d/a.toml");
    // Now and then llama-server ends before it has written a word.
    let silent = body["reason"].as_str().unwrap().contains("a retry may show the cause");
    assert!(silent || !body["details"]["log"].as_array().unwrap().is_empty(), "{body:#}");

    let by_command = fs::read_to_string(&file).unwrap();
    let (head, payload) = by_command.split_once('\n').unwrap();
    assert_eq!(head, "rolled_back a a $b", "no shell looked at it");
    let payload: Value = serde_json::from_str(payload.trim()).unwrap();
    assert_eq!(payload["id"], body["id"], "the same, by both ways");

    world.run(&["reconcile"]).exits(1);
    assert_eq!(receiver.events(), ["rolled_back"], "it is not announced again while it lasts");
    mend(&world, "a");
    world.converges();
    assert_eq!(receiver.events(), ["rolled_back", "recovered"]);
    is_valid(&receiver.requests()[1].body);
    world.is_settled();
    assert_eq!((receiver.events().len(), recorded(&world)), (2, 0));
}

#[test]
fn announces_a_failure_of_a_model_that_never_ran() {
    let (world, receiver) = (World::new(), Receiver::answering(&[]));
    tells_webhook(&world, &receiver);
    world.tiny("a");
    world.converges();
    break_it(&world, "a", "[update]\non_failure = \"stop\"\n");
    world.write_definition("new", &World::tiny_toml("bad-a"));
    world.run(&["reconcile"]).exits(1);
    let mut got: Vec<(String, Value)> =
        receiver.requests().iter().map(|r| (r.body["model"].to_string(), r.body["event"].clone())).collect();
    got.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(got, [("\"a\"".to_owned(), json!("failed")), ("\"new\"".to_owned(), json!("failed"))]);
    for request in receiver.requests() {
        is_valid(&request.body);
        assert_eq!((&request.body["serving"], &request.body["status"]), (&Value::Null, &json!("error")));
    }
    world.remove_definition("new");
    mend(&world, "a");
    world.converges();
    eventually("both are over", PATIENCE, || {
        world.run(&["reconcile"]).exits(0);
        receiver.events().iter().filter(|event| *event == "recovered").count() == 2
    });
}

#[test]
fn retries_a_failed_delivery_even_in_the_next_watcher() {
    let (world, receiver) = (World::new(), Receiver::answering(&[500]));
    tells_webhook(&world, &receiver);
    world.tiny("a");
    let watcher = watch(&world);
    watcher.eventually_says("a is ready");
    break_it(&world, "a", "");
    let first = receiver.eventually_got(1);
    watcher.eventually_says("webhook for a (rolled back) failed: http://127.0.0.1");
    watcher.has_not_said("s3cret");
    // The watcher logs the failure before it records it.
    eventually("it is recorded", PATIENCE, || world.run(&["status"]).stdout.contains("answered 500"));
    watcher.end_by(Signal::KILL);
    world.run(&["status"]).exits(0).says(&["1 notification pending", "answered 500"]);
    let watcher = watch(&world);
    let again = receiver.eventually_got(2);
    assert_eq!(first.body["id"], again.body["id"]);
    watcher.eventually_says("webhook for a (rolled back) delivered");
    eventually("it is done", PATIENCE, || recorded(&world) == 0);
    assert_eq!(receiver.events(), ["rolled_back"; 2]);
}

#[test]
fn a_receiver_that_does_not_answer_delays_nothing() {
    let (world, receiver) = (World::new(), Receiver::answering(&[0]));
    let seen = world.path().join("seen");
    let tell = command(&world, &format!("touch {}", seen.display()));
    tells(&world, &format!("webhook = \"{}\"\ncommand = [\"{tell}\"]\ntimeout = \"5m\"", receiver.url()));
    world.tiny("a");
    let watcher = watch(&world);
    watcher.eventually_says("a is ready");
    break_it(&world, "a", "");
    receiver.eventually_got(1);
    eventually("the command is run meanwhile", PATIENCE, || seen.exists());
    world.tiny("b");
    watcher.eventually_says("b is ready");
    let ended = watcher.stop();
    assert_eq!(ended.code, Some(0));
    assert!(ended.after < Duration::from_secs(10), "{ended:?}");
    assert_eq!(recorded(&world), 1, "the next watcher tells it");
}

#[test]
fn kills_a_hanging_command_with_its_children_and_retries_later() {
    let world = World::new();
    let tell = command(&world, "exec sleep 1000.125");
    tells(&world, &format!("command = [\"{tell}\"]\ntimeout = \"300ms\""));
    world.tiny("a");
    world.converges();
    break_it(&world, "a", "");
    world.run(&["reconcile"]).exits(1).says(&["command for a (rolled back) failed", "did not finish within 0.3 s"]);
    assert_eq!(processes(|process| process.arguments.iter().any(|word| word == "1000.125")), []);
    world.run(&["status"]).exits(0).says(&["1 notification pending", "did not finish within"]);
    let status = world.run(&["status", "--format", "json"]).json();
    assert_eq!(status["notifications"]["pending"], 1, "{status:#}");
    is_as_schema("status", &status);
    tells_webhook(&world, &Receiver::answering(&[]));
    world.run(&["reconcile"]).exits(1);
    world.run(&["status"]).exits(0).says(&["1 notification failed: [notify] no longer has a command"]);
}

#[test]
fn does_not_retry_what_a_receiver_rejects_and_status_shows_it() {
    let (world, receiver) = (World::new(), Receiver::answering(&[422]));
    tells_webhook(&world, &receiver);
    world.tiny("a");
    world.converges();
    break_it(&world, "a", "");
    world.run(&["reconcile"]).exits(1).says(&["rejected it (422)"]);
    world.run(&["status"]).exits(0).says(&["1 notification failed", "rejected it (422)"]);
    mend(&world, "a");
    world.converges();
    assert_eq!(receiver.events(), ["rolled_back", "recovered"], "what comes after is not held up");
}

#[test]
fn announces_a_crash_loop_at_the_third_crash_and_only_then() {
    let (world, receiver) = (World::new(), Receiver::answering(&[]));
    tells_webhook(&world, &receiver);
    world.tiny("a");
    let watcher = watch(&world);
    for crash in 1..=4 {
        eventually("it is ready again", PATIENCE, || watcher.log().matches("a is ready").count() >= crash);
        assert_eq!(receiver.events().len(), usize::from(crash > 3), "before crash {crash}: {:?}", receiver.events());
        world.kill("a");
        if crash == 3 {
            let body = receiver.eventually_got(1).body;
            is_valid(&body);
            assert_eq!((&body["event"], &body["details"]["crashes"]), (&json!("crash_looping"), &json!(3)));
        }
    }
    mend(&world, "a");
    assert_eq!(receiver.eventually_got(2).body["event"], "recovered");
    assert_eq!(receiver.events(), ["crash_looping", "recovered"]);
}

#[test]
fn announces_a_changed_row_with_its_column() {
    let (world, receiver) = (World::new(), Receiver::answering(&[]));
    tells_webhook(&world, &receiver);
    world.tiny("a");
    world.converges();
    let client = Connection::open(world.state_dir().join("herdsman.db")).unwrap();
    for size in [4096, 2048] {
        client.execute("UPDATE models SET ctx_size = ?1 WHERE name = 'a'", [size]).unwrap();
        world.converges();
    }
    let [request] = &receiver.requests()[..] else { panic!("{:#?}", receiver.requests()) };
    is_valid(&request.body);
    let drift = json!([{"column": "ctx_size", "recorded": "512", "found": "4096"}]);
    assert_eq!((&request.body["event"], &request.body["details"]["drift"]), (&json!("drifted"), &drift));
}

#[test]
fn trouble_from_before_notifications_is_not_news() {
    let (world, receiver) = (World::new(), Receiver::answering(&[]));
    world.tiny("a");
    world.tiny("b");
    world.converges();
    break_it(&world, "a", "");
    world.run(&["reconcile"]).exits(1);
    tells(
        &world,
        &format!("webhook = \"{}\"\nmodels = [\"a\"]\nevents = [\"rolled_back\", \"recovered\"]", receiver.url()),
    );
    world.run(&["reconcile"]).exits(1);
    break_it(&world, "b", "");
    world.run(&["reconcile"]).exits(1);
    mend(&world, "a");
    world.run(&["reconcile"]).exits(1);
    assert_eq!(receiver.events(), [""; 0], "neither the old, nor of b, nor that it is over");
    break_it(&world, "a", "[ready]\ntimeout = \"9m\"\n[env]\nX = \"y\"\n");
    world.run(&["reconcile"]).exits(1);
    let client = Connection::open(world.state_dir().join("herdsman.db")).unwrap();
    client.execute("UPDATE models SET ctx_size = 7 WHERE name = 'a'", []).unwrap();
    world.run(&["reconcile"]).exits(1).says(&["database drift"]);
    assert_eq!(receiver.events(), ["rolled_back"], "of a drift they did not want to hear");
}

#[test]
fn settings_that_are_wrong_stop_herdsman_before_it_does_anything() {
    let world = World::new();
    world.tiny("a");
    tells(&world, "comand = [\"/bin/true\"]");
    let said = world.run(&["reconcile"]).exits(65);
    said.says(&[
        "error: the settings are not valid",
        "unknown key `comand` in `[notify]`",
        "herdsman.toml:2:1",
        "did you mean `command`?",
    ]);
    world.run(&["--settings", "nosuch.toml", "watch"]).exits(66).says(&[
        "cannot read the settings",
        "nosuch.toml",
        "--settings",
    ]);
    assert!(!world.state_dir().exists());
}
