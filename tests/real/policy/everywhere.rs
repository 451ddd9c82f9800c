//! A policy is in force wherever definitions are read or servers started.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::PATIENCE;
use crate::support::policed::{ask_for, commit, policed, run, write_policy};
use crate::support::{Ran, World, eventually, llama_server};

#[test]
fn validate_applies_the_given_policy() {
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
    // Without a policy, herdsman does not know what is allowed.
    world.run(&["validate", "--policy", "nowhere.toml"]).exits(66).says(&["does not exist"]);
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
    run(&world, &["reconcile", "--plan", "plan.json"])
        .exits(3)
        .says(&["not started: the policy does not allow", "`props`"]);
    assert_eq!(world.instances(), []);
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

/// A llama-server that never gets ready, and makes `now.gguf` lead to the secret
/// when it has to end.
fn llama_server_that_swaps(world: &World) -> String {
    let path = world.path().join("swaps");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version|*--help) exec '{}' \"$@\";; esac\ncd '{}/weights'\n\
         trap 'ln -s ../secret.gguf next; mv -T next now.gguf; exit' TERM\necho waits\nwhile :; do sleep 0.05; done\n",
        llama_server().display(),
        world.path().display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn a_link_that_is_swapped_while_the_old_server_stops_leads_nowhere() {
    let world = policed("");
    let secret = world.path().join("secret.gguf");
    fs::rename(world.weights("secret", "secret "), &secret).unwrap();
    symlink("a.gguf", world.path().join("weights/now.gguf")).unwrap();
    let binary = llama_server_that_swaps(&world);
    write_policy(&world, &format!("binaries = [\"{binary}\"]\n"));
    let toml = format!("{}[update]\ndrain = \"0s\"\n", World::tiny_toml("now"));
    world.write_definition("a", &format!("binary = \"{binary}\"\n{toml}"));
    run(&world, &["reconcile", "--no-wait"]).exits(0);
    let log = world.log("a");
    eventually("it is ready for SIGTERM", PATIENCE, || fs::read_to_string(&log).unwrap().contains("waits\n"));
    world.write_definition("a", &toml);
    run(&world, &["reconcile", "--no-wait"]).exits(1).says(&["secret.gguf", "does not allow"]);
    assert_eq!(fs::read_link(world.path().join("weights/now.gguf")).unwrap().to_str(), Some("../secret.gguf"));
    assert_eq!(world.instances(), []);
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
