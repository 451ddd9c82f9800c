//! A policy of the host, as who runs the host and who pushes to the
//! repository meet it.

mod everywhere;
mod trust;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

use crate::support::policed::{ask_for, policed, run, write_policy};
use crate::support::{Ran, World, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_definition_that_asks_for_too_much_leaves_its_model_as_it_is() {
    let world = policed("");
    run(&world, &["reconcile"]).exits(0);
    let pid = world.pid("a");
    ask_for(&world, "tools = \"all\"\n");
    let ran = run(&world, &["reconcile"]).exits(65);
    ran.says(&["models.d/a.toml:5:1", "does not allow the option `tools`", "run programs", "policy.toml", "a  wait"]);
    assert_eq!(world.pid("a"), pid);
    // The option by which it is named counts, before or after the command.
    Ran::of(world.command().args(["reconcile", "--policy", "policy.toml"])).exits(65);
    world.run(&["reconcile", "--dry-run"]).exits(0).says(&["tools"]);
}

#[test]
fn what_was_recorded_before_the_policy_is_not_started_again() {
    let world = World::new();
    world.weights("a", "a ");
    world.write_definition("a", &format!("{}props = true\n", World::tiny_toml("a")));
    world.converges();
    let pid = world.pid("a");
    write_policy(&world, "deny_options = [\"props\"]\n");
    // It runs on,
    run(&world, &["reconcile"]).exits(65).says(&["models.d/a.toml:5:1", "deny_options"]);
    assert_eq!(world.pid("a"), pid);
    // and once it has ended stays so, also where the definitions cannot be read.
    world.kill("a");
    run(&world, &["reconcile", "--retry"])
        .exits(65)
        .says(&["not started: the policy does not allow the option `props`", "policy.toml:2"]);
    run(&world, &["status"]).says(&["the policy does not allow the option `props`"]);
    assert_eq!(world.instances(), []);
    // Allowed again, it is back.
    write_policy(&world, "");
    run(&world, &["reconcile", "--retry"]).exits(0);
    assert_eq!(world.answer("a"), "a a a ");
}

#[test]
fn there_is_no_way_back_to_a_generation_that_the_policy_does_not_allow() {
    let world = World::new();
    world.weights("a", "a ");
    world.write_definition("a", &format!("{}props = true\n", World::tiny_toml("a")));
    world.converges();
    write_policy(&world, "deny_options = [\"props\"]\n");
    world.weights_that_die("bad");
    world.write_definition("a", &World::tiny_toml("bad"));
    let ran = run(&world, &["reconcile"]);
    assert_ne!(ran.code, 0, "{ran}");
    ran.says(&["-/+ a  restart", "generation 2 failed", "not started: the policy does not allow the option `props`"]);
    assert_eq!(world.instances(), []);
}

#[test]
fn weights_are_found_where_they_really_are() {
    let world = policed("");
    fs::write(world.path().join("secret.gguf"), "x").unwrap();
    symlink("../secret.gguf", world.path().join("weights/link.gguf")).unwrap();
    world.write_definition("link", "model = \"../weights/link.gguf\"\n");
    world.write_definition("dots", "model = \"../weights/../secret.gguf\"\n");
    let ran = run(&world, &["reconcile"]).exits(65);
    ran.says(&[
        "models.d/link.toml:1:21",
        "link.gguf for `model`: it leads to",
        "models.d/dots.toml:1:24",
        "model_roots",
    ]);
    assert_eq!(world.instances().len(), 1);
}

#[test]
fn a_llama_server_that_is_not_allowed_is_never_run() {
    let world = policed("");
    let evil = world.path().join("evil");
    fs::write(&evil, "#!/bin/sh\ntouch \"$(dirname \"$0\")/was-run\"\n").unwrap();
    fs::set_permissions(&evil, fs::Permissions::from_mode(0o755)).unwrap();
    world.write_definition("a", &format!("binary = \"{}\"\n{}", evil.display(), World::tiny_toml("a")));
    run(&world, &["reconcile"]).exits(65).says(&["models.d/a.toml:1:", "evil for `binary`", "binaries"]);
    assert!(!world.path().join("was-run").exists());
}

#[test]
fn does_nothing_without_a_readable_policy() {
    let world = policed("");
    run(&world, &["reconcile"]).exits(0);
    world.kill("a");
    let nothing_is_done = |code: i32, says: &[&str]| {
        for arguments in [&["reconcile"][..], &["reconcile", "--dry-run"], &["status", "--exit-code"]] {
            run(&world, arguments).exits(code).says(says);
        }
        run(&world, &["status"]).exits(0).says(&["NAME", "a  "]).says(says);
        run(&world, &["watch"]).exits(code).says(says);
        assert_eq!(world.instances(), []);
    };
    write_policy(&world, "max_model = 3\n");
    nothing_is_done(65, &["policy.toml:2:1", "max_model"]);
    fs::remove_file(world.path().join("policy.toml")).unwrap();
    nothing_is_done(66, &["does not exist", "--policy"]);
    // Servers may be stopped all the same.
    run(&world, &["down"]).exits(0);
}

#[test]
fn a_watcher_takes_up_a_new_policy_and_does_nothing_without_one() {
    let world = policed("");
    let mut command = world.command();
    command.env("HERDSMAN_POLICY", "policy.toml");
    let watcher = world.watch_by(command, &["--resync", "100ms"]);
    watcher.eventually_says("a is ready");
    write_policy(&world, "nonsense\n");
    watcher.eventually_says("cannot read the policy");
    world.kill("a");
    // It is seen all the same, with what keeps it from coming back.
    eventually("its status is known", PATIENCE, || world.status("a")["status"] == "error");
    let history = world.run(&["history", "a"]).exits(0);
    history.says(&["crashed", "SIGKILL"]);
    write_policy(&world, "hosts = []\n");
    watcher.eventually_says("the policy does not allow to listen on 127.0.0.1");
    assert_eq!(world.instances(), []);
    write_policy(&world, "");
    eventually("it runs again", PATIENCE, || world.instances().len() == 1);
}
