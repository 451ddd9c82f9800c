//! Others beside the watcher.

use std::fs;
use std::time::Instant;

use rustix::process::Signal;

use super::scene::{PATIENCE, Scene, causes, causes_are, events, kill_and_see_it_return, serves, watch};
use crate::support::{World, eventually};

#[test]
fn refuses_a_second_watcher_and_names_the_first() {
    let scene = Scene::new();
    let mut second = watch(&scene.world, &[]);
    assert_eq!(second.ended(Instant::now()).code, Some(75));
    second.eventually_says("another watcher is running on");
    second.eventually_says("state; stop it first");
    scene.world.write_definition("m", &World::tiny_toml("v2"));
    scene.m_serves("v2");
}

#[test]
fn reconcile_by_hand_works_beside_a_watcher() {
    let scene = Scene::new();
    scene.world.write_definition("m", &World::tiny_toml("v2"));
    scene.world.converges();
    scene.m_serves("v2");
    scene.world.write_definition("m", &World::tiny_toml("v3"));
    scene.m_serves("v3");
    scene.world.is_settled();
    // Whichever of the two was faster, each edit was applied once.
    eventually("both are recorded", PATIENCE, || causes(&scene.world, "m", "restart").len() >= 2);
    assert_eq!(causes(&scene.world, "m", "restart").len(), 2);
}

#[test]
fn the_watcher_does_not_undo_a_newer_reconcile_by_hand() {
    let scene = Scene::with(&["--debounce", "3s"]);
    let world = &scene.world;
    for name in ["removed", "stopped", "killed"] {
        world.tiny(name);
    }
    for name in ["removed", "stopped", "killed"] {
        scene.watcher.eventually_says(&format!("{name} is ready"));
    }
    world.write_definition("m", &World::tiny_toml("v2"));
    world.remove_definition("removed");
    world.write_definition("stopped", &format!("state = \"stopped\"\n{}", World::tiny_toml("stopped")));
    world.converges();
    // The exits of all three have made it look; this one's return shows it.
    kill_and_see_it_return(world, "killed");
    eventually("it is seen ready", PATIENCE, || scene.watcher.log().matches("killed is ready").count() == 2);
    serves(world, "m", "v2");
    let names: Vec<_> = world.instances().into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["killed", "m", "other"]);
    // Two seconds later it has read the files.
    world.write_definition("m", &World::tiny_toml("v3"));
    scene.m_serves("v3");
    causes_are(world, "m", "restart", &["reconcile", "files changed"]);
    let last = |name| events(world, name).last().map(|event| (event.action.clone(), event.cause.clone()));
    assert_eq!(last("removed"), Some(("delete".to_owned(), "reconcile".to_owned())));
    assert_eq!(last("stopped"), Some(("stop".to_owned(), "reconcile".to_owned())));
}

#[test]
fn down_is_refused_beside_a_watcher() {
    let scene = Scene::new();
    let servers = scene.world.instances();
    scene.world.run(&["down"]).exits(75).says(&["a watcher is running on", "state"]);
    assert_eq!(scene.world.instances(), servers);
    scene.other_is_untouched();
}

#[test]
fn recreates_a_removed_state_directory_with_the_id_of_the_servers() {
    let mut scene = Scene::new();
    let (m, state) = (scene.world.pid("m"), scene.world.state_dir());
    let id = fs::read_to_string(state.join("id")).unwrap();
    fs::remove_dir_all(&state).unwrap();
    scene.watcher.signal(Signal::HUP);
    scene.watcher.eventually_says("m adopt: ");
    assert_eq!(fs::read_to_string(state.join("id")).unwrap(), id);
    assert_eq!(scene.world.pid("m"), m);
    // The lock of the watcher is one of the new directory.
    scene.world.run(&["down"]).exits(75);
    scene.world.run(&["watch"]).exits(75);
    scene.other_is_untouched();
}
