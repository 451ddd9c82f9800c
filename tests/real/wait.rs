//! `herdsman wait`: until a commit is what runs, and has stayed healthy.

use std::time::{Duration, Instant};

use crate::support::{Ran, Repository, World, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

/// A model in a repository, not started yet.
fn committed() -> (World, Repository, String) {
    let world = World::new();
    world.tiny("a");
    let repository = Repository::init(world.path());
    let commit = repository.commit();
    (world, repository, commit)
}

#[test]
fn waits_until_a_commit_is_fetched_applied_and_healthy_for_a_while() {
    let (world, repository, first) = committed();
    repository.git(&["branch", "--move", "main"]);
    repository.git(&["clone", "--quiet", ".", "deployed"]);
    std::os::unix::fs::symlink("../weights", world.path().join("deployed/weights")).unwrap();
    let command = || {
        let mut command = world.command();
        command.env("HERDSMAN_MODELS_DIR", "deployed/models.d").env("HERDSMAN_FROM_GIT", "origin/main");
        command
    };
    let wait = |commit: &str, more: &[&str]| {
        let mut command = command();
        command.args(["wait", "--commit", commit]).args(more);
        command
    };
    let ran = Ran::of(&mut wait(&first, &["--stable-for", "0s", "--timeout", "100ms"])).exits(1);
    ran.says(&["gave up after 0.1 s", &first[..10], "+ a  create", "no watcher is running"]);

    let watcher = world.watch_by(command(), &["--resync", "1h"]);
    watcher.eventually_says("a is ready");
    world.write_definition("a", &World::tiny_toml("a").replace("512", "768"));
    let second = repository.commit();
    let ran = Ran::of(&mut wait(&second, &["--stable-for", "0s", "--timeout", "100ms"])).exits(1);
    ran.says(&["gave up after 0.1 s", "is not a commit of the repository", "git fetch"]);
    let mut waiting = wait(&second, &["--stable-for", "1s"]);
    let waiting = std::thread::spawn(move || (Ran::of(&mut waiting), Instant::now()));
    let fetched = Instant::now();
    repository.git(&["-C", "deployed", "fetch", "--quiet"]);
    watcher.eventually_says("ctx_size 512 -> 768");
    let (ran, ended) = waiting.join().unwrap();
    let said =
        format!("{} is in sync and has been healthy for 1.0 s: 1 model matches its definition.\n", &second[..10]);
    assert_eq!(ran.exits(0).stdout, said);
    assert!(ended - fetched >= Duration::from_secs(1), "it looked on for a second");
    // What came before is in it.
    let ran = Ran::of(&mut wait(&first, &["--stable-for", "0s"])).exits(0);
    ran.says(&[&format!("{} (in {}) is in sync", &first[..10], &second[..10])]);
}

#[test]
fn a_generation_that_fails_ends_the_wait_at_once_with_the_reason() {
    let (world, repository, _) = committed();
    world.converges();
    world.weights_that_die("bad");
    world.write_definition("a", &World::tiny_toml("bad"));
    let commit = repository.commit();
    world.run(&["reconcile"]).exits(1);
    // By itself it gives up only after five minutes, and says so otherwise.
    let ran = world.run(&["wait", "--commit", &commit]).exits(1);
    ran.says(&["is not in sync, and waiting will not help", "generation 2 failed", "generation 1 is serving"]);

    world.write_definition("a", "model = 5\n");
    let commit = repository.commit();
    world
        .run(&["wait", "--commit", &commit])
        .exits(65)
        .says(&["models.d/a.toml:1:9", "is not in sync, and waiting will not help"]);
}

#[test]
fn an_edit_that_is_not_committed_is_not_the_commit() {
    let (world, repository, commit) = committed();
    world.converges();
    world.write_definition("a", &World::tiny_toml("a").replace("512", "768"));
    let ran = world.run(&["wait", "--commit", &commit, "--stable-for", "0s", "--timeout", "100ms"]).exits(1);
    ran.says(&["models.d/a.toml differs from", "commit or revert the change"]);
    repository.git(&["checkout", "--quiet", "--", "."]);
    // Nor is one behind a link.
    std::fs::create_dir(world.path().join("shared")).unwrap();
    std::fs::rename(world.models_dir().join("a.toml"), world.path().join("shared/a.toml")).unwrap();
    std::os::unix::fs::symlink("../shared/a.toml", world.models_dir().join("a.toml")).unwrap();
    repository.git(&["add", "shared"]);
    let commit = repository.commit();
    let wait = || world.run(&["wait", "--commit", &commit, "--stable-for", "0s", "--timeout", "100ms"]);
    wait().exits(0);
    std::fs::write(world.path().join("shared/a.toml"), World::tiny_toml("a") + "# edited\n").unwrap();
    wait().exits(1).says(&["shared/a.toml differs from"]);
    repository.git(&["checkout", "--quiet", "-b", "other"]);
    let other = repository.commit();
    repository.check_out(&commit);
    let ran = world.run(&["wait", "--commit", &other, "--stable-for", "0s", "--timeout", "100ms"]).exits(1);
    ran.says(&["HEAD is ", "which does not contain", "check it out"]);
    let ran = world.run(&["wait", "--timeout", "5s"]).exits(64);
    ran.says(&[" is longer than --timeout 5.0 s, so the wait can never succeed"]);
    // Without a commit, whatever is there counts.
    world.run(&["wait", "--stable-for", "0s"]).exits(0).says(&["models.d is in sync"]);
}

#[test]
fn an_override_counts_as_in_sync_and_a_suspension_does_not() {
    let (world, _repository, commit) = committed();
    world.converges();
    let wait = || world.run(&["wait", "--commit", &commit, "--stable-for", "0s", "--timeout", "100ms"]);
    world.run(&["stop", "a"]).exits(0);
    wait().exits(0).says(&["1 model is stopped by hand"]);
    world.run(&["start", "a"]).exits(0);
    wait().exits(0);
    world.run(&["suspend", "a"]).exits(0);
    wait().exits(1).says(&["is not in sync yet", "suspended"]);
    world.run(&["resume", "a"]).exits(0);
    wait().exits(0);
}

#[test]
fn a_crash_restarts_the_wait_for_health() {
    let (world, _repository, commit) = committed();
    let watcher = world.watch(&["--resync", "1h"]);
    watcher.eventually_says("a is ready");
    let mut waiting = world.start(&["wait", "--commit", &commit, "--stable-for", "6s"]);
    let said = || std::fs::read_to_string(world.path().join("stderr.log")).unwrap();
    eventually("it looks on", PATIENCE, || said().contains("checking that it stays healthy"));
    let mut last = Instant::now();
    for crash in 1..=2 {
        world.kill("a");
        last = Instant::now();
        eventually("it is back", PATIENCE, || watcher.log().matches("a is ready").count() == crash + 1);
    }
    assert!(waiting.child().wait().unwrap().success(), "{}", said());
    assert!(last.elapsed() >= Duration::from_secs(6), "it counts from the last crash: {:?}", last.elapsed());
}
