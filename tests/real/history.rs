//! Where a model came from: commits, generations, actions, and why it is as it is.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use crate::support::{Ran, Repository, World, eventually};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(30);

/// A record and no server: a generation at the cost of a file.
fn stopped(name: &str, ctx_size: u32) -> String {
    format!("state = \"stopped\"\nmodel = \"../weights/{name}.gguf\"\n[parameters]\nctx_size = {ctx_size}\n")
}

/// Models that are not to run, in a real repository.
fn committed(names: &[&str]) -> (World, Repository, String) {
    let world = World::new();
    for name in names {
        world.weights(name, "any ");
        world.write_definition(name, &stopped(name, 512));
    }
    let repository = Repository::init(world.path());
    let commit = repository.commit();
    (world, repository, commit)
}

fn history(world: &World, name: &str) -> Value {
    world.run(&["history", name, "--format", "json"]).exits(0).json()
}

/// The commit of the newest generation, and whether it was edited.
fn newest(world: &World, name: &str) -> (Value, Value) {
    let history = history(world, name);
    let generation = &history["generations"][0];
    // The action that recorded it says the same.
    assert_eq!(history["events"][0]["generation"], generation["generation"], "{history:#}");
    assert_eq!(history["events"][0]["commit"], generation["commit"], "{history:#}");
    (generation["commit"].clone(), generation["dirty"].clone())
}

#[test]
fn why_says_that_a_model_should_run_whose_weights_cannot_be_used() {
    let world = World::new();
    world.weights("a", "a ");
    world.write_definition("a", &format!("state = \"stopped\"\n{}", World::tiny_toml("a")));
    world.converges();
    world.run(&["why", "a"]).says(&["a is stopped, as it should be."]);
    std::fs::write(world.path().join("weights/a.gguf"), "no GGUF").unwrap();
    world.run(&["start", "a", "--no-wait"]).exits(65);
    world.run(&["why", "a"]).says(&["a is not running, but should be."]).does_not_say("as it should be");
}

#[test]
fn a_generation_knows_its_commit_and_whether_its_own_files_were_edited() {
    let (world, repository, first) = committed(&["a", "b"]);
    world.converges();
    assert_eq!(newest(&world, "a"), (json!(first), json!(false)));

    world.write_definition("b", &stopped("b", 768));
    let second = repository.commit();
    world.write_definition("a", &stopped("a", 768));
    world.converges();
    assert_eq!(newest(&world, "a"), (json!(second), json!(true)));
    assert_eq!(newest(&world, "b"), (json!(second), json!(false)), "another file is edited");

    fs::write(world.models_dir().join("_defaults.toml"), "[parameters]\nthreads = 2\n").unwrap();
    world.converges();
    assert_eq!(newest(&world, "b"), (json!(second), json!(true)), "its defaults are not in Git");
    let third = repository.commit();
    repository.check_out(&first);
    world.converges();
    assert_eq!(newest(&world, "a"), (json!(first), json!(false)), "{third} was left");

    let ran = world.run(&["history", "a", "--diff", "2", "4"]).exits(0);
    let file = "models.d/a.toml";
    assert_eq!(ran.stdout, format!("ctx_size 768 -> 512   {file}:4\n"));
    let ran = world.run(&["history", "a", "--diff", "1", "3"]).exits(0);
    assert_eq!(ran.stdout, format!("ctx_size 512 -> 768   {file}:4\nthreads set to 2   models.d/_defaults.toml:2\n"));
    world.run(&["history", "a", "--diff", "1", "4"]).exits(0).says(&["Generations 1 and 4 are identical."]);
    world.run(&["history", "a", "--diff", "1", "5"]).exits(64).says(&["a has no generation 5: it has 1 to 4"]);

    world.remove_definition("b");
    let gone = repository.commit();
    world.converges();
    let deletion = &history(&world, "b")["events"][0];
    assert_eq!((&deletion["event"], &deletion["commit"]), (&json!("delete"), &json!(gone)));
    assert_eq!(deletion["dirty"], false, "{deletion:#}");
    world.run(&["why", "b"]).exits(0).says(&["b is deleted.", "delete, ", &gone[..10], "models.d/b.toml removed"]);
}

#[test]
fn a_directory_that_is_a_link_has_the_commit_of_where_it_leads() {
    let (world, _repository, commit) = committed(&["a"]);
    let link = world.path().join("link.d");
    symlink(world.models_dir(), &link).unwrap();
    Ran::of(world.command().env("HERDSMAN_MODELS_DIR", &link).arg("reconcile")).exits(0);
    assert_eq!(newest(&world, "a"), (json!(commit), json!(false)));
}

/// A directory to put first in `PATH`, with a `git` that is this script.
fn git_that(world: &World, script: &str) -> String {
    let bin = world.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("git"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(bin.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn a_failure_of_git_costs_only_the_commit_and_is_reported_once() {
    let (world, _repository, _) = committed(&["a"]);
    let mut command = world.command();
    let path = git_that(&world, "echo 'fatal: detected dubious ownership' >&2; exit 128");
    command.env("PATH", path);
    let watcher = world.watch_by(command, &["--debounce", "10ms"]);
    let problem = "the history records no commits: git rev-parse";
    watcher.eventually_says("dubious ownership");
    eventually("it is recorded", PATIENCE, || history(&world, "a")["generations"].as_array().unwrap().len() == 1);
    world.write_definition("a", &stopped("a", 768));
    eventually("the edit is recorded", PATIENCE, || history(&world, "a")["generations"].as_array().unwrap().len() == 2);
    assert_eq!(newest(&world, "a"), (Value::Null, Value::Null));
    assert_eq!(watcher.log().matches(problem).count(), 1, "{}", watcher.log());
    assert_eq!(watcher.stop().code, Some(0));

    world.write_definition("a", &stopped("a", 1024));
    let nowhere = world.path().join("nowhere");
    let ran = Ran::of(world.command().env("PATH", nowhere).arg("reconcile")).exits(0);
    ran.says(&["the history records no commits: git is not in PATH; install Git"]);
    world.is_settled();
}

#[test]
fn a_commit_made_while_git_is_asked_is_not_taken_for_the_one_that_was_read() {
    let (world, _repository, first) = committed(&["a"]);
    // Another commit comes between the question for it and the one what differs.
    let real = "PATH=${PATH#*:}; identity='-c user.name=a -c user.email=a@b'";
    let path = git_that(
        &world,
        &format!("{real}\ncase \"$*\" in *status*) git $identity commit -q --allow-empty -m x;; esac\nexec git \"$@\""),
    );
    let ran = Ran::of(world.command().env("PATH", path).arg("reconcile")).exits(0);
    assert_eq!(newest(&world, "a"), (Value::Null, Value::Null), "not {first}: {ran}");
}

#[test]
fn a_file_that_changes_while_git_is_asked_is_not_what_was_read() {
    let (world, _repository, _) = committed(&["a"]);
    world.write_definition("a", &stopped("a", 768));
    // The edit that was read is taken back before Git compares the files.
    let path = git_that(&world, "PATH=${PATH#*:}\ncase \"$*\" in *status*) git checkout -q .;; esac\nexec git \"$@\"");
    Ran::of(world.command().env("PATH", path).args(["reconcile", "--no-wait"])).exits(0);
    assert_eq!(newest(&world, "a"), (Value::Null, Value::Null));
}

#[test]
fn a_pass_with_nothing_to_do_does_not_run_git() {
    let (world, _repository, _) = committed(&["a"]);
    world.converges();
    let path = git_that(&world, "echo asked >> \"$HOME/asked\"; exit 128");
    Ran::of(world.command().env("PATH", path).arg("reconcile")).exits(0).says(&["No changes."]);
    assert!(!world.path().join("home/asked").exists());
}

#[test]
fn history_diff_shows_no_secret() {
    let world = World::new();
    world.weights("a", "any ");
    world.write_definition("a", &format!("{}[secrets]\napi_key = {{ env = \"KEY\" }}\n", stopped("a", 512)));
    for secret in ["first-secret", "second-secret"] {
        Ran::of(world.command().env("KEY", secret).arg("reconcile")).exits(0);
    }
    for format in ["text", "json"] {
        let ran = world.run(&["history", "a", "--diff", "1", "2", "--format", format]).exits(0);
        ran.says(&["environment variable KEY (new value)"]).does_not_say("-secret");
    }
    let ran = world.run(&["history", "a", "--diff", "1", "2"]);
    let wanted =
        "secrets.api_key environment variable KEY -> environment variable KEY (new value)   models.d/a.toml:6\n";
    assert_eq!(ran.stdout, wanted);
}

#[test]
fn why_explains_a_model_that_runs_fails_and_is_rolled_back() {
    let world = World::new();
    world.tiny("a");
    let repository = Repository::init(world.path());
    let first = repository.commit();
    world.run(&["why", "a"]).exits(0).says(&["a is not recorded yet.", "the next pass will create: models.d/a.toml"]);
    world.converges();
    std::fs::rename(world.models_dir(), world.path().join("away")).unwrap();
    world.run(&["why", "a"]).exits(66).says(&["models.d does not exist", "unknown, because the definitions"]);
    std::fs::rename(world.path().join("away"), world.models_dir()).unwrap();
    let ran = world.run(&["why", "a"]).exits(0);
    let generation = format!("generation  1, commit {}, ", &first[..10]);
    let pid = world.pid("a");
    ran.says(&["a is running.", "definition  models.d/a.toml declares it running", &generation, "it became ready"])
        .says(&[
            "action      create, ",
            "(reconcile): done in ",
            "ready after ",
            &format!("process     pid {pid}, port "),
        ])
        .says(&["now         matches its definition; nothing to do"]);

    world.weights_that_die("dies");
    world.write_definition("a", &World::tiny_toml("a").replace("/a.gguf", "/dies.gguf"));
    world.run(&["reconcile"]).exits(1);
    let ran = world.run(&["why", "a"]).exits(0).says_why_it_died();
    let generation = format!("generation  2, commit {} with uncommitted edits, ", &first[..10]);
    ran.says(&["a is running.", &generation, ": failed: ", "dies.gguf   models.d/a.toml:1", "serving generation 1"])
        .says(&[
            "action      start, ",
            "generation 2 failed; rolling back to generation 1",
            "waiting for an edit (or --retry)",
        ]);
    let events: Vec<String> = history(&world, "a")["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| format!("{} {}", event["event"].as_str().unwrap(), event["generation"]))
        .collect();
    assert_eq!(events, ["ready 1", "start 1", "start_failed 2", "restart 2", "ready 1", "create 1"]);
    let ran = world.run(&["history"]).exits(0);
    ran.says(&[
        "WHEN ",
        "start failed",
        &format!("{}+", &first[..10]),
        "generation 2 failed; rolling back to generation 1 (reconcile)",
    ]);

    world.write_definition("a", &World::tiny_toml("a").replace("ctx_size", "ctx_sizes"));
    let ran = world.run(&["why", "a"]).exits(0);
    ran.says(&[
        "models.d/a.toml:3: llama-server has no option `ctx_sizes`; the model stays as it is until that is fixed",
    ]);
}

#[test]
fn why_explains_stopped_models_and_unmanaged_rows() {
    let world = World::new();
    world.tiny("a");
    world.tiny("off");
    world.write_definition("off", &format!("state = \"stopped\"\n{}", World::tiny_toml("off")));
    world.converges();
    world.run(&["why", "off"]).exits(0).says(&["off is stopped, as it should be.", "declares it stopped"]);

    world.logs_that_it_listens("a");
    world.kill("a");
    let ran = world.run(&["why", "a"]).exits(0);
    // By how long it had run.
    let now = ["now         crashed once, next try in ", "now         the next pass will start: process gone"];
    assert!(now.iter().any(|now| ran.stdout.contains(now)), "{ran}");
    ran.says(&["a is not running, but should be.", "process     none", "last lines of a in ", "listening on"]);

    let database = rusqlite::Connection::open(world.state_dir().join("herdsman.db")).unwrap();
    let row =
        "INSERT INTO models (name, type, status, created_at, updated_at) VALUES ('hand', 'llama', 'stopped', 1, 1)";
    database.execute(row, []).unwrap();
    world.run(&["why", "hand"]).exits(0).says(&["hand is not managed: another program owns its row"]);
    for command in ["why", "history", "logs"] {
        world.run(&[command, "of"]).exits(64).says(&["there is no model named of\nhelp: did you mean off?"]);
    }
    world.run(&["why", "something-else"]).exits(64).says(&["`herdsman status` lists all models"]);
}

#[test]
fn read_only_commands_leave_no_trace_and_need_no_llama_server() {
    let world = World::new();
    world.write_definition("a", &World::tiny_toml("a"));
    let run =
        |arguments: &[&str]| Ran::of(world.command().env("HERDSMAN_LLAMA_SERVER", "/nonexistent").args(arguments));
    let nothing = |path: &Path| !path.exists();
    run(&["history"]).exits(1).says(&["there is no database", "no history"]);
    run(&["logs", "a"])
        .exits(1)
        .says(&["a has no log: its server was never started\nhelp: `herdsman why a` explains why"]);
    run(&["why", "a"]).exits(0).says(&["a is not recorded yet."]);
    assert!(nothing(&world.state_dir()));

    world.tiny("a");
    world.converges();
    world.logs_that_it_listens("a");
    let before = fs::read(world.state_dir().join("herdsman.db")).unwrap();
    let listing = || {
        let entries = fs::read_dir(world.state_dir()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let listed = listing();
    run(&["history", "a"]).exits(0).says(&["create"]);
    run(&["logs", "a"]).exits(0).says(&["listening on"]);
    run(&["why", "a"]).exits(0).says(&["a is running."]);
    assert_eq!((fs::read(world.state_dir().join("herdsman.db")).unwrap(), listing()), (before, listed));
}
