//! JSON output is an interface: every document is held against its schema.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{World, is_as_schema, llama_server};
use serde_json::Value;

/// Runs herdsman, checks its document, and returns it.
fn document(world: &World, schema_name: &str, arguments: &[&str]) -> Value {
    let output = world.herdsman(arguments);
    let text = String::from_utf8(output.stdout).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    is_as_schema(schema_name, &document);
    document
}

#[test]
fn validate_matches_its_schema() {
    let world = World::new();
    ["a", "b"].iter().for_each(|name| world.tiny(name));
    let good = document(&world, "validate", &["validate", "--format", "json"]);
    assert_eq!((&good["valid"], &good["exit_code"]), (&Value::from(2), &Value::from(0)));

    let other = world.path().join("other.d");
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(world.models_dir().join("a.toml"), other.join("a.toml")).unwrap();
    std::fs::write(other.join("c.toml"), "model = 7\n").unwrap();
    ["d", "e", "f"].iter().for_each(|name| {
        std::fs::write(other.join(format!("{name}.toml")), "model = \"x.gguf\"\n").unwrap();
    });
    world.write_definition("a", "model = 7\n");
    world.remove_definition("b");
    let changed = document(&world, "validate", &["validate", "--format", "json", "--against", other.to_str().unwrap()]);
    assert_eq!((&changed["invalid"], &changed["exit_code"]), (&Value::from(1), &Value::from(65)));
    let against = &changed["against"];
    assert_eq!(against["not_compared"], serde_json::json!(["models.d/c.toml"]));
    assert_eq!((&against["waiting"][0]["model"], &against["guard"]["managed"]), (&"a".into(), &Value::from(4)));
    assert_eq!(against["actions"][0]["action"], "delete");
}

#[test]
fn reconcile_matches_its_schema() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.tiny(name);
    }
    let plan = document(&world, "reconcile", &["reconcile", "--dry-run", "--format", "json", "--detailed-exitcode"]);
    assert_eq!((&plan["dry_run"], &plan["exit_code"]), (&Value::Bool(true), &Value::from(2)));
    assert_eq!(plan["actions"].as_array().unwrap().len(), 3);
    assert_eq!(plan["actions"][0]["reasons"][0]["origin"]["file"], "models.d/a.toml");

    let result = document(&world, "reconcile", &["reconcile", "--format", "json"]);
    assert_eq!((&result["exit_code"], &result["matching"]), (&Value::from(0), &Value::from(3)));
    assert_eq!(result["actions"][0]["outcome"], "done");
    assert_eq!(result["findings"].as_array().unwrap().len(), 3, "each became ready once");

    let edited = World::tiny_toml("a").replace("512", "768");
    world.write_definition("a", &edited);
    world.write_definition("b", "model = 7\n");
    let result = document(&world, "reconcile", &["reconcile", "--format", "json"]);
    assert_eq!(result["exit_code"], 65);
    assert_eq!(result["diagnostics"][0]["line"], 1);
    let reason = &result["actions"][0]["reasons"][0];
    assert_eq!((&reason["field"], &reason["old"], &reason["new"]), (&"ctx_size".into(), &"512".into(), &"768".into()));
    assert_eq!(reason["origin"]["line"], 3);

    for name in ["a", "b", "c"] {
        world.remove_definition(name);
    }
    let refused = document(&world, "reconcile", &["reconcile", "--format", "json"]);
    assert_eq!((&refused["exit_code"], &refused["guard"]["managed"]), (&Value::from(3), &Value::from(3)));
}

/// What `herdsman schema` prints.
fn printed_schema(arguments: &[&str]) -> String {
    let mut herdsman = Command::new(env!("CARGO_BIN_EXE_herdsman"));
    let output = herdsman.arg("schema").args(arguments).env_remove("HERDSMAN_LLAMA_SERVER").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_schemas_of_definitions_are_what_herdsman_prints() {
    for (name, arguments) in [("definition", &[][..]), ("defaults", &["--defaults"]), ("groups", &["--groups"])] {
        let file = format!("schema/{name}.v1.json");
        let path = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
        let is_same = std::fs::read_to_string(path).unwrap_or_default() == printed_schema(arguments);
        let renew = ["HERDSMAN_LLAMA_SERVER= cargo run -q -- schema", arguments.first().unwrap_or(&""), ">", &file];
        let renew: Vec<&str> = renew.into_iter().filter(|word| !word.is_empty()).collect();
        assert!(is_same, "{file} is not what herdsman prints; renew it: {}", renew.join(" "));
    }
}

#[test]
fn the_schema_has_the_options_of_the_llama_server_that_is_named() {
    let world = World::new();
    let pinned = llama_server();
    assert_eq!(printed_schema(&["--llama-server", pinned.to_str().unwrap()]), printed_schema(&[]));

    let other = world.path().join("llama-server");
    let script = format!("#!/bin/sh\n'{}' --help | sed 's/--metrics /--measures/'\n", pinned.display());
    std::fs::write(&other, script).unwrap();
    std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o755)).unwrap();
    let schema: Value = serde_json::from_str(&printed_schema(&["--llama-server", other.to_str().unwrap()])).unwrap();
    let options = &schema["properties"]["parameters"]["properties"];
    assert!(options["measures"].is_object() && options["metrics"].is_null());

    let output = world.herdsman(&["--llama-server", "/nowhere/llama-server", "schema"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(69), 0), "{stderr}");
    assert!(stderr.contains("no llama-server at /nowhere/llama-server"), "{stderr}");
}

#[test]
fn status_and_down_match_their_schemas() {
    let world = World::new();
    let none = document(&world, "status", &["status", "--format", "json"]);
    assert_eq!(none["models"].as_array().unwrap().len(), 0);

    world.tiny("a");
    world.write_definition("off", &format!("state = \"stopped\"\n{}", World::tiny_toml("a")));
    assert!(world.herdsman(&["reconcile"]).status.success());
    let status = document(&world, "status", &["status", "--format", "json"]);
    let [a, off] = &status["models"].as_array().unwrap()[..] else { panic!("{status:#}") };
    assert_eq!((&a["name"], &a["status"], &a["generation"]), (&"a".into(), &"running".into(), &1.into()));
    assert_eq!(a["pid"], world.instances()[0].0);
    assert_eq!(a["url"], format!("http://127.0.0.1:{}", a["port"]));
    assert_eq!((&off["status"], &off["state"], &off["pid"]), (&"idle".into(), &"stopped".into(), &Value::Null));

    world.logs_that_it_listens("a");
    world.kill("a");
    let status = document(&world, "status", &["status", "--format", "json"]);
    let a = &status["models"][0];
    assert_eq!((&status["watcher"], &a["status"], &a["restarts"]), (&false.into(), &"error".into(), &0.into()));
    assert!(a["log"].as_str().unwrap().starts_with('/') && !a["log_tail"].as_array().unwrap().is_empty(), "{a:#}");
    assert!(world.herdsman(&["reconcile", "--retry"]).status.success());

    let down = document(&world, "reconcile", &["down", "--format", "json"]);
    assert_eq!(down["actions"][0]["action"], "stop");
    assert!(world.instances().is_empty());
}

#[test]
fn history_and_why_match_their_schemas() {
    let world = World::new();
    world.tiny("a");
    world.write_definition("off", &format!("state = \"stopped\"\n{}", World::tiny_toml("off")));
    let new = document(&world, "why", &["why", "a", "--format", "json"]);
    assert_eq!((&new["known"], &new["generation"], &new["process"]), (&"new".into(), &Value::Null, &Value::Null));
    assert!(world.herdsman(&["reconcile"]).status.success());
    let why = document(&world, "why", &["why", "a", "--format", "json"]);
    assert_eq!(
        (&why["known"], &why["status"], &why["action"]["event"]),
        (&"managed".into(), &"running".into(), &"create".into())
    );
    assert_eq!((&why["then"]["event"], &why["process"]["pid"]), (&"ready".into(), &world.instances()[0].0.into()));

    world.write_definition("a", &World::tiny_toml("a").replace("512", "768"));
    assert!(world.herdsman(&["reconcile"]).status.success());
    let why = document(&world, "why", &["why", "a", "--format", "json"]);
    let change = &why["changes"][0];
    assert_eq!((&change["field"], &change["old"], &change["new"]), (&"ctx_size".into(), &"512".into(), &"768".into()));
    let all = document(&world, "history", &["history", "--format", "json"]);
    assert_eq!((all["events"].as_array().unwrap().len(), all.get("generations")), (5, None));
    let one = document(&world, "history", &["history", "a", "-n", "2", "--format", "json"]);
    let words: Vec<_> =
        one["events"].as_array().unwrap().iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!((words, one["generations"].as_array().unwrap().len()), (vec!["ready", "restart"], 2));
    let diff = document(&world, "history", &["history", "a", "--diff", "1", "2", "--format", "json"]);
    assert_eq!(diff["changes"], why["changes"]);

    world.remove_definition("off");
    assert!(world.herdsman(&["reconcile"]).status.success());
    let gone = document(&world, "why", &["why", "off", "--format", "json"]);
    assert_eq!((&gone["known"], &gone["status"]), (&"deleted".into(), &Value::Null));
}

#[test]
fn overrides_match_the_schemas() {
    let world = World::new();
    ["a", "b"].iter().for_each(|name| world.tiny(name));
    assert!(world.herdsman(&["reconcile"]).status.success());
    let stop = document(&world, "reconcile", &["stop", "a", "--reason", "noise", "--format", "json"]);
    let reason = &stop["actions"][0]["reasons"][0];
    assert_eq!((&reason["reason"], &reason["because"]), (&"by_hand".into(), &"noise".into()));
    assert_eq!(stop["waiting"][0]["waiting_for"], "state_by_hand");
    assert!(world.herdsman(&["suspend", "b", "--for", "1h"]).status.success());
    let plan = document(&world, "reconcile", &["reconcile", "--dry-run", "--format", "json"]);
    let waits: Vec<_> = plan["waiting"].as_array().unwrap().iter().map(|w| w["waiting_for"].as_str()).collect();
    assert_eq!(waits, [Some("state_by_hand"), Some("suspended")]);
    let status = document(&world, "status", &["status", "--format", "json"]);
    let what = |model: &Value| model["by_hand"][0]["what"].clone();
    assert_eq!((what(&status["models"][0]), what(&status["models"][1])), ("stopped".into(), "suspended".into()));
    assert_eq!(document(&world, "why", &["why", "a", "--format", "json"])["by_hand"][0]["reason"], "noise");
    let history = document(&world, "history", &["history", "--format", "json"]);
    assert_eq!(history["events"][0]["event"], "suspended");
    assert!(world.herdsman(&["reconcile", "--dry-run", "--out", "plan.json"]).status.success());
    let text = std::fs::read_to_string(world.path().join("plan.json")).unwrap();
    let saved: Value = serde_json::from_str(&text).unwrap();
    is_as_schema("plan", &saved);
    assert_eq!(saved["models"]["a"]["by_hand"]["state"]["because"], "noise");
}
