//! suspend, resume, start, stop and restart, as people use them.

use std::time::Duration;

use crate::support::{World, eventually};
use serde_json::Value;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A world of running models.
fn running(models: &[&str]) -> World {
    let world = World::new();
    models.iter().for_each(|name| world.tiny(name));
    world.converges();
    world
}

fn edit(world: &World, model: &str, ctx_size: u32) {
    world.write_definition(model, &World::tiny_toml(model).replace("512", &ctx_size.to_string()));
}

fn lives(world: &World, model: &str) -> bool {
    world.instances().iter().any(|(_, name)| name == model)
}

fn by_hand(world: &World, model: &str) -> Vec<String> {
    let status = world.status(model);
    let all = status["by_hand"].as_array().cloned().unwrap_or_default();
    all.iter().map(|one| one["what"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn leaves_a_suspended_model_alone_and_shows_it_everywhere() {
    let world = running(&["a", "b"]);
    let pid = world.pid("a");
    let suspend = ["suspend", "a", "--for", "2h", "--reason", "new driver"];
    world.run(&suspend).exits(0).says(&["suspended a for 2h 0m, until ", "until `herdsman resume a`"]);
    edit(&world, "a", 1024);
    edit(&world, "b", 1024);
    world.run(&["reconcile", "--dry-run"]).exits(0).says(&[
        "a  by hand  suspended until",
        "new driver",
        "; resuming applies the edits to its definition",
        "\n                ctx_size 512 -> 1024   models.d/a.toml:3\n",
        "-/+ b",
    ]);
    world.run(&["reconcile"]).exits(0).says(&["Done: 1 restarted. 1 model matches its definition, 1 is suspended."]);
    assert_eq!(world.pid("a"), pid);
    world.run(&["reconcile", "--dry-run", "--detailed-exitcode"]).exits(0);
    let waits = world.run(&["reconcile", "--dry-run", "--format", "json"]).exits(0).json()["waiting"][0].clone();
    assert_eq!((&waits["edited"], &waits["reasons"][0]["field"]), (&true.into(), &"ctx_size".into()), "{waits:#}");
    let status = world.status("a");
    let Value::Object(shown) = &status["by_hand"][0] else { panic!("{status:#}") };
    assert_eq!((&shown["what"], &shown["reason"]), (&"suspended".into(), &"new driver".into()));
    assert!(shown["until"].is_string() && shown["by"].as_str().is_some_and(|by| !by.is_empty()), "{status:#}");
    world.run(&["why", "a"]).exits(0).says(&["suspended until", "new driver"]);
    world.run(&["history", "a"]).exits(0).says(&["suspended", "new driver", "(herdsman suspend)"]);
    world.run(&["reconcile", "--dry-run", "--format", "markdown"]).exits(0).says(&["**1 by hand**", "suspended"]);
    world.run(&["status", "--exit-code"]).exits(0).says(&["suspended until"]);

    // A crash is seen, and not answered.
    world.kill("a");
    world.run(&["reconcile"]).exits(0).says(&["it is not running, and resuming starts it"]);
    assert!(!lives(&world, "a"));
    world.run(&["history", "a"]).says(&["crashed"]);
    for command in ["start", "stop", "restart"] {
        world.run(&[command, "a"]).exits(1).says(&["the model is suspended", "use `herdsman resume NAME` first"]);
    }
    world.run(&["down"]).exits(0).says(&["suspended", "Stopped 1 server"]);
    world.run(&["resume", "a"]).exits(0).says(&["resumed a; the next `herdsman reconcile` manages it again"]);
    world.run(&["resume", "a"]).exits(0).says(&["a is not suspended; nothing to do"]);
    world.run(&["reconcile", "--retry"]).exits(0).says(&["2 models match their definitions."]);
    assert_eq!(by_hand(&world, "a"), Vec::<String>::new());
}

#[test]
fn a_model_is_stopped_until_its_definition_changes() {
    let world = running(&["a", "b"]);
    let stopped = world.run(&["stop", "a"]).exits(0).says(&["x a  stop     by hand ("]);
    assert!(stopped.stdout.ends_with("Done: 1 stopped. a is stopped by hand.\n"), "{}", stopped.stdout);
    assert_eq!(stopped.stdout.matches("until `herdsman start`").count(), 1, "{}", stopped.stdout);
    assert!(!lives(&world, "a") && lives(&world, "b"));
    world.run(&["reconcile"]).exits(0).says(&["1 model matches its definition, 1 is stopped by hand."]);
    world.run(&["stop", "a"]).exits(0).says(&["No changes."]);
    let status = world.status("a");
    assert_eq!((&status["status"], &status["state"]), (&"idle".into(), &"running".into()));
    assert_eq!(by_hand(&world, "a"), ["stopped"]);
    // A text for people starts nothing.
    world.write_definition("a", &format!("description = \"chat\"\n{}", World::tiny_toml("a")));
    world.run(&["reconcile"]).exits(0);
    assert!(!lives(&world, "a"));
    edit(&world, "a", 1024);
    world.run(&["reconcile"]).exits(0).says(&["ctx_size 512 -> 1024", "2 models match their definitions."]);
    assert_eq!(by_hand(&world, "a"), Vec::<String>::new());
    world.run(&["stop", "a", "--reason", "noise"]).exits(0);
    world.run(&["start", "a"]).exits(0).says(&["a: ready after", "a matches its definition."]);
    world.run(&["history", "a"]).says(&["stop requested", "start requested", "noise"]);
    world.is_settled();
}

#[test]
fn a_model_declared_stopped_is_started_by_hand() {
    let world = World::new();
    world.tiny("a");
    let declared = format!("state = \"stopped\"\n{}", World::tiny_toml("a"));
    world.write_definition("a", &declared);
    world.converges();
    world.run(&["restart", "a"]).exits(1).says(&["the model is stopped", "use `herdsman start NAME`"]);
    world.run(&["stop", "a"]).exits(0).says(&["No changes. 1 model matches its definition."]);
    world.run(&["start", "a"]).exits(0).says(&["a: ready after", "a is started by hand."]);
    let pid = world.pid("a");
    world.run(&["reconcile", "--detailed-exitcode"]).exits(0);
    assert_eq!((world.pid("a"), by_hand(&world, "a")), (pid, vec!["started".to_owned()]));
    world.run(&["stop", "a"]).exits(0).says(&["Done: 1 stopped. a matches its definition."]);
}

#[test]
fn a_restart_replaces_one_server() {
    let world = running(&["a", "b"]);
    let (a, b) = (world.pid("a"), world.pid("b"));
    world.run(&["restart", "a", "--reason", "stuck"]).exits(0).says(&[
        "-/+ a  restart  by hand (",
        ": stuck)",
        "Done: 1 restarted. a matches its definition.",
    ]);
    assert!(world.pid("a") != a && world.pid("b") == b);
    world.is_settled();
    let again = world.pid("a");
    let begun = world.run(&["restart", "a", "--no-wait", "--format", "json"]).exits(0).json();
    assert_eq!(begun["actions"][0]["reasons"][0]["reason"], "by_hand");
    assert_ne!(world.pid("a"), again);
    world.converges();
    // One that crashed is started now, whatever it would have waited for.
    for _ in 0..3 {
        world.kill("a");
        world.run(&["reconcile"]);
        world.run(&["restart", "a"]).exits(0);
    }
    world.is_settled();
}

#[test]
fn shows_a_pending_restart_once() {
    let world = running(&["a"]);
    // As a herdsman leaves it that is killed once it has recorded what it was asked for.
    let asked = "INSERT INTO herdsman_overrides (name, kind, given_by, given_at, instance)
                 SELECT 'a', 'restart', 'ann', 1, id FROM herdsman_instances";
    rusqlite::Connection::open(world.state_dir().join("herdsman.db")).unwrap().execute_batch(asked).unwrap();
    let table = world.run(&["status"]).exits(0).says(&["restart: by hand (ann)"]).stdout;
    assert!(!table.contains("asked for by hand"), "{table}");
    assert_eq!(by_hand(&world, "a"), ["restart"]);
    world.run(&["suspend", "a"]).exits(0);
    world.run(&["status"]).exits(0).says(&["waiting for a restart by hand (ann)"]);
}

#[test]
fn restarts_the_rolled_back_generation_that_serves() {
    let world = running(&["a"]);
    world.weights_that_die("bad");
    world.write_definition("a", &World::tiny_toml("bad"));
    world.run(&["reconcile"]).exits(1);
    for command in ["restart", "start"] {
        let before = world.pid("a");
        world.run(&[command, "a"]).exits(1).says(&["generation 2 failed", "generation 1 is serving"]);
        assert_eq!(world.pid("a") == before, command == "start", "{command}");
    }
}

#[test]
fn withdraws_a_restart_that_cannot_happen_now() {
    let world = running(&["a"]);
    let pid = world.pid("a");
    let (whole, short) = (world.weights("whole", "a "), world.path().join("weights/short.gguf"));
    std::fs::write(short, &std::fs::read(whole).unwrap()[..1000]).unwrap();
    world.write_definition("a", &World::tiny_toml("short"));
    world.run(&["restart", "a"]).exits(65).says(&["the request is withdrawn"]);
    assert_eq!(by_hand(&world, "a"), [""; 0]);
    world.write_definition("a", &World::tiny_toml("a"));
    world.run(&["reconcile"]).exits(0);
    assert_eq!(world.pid("a"), pid);
}

#[test]
fn waits_for_another_pass_no_longer_than_the_timeout() {
    let world = running(&["a"]);
    let lock = std::fs::File::open(world.state_dir().join("lock")).unwrap();
    lock.lock().unwrap();
    for command in [&["stop", "a"][..], &["reconcile"]] {
        world.run(&[command, &["--timeout", "100ms"]].concat()).exits(75).says(&["for more than 0.1 s"]);
    }
}

#[test]
fn refusals_name_the_next_step() {
    let world = running(&["chat", "other"]);
    for command in ["suspend", "resume", "start", "stop", "restart"] {
        world.run(&[command, "chatt"]).exits(64).says(&["there is no model named chatt\nhelp: did you mean chat?"]);
    }
    world.run(&["suspend", "chat", "--for", "0s"]).exits(64).says(&["expected a time above zero"]);
    world.run(&["suspend", "chat", "--for", "-1h"]).exits(64);
    world.run(&["suspend", "chat", "--for", "99999999h"]).exits(64).says(&["at most 720h"]);
    let client = rusqlite::Connection::open(world.state_dir().join("herdsman.db")).unwrap();
    let row = "INSERT INTO models (name, type, status, created_at, updated_at) VALUES ('hand', 'x', 'stopped', 1, 1)";
    client.execute_batch(row).unwrap();
    world.run(&["suspend", "hand"]).exits(64).says(&["another program owns its row"]);
    world.write_definition("chat", "model = 7\n");
    world.run(&["restart", "chat"]).exits(65).says(&["fix that first"]);
    // A stop works all the same.
    world.run(&["stop", "chat"]).exits(65).says(&["expected a string", "chat: stopped"]);
    assert!(!lives(&world, "chat"));
    world.run(&["start", "chat"]).exits(65);
    assert!(lives(&world, "chat"));
    world.run(&["suspend", "chat"]).exits(0);
    world.remove_definition("chat");
    world.run(&["reconcile"]).exits(0).says(&["its definition is gone, so resuming deletes it"]);
    assert!(lives(&world, "chat"));
    world.run(&["resume", "chat"]).exits(0).says(&["deletes it, because its definition is gone"]);
    // An override works even where no definition can be read.
    std::fs::rename(world.models_dir(), world.path().join("elsewhere")).unwrap();
    world.run(&["suspend", "other"]).exits(0);
    world.run(&["stop", "other"]).exits(66);
    std::fs::rename(world.path().join("elsewhere"), world.models_dir()).unwrap();
    world.run(&["--from-git", "nowhere", "resume", "other"]).exits(0);
    world.run(&["--from-git", "nowhere", "stop", "other"]).exits(66);
}

#[test]
fn an_override_makes_a_saved_plan_out_of_date() {
    let world = running(&["a", "b"]);
    edit(&world, "a", 1024);
    let save = || world.run(&["reconcile", "--dry-run", "--out", "plan.json"]).exits(0);
    let apply = || world.run(&["reconcile", "--plan", "plan.json"]);
    save();
    world.run(&["suspend", "a"]).exits(0);
    apply().exits(3).says(&["a: it is now suspended ("]);
    save().says(&["suspended"]);
    world.run(&["resume", "a"]).exits(0);
    apply().exits(3).says(&["a: it is no longer suspended"]);
    save();
    world.run(&["stop", "b"]).exits(0);
    apply().exits(3).says(&["b: it is now stopped by hand ("]);
    save();
    apply().exits(0).says(&["ctx_size 512 -> 1024"]);
    assert!(!lives(&world, "b"));
}

#[test]
fn a_watcher_follows_at_once() {
    let world = World::new();
    ["a", "b"].iter().for_each(|name| world.tiny(name));
    // It looks by itself once an hour.
    let watcher = world.watch(&["--resync", "1h"]);
    watcher.eventually_says("2 models match");
    let before = world.pid("a");
    world.run(&["restart", "a"]).exits(0);
    assert_ne!(world.pid("a"), before);
    world.run(&["stop", "a"]).exits(0);
    assert!(!lives(&world, "a"));
    watcher.eventually_says("a is stopped by hand");
    world.run(&["suspend", "b", "--for", "1h"]).exits(0);
    watcher.eventually_says("b is suspended");
    world.kill("b");
    watcher.eventually_says("b crashed");
    watcher.eventually_says("it is not running, and resuming starts it");
    assert!(!watcher.log().contains("b is no longer"), "{}", watcher.log());
    world.run(&["resume", "b"]).exits(0).says(&["resumed b; the watcher manages it again"]);
    eventually("b runs again", PATIENCE, || lives(&world, "b"));
    watcher.eventually_says("b start: ");
    watcher.eventually_says("b is no longer suspended");
    // What holds on behind a suspension is not over.
    world.run(&["suspend", "a"]).exits(0);
    watcher.eventually_says("a is suspended");
    world.run(&["resume", "a"]).exits(0);
    watcher.eventually_says("a is no longer suspended");
    assert!(!watcher.log().contains("a is no longer stopped"), "{}", watcher.log());
    world.run(&["start", "a"]).exits(0);
    assert!(lives(&world, "a"));
    watcher.eventually_says("a is no longer stopped by hand");
    let logged = |what: &str| watcher.log().matches(what).count();
    assert_eq!((logged("a is stopped by hand"), logged("b is no longer")), (1, 1), "{}", watcher.log());
}
