//! A policy of the host, as whoever runs the host and whoever pushes to the
//! repository meet it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use support::{Ran, World, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

/// A world whose policy allows its weights, and `more`.
fn policed(more: &str) -> World {
    let world = World::new();
    world.tiny("a");
    write_policy(&world, more);
    world
}

fn write_policy(world: &World, more: &str) {
    let text = format!("model_roots = [\"{}/weights\"]\n{more}", world.path().display());
    fs::write(world.path().join("policy.toml"), text).unwrap();
}

fn run(world: &World, arguments: &[&str]) -> Ran {
    Ran::of(world.command().env("HERDSMAN_POLICY", "policy.toml").args(arguments))
}

/// Adds to the definition of `a`.
fn ask_for(world: &World, more: &str) {
    world.write_definition("a", &format!("{}{more}", World::tiny_toml("a")));
}

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
    world.signal("a", Signal::KILL);
    eventually("it is gone", PATIENCE, || world.instances().is_empty());
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
fn without_a_readable_policy_nothing_is_done() {
    let world = policed("");
    run(&world, &["reconcile"]).exits(0);
    world.signal("a", Signal::KILL);
    eventually("it is gone", PATIENCE, || world.instances().is_empty());
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
    nothing_is_done(66, &["there is no policy", "--policy"]);
    // Servers may be stopped all the same.
    run(&world, &["down"]).exits(0);
}

#[test]
fn a_watcher_takes_up_a_new_policy_and_does_nothing_without_one() {
    let world = policed("");
    let log = world.path().join("stderr.log");
    let said = |text: &str| fs::read_to_string(&log).unwrap_or_default().contains(text);
    let out = fs::File::create(&log).unwrap();
    let mut command = world.command();
    command.env("HERDSMAN_POLICY", "policy.toml").args(["watch", "--resync", "100ms"]).stderr(out);
    let _watch = support::Background::from(command.spawn().unwrap());
    eventually("it runs", PATIENCE, || said("a is ready"));
    write_policy(&world, "nonsense\n");
    eventually("it is told", PATIENCE, || said("the policy cannot be read"));
    world.signal("a", Signal::KILL);
    eventually("it is gone", PATIENCE, || world.instances().is_empty());
    write_policy(&world, "hosts = []\n");
    eventually("it is told", PATIENCE, || said("the policy does not allow to listen on 127.0.0.1"));
    assert_eq!(world.instances(), []);
    write_policy(&world, "");
    eventually("it runs again", PATIENCE, || world.instances().len() == 1);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_herdsman_keeps_is_for_its_user_alone_whatever_the_umask() {
    let world = World::new();
    world.tiny("a");
    // A database that was named is as its owner made it.
    let named = world.path().join("named.db");
    let open = |arguments: &str| {
        let mut command = std::process::Command::new("sh");
        let herdsman = world.command();
        command.args(["-c", &format!("umask 0; exec \"$@\" {arguments}"), "sh"]);
        command.arg(herdsman.get_program()).args(herdsman.get_args());
        command.env_clear().envs(herdsman.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ran::of(command.current_dir(world.path()))
    };
    let is_closed = || {
        let mut left = vec![world.state_dir()];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                assert_eq!(mode(&path), 0o700, "{}", path.display());
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                assert_eq!(mode(&path) & 0o177, 0, "{}", path.display());
            }
        }
    };
    open("reconcile").exits(0);
    is_closed();
    // What an older version, or a copy, left open.
    for (path, open) in [("", 0o755), ("herdsman.db", 0o644), ("logs", 0o755), ("logs/a.log", 0o644), ("cache", 0o755)]
    {
        fs::set_permissions(world.state_dir().join(path), fs::Permissions::from_mode(open)).unwrap();
    }
    fs::write(world.state_dir().join("herdsman.db.corrupt-1"), "").unwrap();
    fs::write(world.state_dir().join("logs/a.log.1"), "").unwrap();
    open("reconcile").exits(0);
    is_closed();
    fs::write(&named, "").unwrap();
    fs::set_permissions(&named, fs::Permissions::from_mode(0o660)).unwrap();
    open("--database named.db reconcile").exits(0);
    assert_eq!(mode(&named), 0o660);
    is_closed();
}

/// As root: refused while `path` has this mode, and not after.
fn is_refused_while_others_can_write(path: impl Fn(&World) -> std::path::PathBuf, bad: u32, code: i32, says: &[&str]) {
    if !rustix::process::geteuid().is_root() {
        // Whoever is not root may share what is theirs.
        return;
    }
    let world = policed("");
    run(&world, &["reconcile"]).exits(0);
    let (path, pid) = (path(&world), world.pid("a"));
    let good = mode(&path);
    ask_for(&world, "seed = 1\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(bad)).unwrap();
    run(&world, &["reconcile"]).exits(code).says(says).says(&["can be written by others", "chmod go-w"]);
    assert_eq!(world.pid("a"), pid);
    fs::set_permissions(&path, fs::Permissions::from_mode(good)).unwrap();
    run(&world, &["reconcile"]).exits(0);
}

#[test]
fn root_refuses_what_others_can_write_to() {
    is_refused_while_others_can_write(World::models_dir, 0o777, 66, &["models.d"]);
    is_refused_while_others_can_write(|world| world.models_dir().join("a.toml"), 0o666, 66, &["models.d/a.toml"]);
    is_refused_while_others_can_write(World::state_dir, 0o1777, 66, &["state"]);
    is_refused_while_others_can_write(|world| world.path().to_owned(), 0o777, 66, &["on the way to"]);
    is_refused_while_others_can_write(|world| world.path().join("policy.toml"), 0o666, 65, &["policy.toml"]);
}

#[test]
fn root_takes_definitions_of_another_user_only_if_the_policy_says_so() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let world = policed("");
    std::os::unix::fs::chown(world.models_dir(), Some(12_345), None).unwrap();
    world.run(&["reconcile"]).exits(66).says(&["models.d", "belongs to user 12345", "chown root"]);
    run(&world, &["reconcile"]).exits(66);
    write_policy(&world, "owners = [12345]\n");
    run(&world, &["reconcile"]).exits(0);
}
