//! A real Git: what it changes at once is applied at once.

use std::fs;

use super::scene::{PATIENCE, Scene, causes_are, kill_and_see_it_return, serves, watch, world};
use crate::support::{World, eventually, free_port};

/// Runs git in `directory` of the world.
#[track_caller]
fn git(world: &World, directory: &str, arguments: &[&str]) {
    crate::support::git(&world.path().join(directory), arguments);
}

fn commit(world: &World, directory: &str) {
    git(world, directory, &["add", "models.d"]);
    git(world, directory, &["commit", "--quiet", "--message", "models"]);
}

#[test]
fn a_checkout_of_many_files_is_applied_as_a_whole_however_long_it_takes() {
    let world = world();
    let (one, two) = (free_port(), free_port());
    let (ports, names) = ([one, two], ["p", "q"]);
    let with_ports = |ports: [u16; 2]| {
        for (name, port) in names.iter().zip(ports) {
            world.weights(name, &format!("{name} "));
            world.write_definition(name, &format!("port = {port}\n{}", World::tiny_toml(name)));
        }
    };
    with_ports(ports);
    world.tiny("old");
    git(&world, ".", &["init", "--quiet"]);
    commit(&world, ".");
    git(&world, ".", &["checkout", "--quiet", "-b", "next"]);
    // Half of this commit is an error: two models on one port.
    with_ports([two, one]);
    world.write_definition("m", &World::tiny_toml("v2"));
    world.remove_definition("old");
    world.tiny("young");
    commit(&world, ".");
    git(&world, ".", &["checkout", "--quiet", "main"]);

    let scene = Scene::of(watch(&world, &["--debounce", "50ms"]), world);
    let world = &scene.world;
    for name in ["p", "q", "old"] {
        serves(world, name, name);
        scene.watcher.eventually_says(&format!("{name} is ready"));
    }
    // Git writes each file slowly: the pauses are much longer than the debounce time.
    git(world, ".", &["config", "filter.slow.smudge", "sleep 0.2; cat"]);
    fs::write(world.path().join(".git/info/attributes"), "*.toml filter=slow\n").unwrap();
    git(world, ".", &["checkout", "--quiet", "next"]);
    let port = |name| world.status(name)["port"].as_u64();
    eventually("both have changed ports", PATIENCE, || {
        ["p", "q"].map(port) == [two, one].map(|port| Some(u64::from(port)))
    });
    scene.m_serves("v2");
    for name in ["p", "q", "young"] {
        serves(world, name, name);
    }
    let names: Vec<_> = world.instances().into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["m", "other", "p", "q", "young"]);
    for part in ["error", "warning", "WARN"] {
        scene.watcher.has_not_said(part);
    }
    causes_are(world, "young", "create", &["files changed"]);
    world.is_settled();
}

#[test]
fn a_pull_is_applied() {
    let world = world();
    git(&world, ".", &["init", "--quiet"]);
    commit(&world, ".");
    git(&world, ".", &["clone", "--quiet", ".", "upstream"]);
    git(&world, ".", &["remote", "add", "origin", "upstream"]);
    let scene = Scene::of(watch(&world, &[]), world);
    let world = &scene.world;
    fs::write(world.path().join("upstream/models.d/m.toml"), World::tiny_toml("v2")).unwrap();
    commit(world, "upstream");
    git(world, ".", &["pull", "--quiet", "origin", "main"]);
    scene.m_serves("v2");
    causes_are(world, "m", "restart", &["files changed"]);
}

#[test]
fn while_git_is_at_work_nothing_is_applied_and_a_killed_server_comes_back() {
    let world = world();
    world.tiny("killed");
    git(&world, ".", &["init", "--quiet"]);
    commit(&world, ".");
    let scene = Scene::of(watch(&world, &[]), world);
    let world = &scene.world;
    serves(world, "killed", "killed");
    let m = world.pid("m");
    let lock = world.path().join(".git/index.lock");
    fs::write(&lock, "").unwrap();
    world.write_definition("m", &World::tiny_toml("v2"));
    world.remove_definition("killed");
    scene.watcher.eventually_says(".git/index.lock");
    scene.watcher.eventually_says("herdsman follows those it read last");
    kill_and_see_it_return(world, "killed");
    assert_eq!(world.pid("m"), m);
    fs::remove_file(&lock).unwrap();
    scene.m_serves("v2");
    scene.watcher.eventually_says("the definitions can be read again");
}
