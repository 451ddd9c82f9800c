//! Definitions that are read from a commit, whatever the work tree holds.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::support::{Ran, Repository, World, eventually};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

/// A repository with one model, `a`, that says its name.
fn committed() -> (World, Repository, String) {
    let world = World::new();
    world.tiny("a");
    let repository = Repository::init(world.path());
    let commit = repository.commit();
    (world, repository, commit)
}

fn with_ctx_size(ctx_size: u32) -> String {
    World::tiny_toml("a").replace("512", &ctx_size.to_string())
}

#[track_caller]
fn reconcile(world: &World, revision: &str) -> Ran {
    world.run(&["reconcile", "--from-git", revision])
}

#[test]
fn uncommitted_edits_and_a_half_done_checkout_change_nothing() {
    let (world, repository, first) = committed();
    let ran = reconcile(&world, "HEAD").exits(0);
    assert!(ran.stdout.contains("create   models.d/a.toml"), "{ran}");
    assert_eq!(world.answer("a").split(' ').next(), Some("a"), "paths are those of the directory");
    let pid = world.pid("a");

    world.write_definition("a", &with_ctx_size(768));
    world.tiny("b");
    // Git would hold it through a checkout; without --from-git it is waited for.
    fs::write(world.path().join(".git/index.lock"), "").unwrap();
    reconcile(&world, "HEAD").exits(0).says(&["No changes. 1 model matches its definition."]);
    world.remove_definition("a");
    reconcile(&world, "HEAD").exits(0).says(&["No changes."]);
    fs::remove_dir_all(world.models_dir()).unwrap();
    reconcile(&world, "HEAD").exits(0).says(&["No changes."]);
    assert_eq!(world.pid("a"), pid);
    fs::remove_file(world.path().join(".git/index.lock")).unwrap();

    repository.git(&["checkout", "--quiet", "--force", "HEAD"]);
    world.write_definition("a", &with_ctx_size(768));
    let second = repository.commit();
    world.write_definition("a", "model = 5");
    let ran = reconcile(&world, "HEAD").exits(0);
    assert!(ran.stdout.contains("ctx_size 512 -> 768   models.d/a.toml:3"), "{ran}");
    let history = world.run(&["history", "a", "--format", "json"]).exits(0).json();
    for (index, commit) in [second, first.clone()].into_iter().enumerate() {
        let generation = &history["generations"][index];
        assert_eq!((&generation["commit"], &generation["dirty"]), (&json!(commit), &json!(false)));
    }
    reconcile(&world, &first).exits(0).says(&["ctx_size 768 -> 512"]);
}

#[test]
fn what_cannot_be_read_is_an_error_that_stops_and_deletes_nothing() {
    let (world, repository, _) = committed();
    reconcile(&world, "HEAD").exits(0);
    let pid = world.pid("a");
    reconcile(&world, "origin/main").exits(66).says(&["\"origin/main\" is not a commit", "git fetch"]);
    repository.git(&["rm", "--quiet", "-r", "models.d"]);
    repository.git(&["commit", "--quiet", "--message", "gone"]);
    reconcile(&world, "HEAD").exits(66).says(&["models.d is not a directory in commit", "git ls-tree"]);
    Ran::of(world.command().env("HERDSMAN_MODELS_DIR", "/nowhere/models.d").args(["reconcile", "--from-git", "HEAD"]))
        .exits(66)
        .says(&["/nowhere/models.d is not in a Git repository", "--from-git"]);
    assert_eq!(world.pid("a"), pid);
}

#[test]
fn a_problem_is_shown_with_the_line_of_the_commit() {
    let (world, repository, _) = committed();
    reconcile(&world, "HEAD").exits(0);
    let good = world.pid("a");
    world.write_definition("a", &World::tiny_toml("a").replace("ctx_size", "ctx_sizes"));
    world.write_definition("gone", "model = \"gone.gguf\"\n");
    world.write_definition("one", "port = 8101\nmodel = \"../weights/a.gguf\"\n");
    world.write_definition("two", "model = \"../weights/a.gguf\"\nport = 8101\n");
    symlink("/etc/hostname", world.models_dir().join("host.toml")).unwrap();
    symlink("../shared.toml", world.models_dir().join("shared.toml")).unwrap();
    fs::write(world.path().join("shared.toml"), "state = \"stopped\"\nmodel = \"x.gguf\"\n").unwrap();
    fs::create_dir(world.models_dir().join("sub.toml")).unwrap();
    fs::write(world.models_dir().join("sub.toml/x"), "").unwrap();
    repository.git(&["add", "shared.toml"]);
    repository.commit();
    for name in ["a", "gone", "one", "two"] {
        world.write_definition(name, "# another text\n");
    }
    let ran = reconcile(&world, "HEAD").exits(65);
    let ran = ran.says(&[
        "--> models.d/a.toml:3:1",
        "3 | ctx_sizes = 512",
        "1 | model = \"gone.gguf\"",
        "2 | port = 8101",
        "error: the file is a symlink to something that is not in the commit",
        "models.d/host.toml",
        "error: the file is a directory",
        "models.d/sub.toml",
    ]);
    assert!(ran.stdout.contains("shared  create   models.d/shared.toml (declared stopped)"), "{ran}");
    assert!(!ran.stderr.contains("another text"), "{ran}");
    assert_eq!(world.pid("a"), good);
}

#[test]
fn a_dry_run_status_why_and_validate_read_the_same_commit_and_write_nothing() {
    let (world, _repository, _) = committed();
    world.write_definition("a", "nonsense");
    let from = ["--from-git", "HEAD"];
    let run = |arguments: &[&str]| world.run(&[arguments, &from].concat());
    run(&["reconcile", "--dry-run"]).exits(0).says(&["+ a  create   models.d/a.toml"]);
    run(&["validate"]).exits(0).says(&["1 definition is valid."]);
    assert!(!world.state_dir().exists());
    run(&["reconcile"]).exits(0);
    run(&["status", "--exit-code"]).exits(0).says(&["running"]);
    run(&["why", "a"]).exits(0).says(&["models.d/a.toml declares it running", "matches its definition"]);
    world.run(&["validate"]).exits(65);
    world.run(&["validate", "--from-git", "none"]).exits(66).says(&["\"none\" is not a commit"]);
    Ran::of(world.command().env("HERDSMAN_FROM_GIT", "HEAD").arg("reconcile")).exits(0).says(&["No changes."]);
    Ran::of(world.command().env("HERDSMAN_FROM_GIT", "").arg("reconcile")).exits(65);
}

#[test]
fn a_watcher_follows_a_branch_as_fetches_move_it() {
    let (world, repository, first) = committed();
    repository.git(&["branch", "--move", "main"]);
    repository.git(&["clone", "--quiet", "--no-checkout", ".", "deployed"]);
    fs::rename(world.path().join("weights"), world.path().join("deployed/weights")).unwrap();
    symlink("deployed/weights", world.path().join("weights")).unwrap();
    let fetch = || repository.git(&["-C", "deployed", "fetch", "--quiet"]);
    let mut command = world.command();
    command.env("HERDSMAN_MODELS_DIR", "deployed/models.d");
    let watcher = world.watch_by(command, &["--from-git", "origin/main", "--resync", "1h", "--debounce", "50ms"]);
    watcher.eventually_says("a is ready");
    watcher.eventually_says(&format!("origin/main is at commit {}", &first[..10]));
    let ready = || watcher.log().matches("a is ready").count();
    let restarts_to = |ctx_size: u32| {
        let before = ready();
        world.write_definition("a", &with_ctx_size(ctx_size));
        let commit = repository.commit();
        fetch();
        watcher.eventually_says(&format!("-> {ctx_size} deployed/models.d/a.toml:3"));
        watcher.eventually_says(&format!("origin/main is at commit {}", &commit[..10]));
        eventually("it is ready", PATIENCE, || ready() > before);
    };
    restarts_to(768);
    // The branch is in packed-refs by now, and in a file of its own again after.
    repository.git(&["-C", "deployed", "pack-refs", "--all"]);
    restarts_to(1024);
    repository.git(&["-C", "deployed", "pack-refs", "--all"]);
    restarts_to(512);

    // Another Git may write only the file of packed ones.
    repository.git(&["-C", "deployed", "pack-refs", "--all"]);
    // What that caused is over when something that came later is.
    let before = ready();
    world.kill("a");
    eventually("it is back", PATIENCE, || ready() > before);
    let old = repository.git(&["rev-parse", "HEAD"]);
    world.write_definition("a", &with_ctx_size(2048));
    let new = repository.commit();
    repository.git(&["-C", "deployed", "fetch", "--quiet", "..", "HEAD"]);
    let packed = world.path().join("deployed/.git/packed-refs");
    let text = fs::read_to_string(&packed).unwrap().replace(old.trim(), &new);
    fs::write(packed.with_extension("new"), text).unwrap();
    fs::rename(packed.with_extension("new"), packed).unwrap();
    watcher.eventually_says("ctx_size 512 -> 2048 deployed/models.d/a.toml:3");

    // The branch, packed, is gone for a while: nothing is stopped for that.
    repository.git(&["-C", "deployed", "pack-refs", "--all"]);
    repository.git(&["-C", "deployed", "update-ref", "-d", "refs/remotes/origin/main"]);
    watcher.eventually_says("\"origin/main\" is not a commit");
    watcher.eventually_says("nothing is deleted");
    assert_eq!(world.instances().len(), 1);
    fetch();
    watcher.eventually_says("the definitions can be read again");
    restarts_to(1280);
}

#[test]
fn refuses_to_reconcile_other_definitions_than_the_watcher_reads() {
    let (world, _repository, _) = committed();
    world.write_definition("a", &with_ctx_size(768));
    let watcher = world.watch(&["--from-git", "HEAD", "--resync", "1h"]);
    watcher.eventually_says("a is ready");
    let pid = world.pid("a");
    for arguments in [&["reconcile"][..], &["restart", "a"], &["stop", "a"], &["suspend", "a"]] {
        let ran = world.run(arguments).exits(64);
        let models_dir = world.models_dir().canonicalize().unwrap();
        ran.says(&[
            "reads other definitions and would undo this",
            &format!("--models-dir {} --from-git HEAD", models_dir.display()),
        ]);
    }
    world.run(&["reconcile", "--dry-run"]).exits(0).says(&["ctx_size 512 -> 768"]);
    assert_eq!(world.pid("a"), pid);
    world.run(&["restart", "a", "--from-git", "HEAD"]).exits(0);
    assert_ne!(world.pid("a"), pid);
    drop(watcher);
    let watcher = world.watch(&["--resync", "1h"]);
    watcher.eventually_says("ctx_size 512 -> 768");
    let ran = world.run(&["reconcile", "--from-git", "HEAD"]).exits(64);
    ran.says(&["models.d without --from-git, or stop the watcher first"]);
    drop(watcher);
    world.converges();
}

#[test]
fn a_watcher_that_polls_follows_a_branch_too() {
    let (world, repository, _) = committed();
    let watcher = world.watch(&["--from-git", "HEAD", "--resync", "1h", "--poll", "50ms"]);
    watcher.eventually_says("a is ready");
    world.write_definition("a", &with_ctx_size(768));
    repository.commit();
    watcher.eventually_says("ctx_size 512 -> 768");
    repository.check_out("HEAD~1");
    watcher.eventually_says("ctx_size 768 -> 512");
}
