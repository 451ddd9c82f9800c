//! Definitions become servers, and edits of them change what they must and
//! nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Ran, World, ask, eventually, get, try_ask};

/// Every file below `dir`, with its content.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
            found.insert(path.display().to_string(), Vec::new());
        } else {
            found.insert(path.display().to_string(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_definition_becomes_a_server_that_answers_and_a_second_run_changes_nothing() {
    let world = World::new();
    world.tiny("a");
    world.run(&["reconcile"]).exits(0).says(&[
        "+ a  create",
        "models.d/a.toml",
        "Plan: 1 to create.",
        "Done: 1 created.",
    ]);
    assert_eq!(world.answer("a"), "a a a ");
    let pid = world.pid("a");
    world.run(&["reconcile"]).exits(0).says(&["No changes. 1 model matches its definition."]);
    let status = world.status("a");
    assert_eq!(status["status"], "running");
    assert_eq!(status["pid"], pid);
    assert_eq!(status["generation"], 1);
    assert!(world.ports().range().contains(&world.port("a")));
}

#[test]
fn an_edit_restarts_the_edited_model_and_no_other() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.tiny(name);
    }
    world.converges();
    let (a, b, c, port) = (world.pid("a"), world.pid("b"), world.pid("c"), world.port("b"));
    world.weights("other", "other ");
    world.write_definition("b", &World::tiny_toml("other").replace("512", "1024"));
    world.run(&["reconcile"]).exits(0).says(&["-/+ b  restart", "ctx_size 512 -> 1024", "models.d/b.toml:3", "model "]);
    assert_eq!((world.pid("a"), world.pid("c")), (a, c));
    assert_ne!(world.pid("b"), b);
    assert_eq!(world.port("b"), port, "a recorded port is not renumbered");
    assert_eq!(ask(port), "other other other ");
    assert_eq!(world.status("b")["generation"], 2);
    world.is_settled();
}

#[test]
fn records_a_new_description_without_a_restart() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    let pid = world.pid("a");
    let toml = World::tiny_toml("a").replace("512", "5_12").replace("ctx_size", "ctx-size");
    world.write_definition("a", &format!("# a comment\ndescription = \"chat\"\nlabels = {{ team = \"x\" }}\n{toml}"));
    world.run(&["reconcile"]).exits(0).says(&["~ a  update", "description (no restart)", "Plan: 1 to update."]);
    assert_eq!(world.pid("a"), pid);
    world.is_settled();
}

#[test]
fn another_spelling_of_the_same_options_changes_nothing() {
    let world = World::new();
    world.tiny("a");
    let toml = World::tiny_toml("a");
    world.write_definition("a", &format!("{toml}n_predict = 4096\nmmap = false\n"));
    world.converges();
    world.write_definition("a", &format!("{toml}\"predict\" = 4_096 # tokens\nno-mmap = true\n"));
    world.is_settled();
    world.write_definition("a", &format!("{toml}n-predict = 0x1000\nno_mmap = true\n"));
    world.is_settled();
    assert_eq!(world.status("a")["generation"], 1);
}

#[test]
fn an_edit_of_the_defaults_is_never_a_total_outage() {
    let world = World::new();
    let names = ["a", "b", "c"];
    for name in names {
        world.weights(name, &format!("{name} "));
        world.write_definition(name, &format!("model = \"../weights/{name}.gguf\"\n"));
    }
    world.write_definition("_defaults", "[parameters]\nthreads = 1\nctx_size = 512\n");
    world.converges();
    let before = world.instances();
    let ports = names.map(|name| world.port(name));

    world.write_definition("_defaults", "[parameters]\nthreads = 1\nctx_size = 1024\n");
    let done = AtomicBool::new(false);
    let (most_down, looks) = std::thread::scope(|scope| {
        let poller = scope.spawn(|| {
            let (mut most, mut looks) = (0, 0);
            let down = |port: &&u16| !get(**port, "/health").is_ok_and(|(status, _)| status == 200);
            while !done.load(Ordering::Relaxed) {
                // Who was down at the beginning of a look may be up at its end.
                // Those found so again, the first one last, were so together.
                let first: Vec<&u16> = ports.iter().filter(down).collect();
                most = most.max(first.into_iter().rev().filter(down).count());
                looks += 1;
            }
            (most, looks)
        });
        let ran = world.run(&["reconcile"]);
        done.store(true, Ordering::Relaxed);
        ran.exits(0).says(&["ctx_size 512 -> 1024", "models.d/_defaults.toml:3", "Done: 3 restarted."]);
        poller.join().unwrap()
    });
    assert!(looks > 3, "{looks} looks see nothing");
    assert!(most_down <= 1, "{most_down} of 3 were down at once");
    let after = world.instances();
    assert!(before.iter().all(|old| !after.contains(old)), "{before:?} {after:?}");
    assert_eq!(names.map(|name| world.answer(name)), ["a a a ", "b b b ", "c c c "]);
    world.is_settled();
}

#[test]
fn a_model_is_stopped_and_started_again_by_its_state() {
    let world = World::new();
    world.tiny("a");
    world.write_definition("a", &format!("state = \"stopped\"\n{}", World::tiny_toml("a")));
    world.converges().says(&["+ a  create"]);
    assert_eq!(world.instances(), []);
    assert_eq!(world.status("a")["status"], "idle");
    world.write_definition("a", &World::tiny_toml("a"));
    world.converges().says(&["> a  start", "state = \"running\""]);
    assert_eq!(world.answer("a"), "a a a ");
    let port = world.port("a");
    world.write_definition("a", &format!("state = \"stopped\"\n{}", World::tiny_toml("a")));
    world.converges().says(&["x a  stop", "state = \"stopped\"   models.d/a.toml:1"]);
    assert_eq!(world.instances(), []);
    world.is_settled();
    world.write_definition("a", &World::tiny_toml("a"));
    world.converges().says(&["> a  start", "state = \"running\"   models.d/a.toml"]).does_not_say("port set");
    assert_eq!(world.port("a"), port);
    assert_eq!(ask(port), "a a a ");
}

#[test]
fn a_removed_definition_takes_its_server_and_its_row_with_it() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.tiny(name);
    }
    world.converges();
    let (a, port) = (world.pid("a"), world.port("b"));
    world.remove_definition("b");
    world.converges().says(&["- b  delete", "b.toml removed", "Done: 1 deleted."]);
    assert!(try_ask(port).is_err());
    assert_eq!(world.instances().len(), 2);
    assert_eq!(world.pid("a"), a);
    world.run(&["models", "get", "b"]).exits(1);
    world.is_settled();
}

#[test]
fn too_many_deletions_are_refused_and_the_rest_of_the_pass_happens() {
    let world = World::new();
    for name in ["a", "b"] {
        world.tiny(name);
    }
    world.converges();
    let before = world.instances();
    fs::rename(world.models_dir().join("a.toml"), world.models_dir().join("z.toml")).unwrap();
    world.remove_definition("b");
    world.run(&["reconcile"]).exits(3).says(&["refused to delete", "--max-deletes 2", "name = \"a\""]);
    assert_eq!(world.instances(), before);
    world.run(&["reconcile", "--max-deletes", "1"]).exits(3);
    assert_eq!(world.instances(), before);
    world.run(&["reconcile", "--max-deletes", "100%"]).exits(0);
    assert_eq!(world.answer("z"), "a a a ");
    assert_eq!(world.instances().len(), 1);
}

#[test]
fn a_variable_that_is_empty_counts_as_not_set() {
    let world = World::new();
    world.tiny("a");
    let mut command = world.command();
    for name in ["MODELS_DIR", "DATABASE", "SETTINGS", "POLICY", "FROM_GIT"] {
        command.env(format!("HERDSMAN_{name}"), "");
    }
    Ran::of(command.arg("reconcile")).exits(0);
    assert!(world.state_dir().join("herdsman.db").exists());
}

#[test]
fn a_target_leaves_everything_else_alone() {
    let world = World::new();
    for name in ["a", "b"] {
        world.tiny(name);
    }
    world.run(&["reconcile", "--target", "b"]).exits(0).does_not_say("+ a");
    assert_eq!(world.instances().len(), 1);
    world.pid("b");
    world.run(&["reconcile", "--target", "a", "--target", "bb"]).exits(64).says(&["--target bb", "did you mean b?"]);
    assert_eq!(world.instances().len(), 1, "not even what is spelt right");
    world.remove_definition("b");
    world.run(&["reconcile", "--target", "b"]).exits(0).says(&["Done: 1 deleted."]);
    world.tiny("b");
    world.converges().says(&["+ a  create"]);
}

#[test]
fn a_dry_run_shows_everything_and_writes_nothing() {
    let world = World::new();
    for name in ["a", "b"] {
        world.tiny(name);
    }
    let untouched = files(world.path());
    world.run(&["reconcile", "--dry-run"]).exits(0).says(&["+ a  create", "Plan: 2 to create."]);
    world.run(&["reconcile", "--dry-run", "--detailed-exitcode"]).exits(2);
    world.run(&["status"]).exits(0);
    assert!(files(world.path()) == untouched, "{:?}", files(world.path()).keys());

    world.converges();
    ["a", "b"].iter().for_each(|name| world.logs_that_it_listens(name));
    let before = world.instances();
    world.write_definition("a", &World::tiny_toml("a").replace("512", "1024"));
    world.remove_definition("b");
    let settled = files(world.path());
    let plan = world.run(&["reconcile", "--dry-run", "--detailed-exitcode", "--format", "json"]).exits(2).json();
    let actions: Vec<_> = plan["actions"].as_array().unwrap().iter().map(|a| (&a["model"], &a["action"])).collect();
    assert_eq!(serde_json::json!(actions), serde_json::json!([["a", "restart"], ["b", "delete"]]));
    assert!(files(world.path()) == settled);
    assert_eq!(world.instances(), before);

    world.run(&["reconcile", "--detailed-exitcode"]).exits(2);
    world.run(&["reconcile", "--detailed-exitcode", "--dry-run"]).exits(0).says(&["No changes."]);
}

#[test]
fn a_pass_that_does_not_wait_leaves_the_rest_to_the_next() {
    let world = World::new();
    world.tiny("a");
    world.run(&["reconcile", "--no-wait"]).exits(0);
    let pid = world.pid("a");
    assert_eq!(world.instances().len(), 1);
    eventually("a later pass finds it ready", Duration::from_secs(20), || {
        world.run(&["reconcile", "--no-wait"]).exits(0).stdout.contains("No changes. 1 model matches")
    });
    assert_eq!(world.pid("a"), pid);
}

#[test]
fn twenty_models_start_together() {
    let world = World::new();
    let names: Vec<String> = (0..20).map(|n| format!("m{n:02}")).collect();
    for name in &names {
        world.tiny(name);
    }
    world.run(&["reconcile", "--parallel", "20"]).exits(0).says(&["Done: 20 created. 20 models match"]);
    let running: Vec<String> = world.instances().into_iter().map(|(_, name)| name).collect();
    assert_eq!(running, names);
    let report = world.run(&["status", "--format", "json"]).exits(0).json();
    for model in report["models"].as_array().unwrap() {
        let name = model["name"].as_str().unwrap();
        assert_eq!(ask(u16::try_from(model["port"].as_u64().unwrap()).unwrap()), format!("{name} ").repeat(3));
    }
    world.run(&["down"]).exits(0).says(&["Stopped 20 servers."]);
    assert_eq!(world.instances(), []);
}
