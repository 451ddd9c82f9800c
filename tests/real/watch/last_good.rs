//! A bad edit takes nothing down, and a good one heals without a restart of
//! the watcher.

use super::scene::{PATIENCE, Scene, causes, serves};
use crate::support::{World, eventually};

#[test]
fn reports_an_invalid_edit_and_keeps_the_model_running() {
    let scene = Scene::new();
    let (world, m) = (&scene.world, scene.world.pid("m"));
    world.write_definition("m", &World::tiny_toml("v2").replace("ctx_size", "ctx_sise"));
    scene.watcher.eventually_says("models.d/m.toml:3:");
    scene.watcher.eventually_says("ctx_size");
    world.run(&["status"]).says(&["models.d/m.toml:3", "ctx_sise"]);
    // Other edits meanwhile are not delayed.
    world.tiny("third");
    serves(world, "third", "third");
    assert_eq!(world.pid("m"), m);
    world.write_definition("m", &World::tiny_toml("v2"));
    scene.m_serves("v2");
    scene.watcher.eventually_says("all definitions are valid again");
    assert_eq!(scene.watcher.log().matches("models.d/m.toml:3:").count(), 1, "logged once");
}

#[test]
fn a_valid_edit_that_does_not_become_ready_is_rolled_back() {
    let scene = Scene::new();
    let (world, m) = (&scene.world, scene.world.pid("m"));
    world.weights_that_die("bad");
    world.write_definition("m", &World::tiny_toml("bad"));
    scene.watcher.eventually_says("m failed to start: ");
    scene.m_serves("m");
    assert_ne!(world.pid("m"), m);
    eventually("the watcher logs it", PATIENCE, || {
        let status = world.status("m");
        status["generation"] == 2 && status["serving"] == 1 && status["status"] == "running"
    });
    scene.watcher.eventually_says("waiting for an edit");
    let rolled_back = world.pid("m");
    world.tiny("third");
    serves(world, "third", "third");
    assert_eq!(world.pid("m"), rolled_back, "it is not tried again");
    assert_eq!(causes(world, "m", "restart")[0], "files changed");
    world.write_definition("m", &World::tiny_toml("v2"));
    scene.m_serves("v2");
}
