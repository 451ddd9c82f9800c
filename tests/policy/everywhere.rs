//! A policy is in force wherever definitions are read or servers started.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::process::{Pid, Signal, kill_process};

use super::support::{Background, Ran, Repository, World, eventually};
use super::{PATIENCE, ask_for, policed, run, write_policy};

#[test]
fn validate_goes_by_a_policy_that_is_stated() {
    let world = policed("");
    ask_for(&world, "tools = \"all\"\n");
    world.run(&["validate"]).exits(0);
    for arguments in [&["validate", "--policy", "policy.toml"][..], &["validate", "--policy", "policy.toml", "--host"]]
    {
        world.run(arguments).exits(65).says(&[
            "models.d/a.toml:5:1",
            "does not allow the option `tools`",
            "policy.toml",
        ]);
    }
    let github = run(&world, &["validate", "--format", "github"]).exits(65);
    assert!(github.stdout.contains("::error title=herdsman,file=models.d/a.toml,line=5,"), "{github}");
    let json = run(&world, &["validate", "--format", "json", "models.d/a.toml"]).exits(65);
    assert!(json.stdout.contains("does not allow the option `tools`"), "{json}");
    // There is no telling what is allowed.
    world.run(&["validate", "--policy", "nowhere.toml"]).exits(66).says(&["there is no policy"]);
    write_policy(&world, "max_model = 3\n");
    run(&world, &["validate"]).exits(65).says(&["policy.toml:2:1", "max_models"]);
}

#[test]
fn validate_does_not_run_a_program_that_the_policy_does_not_allow() {
    let world = policed("");
    let evil = world.path().join("evil");
    fs::write(&evil, "#!/bin/sh\ntouch \"$(dirname \"$0\")/was-run\"\n").unwrap();
    fs::set_permissions(&evil, fs::Permissions::from_mode(0o755)).unwrap();
    let was_run = world.path().join("was-run");
    world.write_definition("a", &format!("binary = \"{}\"\n{}", evil.display(), World::tiny_toml("a")));
    run(&world, &["validate", "--host"]).exits(65).says(&["models.d/a.toml:1:", "evil for `binary`", "binaries"]);
    assert!(!was_run.exists());
    // Without a policy it is, so this tests something.
    world.run(&["validate", "--host"]).exits(65);
    assert!(was_run.exists());
}

#[test]
fn a_dry_run_and_status_say_what_is_refused() {
    let world = policed("");
    ask_for(&world, "tools = \"all\"\n");
    let says = ["does not allow the option `tools`"];
    for format in ["text", "json", "markdown"] {
        run(&world, &["reconcile", "--dry-run", "--format", format]).exits(65).says(&says);
    }
    run(&world, &["status"]).exits(0).says(&says);
    run(&world, &["status", "--exit-code"]).exits(65);
    run(&world, &["why", "a"]).says(&says);
    assert!(!world.state_dir().exists(), "a look writes nothing");
}

#[test]
fn a_saved_plan_is_bound_by_the_policy_of_the_day_it_is_applied() {
    let world = policed("");
    ask_for(&world, "props = true\n");
    run(&world, &["reconcile", "--dry-run", "--out", "plan.json"]).exits(0);
    write_policy(&world, "deny_options = [\"props\"]\n");
    run(&world, &["reconcile", "--plan", "plan.json"]).exits(3).says(&["Nothing was changed", "props"]);
    assert_eq!(world.instances(), []);
    write_policy(&world, "");
    run(&world, &["reconcile", "--plan", "plan.json"]).exits(0);
    assert_eq!(world.answer("a"), "a a a ");
}

#[test]
fn a_saved_plan_of_a_start_from_records_is_bound_too() {
    let world = World::new();
    world.weights("a", "a ");
    world.write_definition("a", &format!("{}props = true\n", World::tiny_toml("a")));
    world.converges();
    // Not to be read, the model is kept as it is recorded, and started again.
    world.write_definition("a", "nonsense");
    world.kill("a");
    write_policy(&world, "");
    run(&world, &["reconcile", "--dry-run", "--out", "plan.json", "--retry"]).exits(65);
    write_policy(&world, "deny_options = [\"props\"]\n");
    let ran = run(&world, &["reconcile", "--plan", "plan.json"]);
    assert_ne!(ran.code, 0, "{ran}");
    assert_eq!(world.instances(), []);
}

/// Commits what is in the world's directory.
pub fn commit(world: &World) {
    Repository::init(world.path()).commit();
}

#[test]
fn definitions_straight_from_git_are_bound_too() {
    let world = policed("");
    ask_for(&world, "tools = \"all\"\n");
    symlink("../../secret", world.models_dir().join("link.toml")).unwrap();
    commit(&world);
    // Only the commit counts.
    world.remove_definition("a");
    fs::remove_file(world.models_dir().join("link.toml")).unwrap();
    let says = ["models.d/a.toml:5:1", "tools = ", "does not allow the option `tools`", "link.toml"];
    for command in [&["reconcile"][..], &["reconcile", "--dry-run"], &["validate"], &["validate", "--host"]] {
        run(&world, &[&["--from-git", "HEAD"], command].concat()).exits(65).says(&says);
    }
    run(&world, &["--from-git", "HEAD", "wait", "--timeout", "5s", "--stable-for", "0s"]).exits(65);
    assert_eq!(world.instances(), []);
}

#[test]
fn a_link_that_is_swapped_while_the_old_server_stops_leads_nowhere() {
    let world = policed("");
    let secret = world.path().join("secret.gguf");
    fs::rename(world.weights("secret", "secret "), &secret).unwrap();
    let link = world.path().join("weights/now.gguf");
    symlink("a.gguf", &link).unwrap();
    let definition = |more: &str| format!("{}{more}[update]\ndrain = \"0s\"\n", World::tiny_toml("now"));
    world.write_definition("a", &definition(""));
    run(&world, &["reconcile"]).exits(0);
    let old = world.pid("a");
    // One that does not answer is killed after two seconds: long enough.
    kill_process(Pid::from_raw(old).unwrap(), Signal::STOP).unwrap();
    world.write_definition("a", &definition("seed = 1\n"));
    let log = world.path().join("out.log");
    let mut command = world.command();
    let out = fs::File::create(&log).unwrap();
    command.env("HERDSMAN_POLICY", "policy.toml").args(["reconcile", "--no-wait"]);
    command.stdout(out.try_clone().unwrap()).stderr(out);
    let mut herdsman = Background::from(command.spawn().unwrap());
    eventually("it is told to end", PATIENCE, || is_told_to_end(old));
    symlink("../secret.gguf", world.path().join("weights/next")).unwrap();
    fs::rename(world.path().join("weights/next"), &link).unwrap();
    herdsman.child().wait().unwrap();
    let said = fs::read_to_string(&log).unwrap();
    assert!(said.contains("secret.gguf") && said.contains("does not allow"), "{said}");
    assert_eq!(world.instances(), []);
}

/// Whether a SIGTERM waits for the process.
fn is_told_to_end(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = |line: &str| {
        let bits = line.strip_prefix("ShdPnd:").or_else(|| line.strip_prefix("SigPnd:"))?;
        u64::from_str_radix(bits.trim(), 16).ok()
    };
    status.lines().filter_map(pending).any(|bits| bits & (1 << (Signal::TERM.as_raw() - 1)) != 0)
}

#[test]
fn the_llama_server_of_the_host_needs_no_leave() {
    let world = policed("");
    let named = Ran::of(world.command().args([
        "--llama-server",
        "/nowhere/llama-server",
        "--policy",
        "policy.toml",
        "reconcile",
    ]));
    named.exits(69);
    run(&world, &["reconcile"]).exits(0);
}
