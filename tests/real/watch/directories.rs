//! What may happen to the directory itself: replaced, deleted, made later,
//! mounted over.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::scene::{PATIENCE, Scene, kill_and_see_it_return, serves, watch, watch_by, world};
use crate::support::{World, eventually};

const UNREAD: &str = "until it can read the definitions again, herdsman follows those it read last: it deletes nothing";

/// A directory beside `models.d` with both definitions, `m` with other weights.
fn other_directory(world: &World, name: &str, m: &str) -> std::path::PathBuf {
    let path = world.path().join(name);
    fs::create_dir(&path).unwrap();
    fs::write(path.join("m.toml"), World::tiny_toml(m)).unwrap();
    fs::write(path.join("other.toml"), World::tiny_toml("other")).unwrap();
    path
}

#[test]
fn a_directory_that_is_replaced_by_another_is_read_and_watched() {
    let scene = Scene::new();
    let world = &scene.world;
    let new = other_directory(world, "new", "v2");
    fs::rename(world.models_dir(), world.path().join("old")).unwrap();
    fs::rename(&new, world.models_dir()).unwrap();
    scene.m_serves("v2");
    fs::write(scene.definition(), World::tiny_toml("v3")).unwrap();
    scene.m_serves("v3");
    // In one step: both exist before and after.
    let newer = other_directory(world, "newer", "v4");
    renameat_with(CWD, &newer, CWD, world.models_dir(), RenameFlags::EXCHANGE).unwrap();
    scene.m_serves("v4");
    fs::write(scene.definition(), World::tiny_toml("v2")).unwrap();
    scene.m_serves("v2");
}

#[test]
fn a_directory_above_that_is_replaced_is_noticed() {
    let world = world();
    let inside = |release: &str, m: &str| {
        fs::create_dir(world.path().join(release)).unwrap();
        let path = other_directory(&world, &format!("{release}/models.d"), m);
        for name in ["m.toml", "other.toml"] {
            let toml = fs::read_to_string(path.join(name)).unwrap();
            fs::write(path.join(name), toml.replace("../weights", "../../weights")).unwrap();
        }
    };
    inside("release", "m");
    inside("next", "v2");
    let mut herdsman = world.command();
    herdsman.args(["--models-dir", "release/models.d"]);
    let scene = Scene::of(watch_by(&world, herdsman, &[]), world);
    fs::rename(scene.world.path().join("release"), scene.world.path().join("old")).unwrap();
    fs::rename(scene.world.path().join("next"), scene.world.path().join("release")).unwrap();
    scene.m_serves("v2");
    let moved = scene.world.path().join("release/models.d/m.toml");
    fs::write(moved, World::tiny_toml("v3").replace("../weights", "../../weights")).unwrap();
    scene.m_serves("v3");
}

#[test]
fn while_the_directory_is_gone_everything_runs_on_and_is_kept_running() {
    // A second: the directory is filled again within one burst.
    let scene = Scene::with(&["--debounce", "1s"]);
    let world = &scene.world;
    world.tiny("killed");
    serves(world, "killed", "killed");
    let before = world.instances();
    fs::remove_dir_all(world.models_dir()).unwrap();
    scene.watcher.eventually_says("models.d does not exist");
    scene.watcher.eventually_says(UNREAD);
    kill_and_see_it_return(world, "killed");
    let others = |instances: Vec<(i32, String)>| -> Vec<(i32, String)> {
        instances.into_iter().filter(|(_, name)| name != "killed").collect()
    };
    assert_eq!(others(world.instances()), others(before));

    fs::create_dir(world.models_dir()).unwrap();
    for (name, weights) in [("other", "other"), ("killed", "killed"), ("m", "v2")] {
        world.write_definition(name, &World::tiny_toml(weights));
    }
    scene.m_serves("v2");
    scene.watcher.eventually_says("the definitions can be read again");
}

#[test]
fn a_directory_that_is_made_later_is_waited_for() {
    let world = world();
    let away = world.path().join("away");
    fs::rename(world.models_dir(), &away).unwrap();
    let watcher = watch(&world, &[]);
    watcher.eventually_says(UNREAD);
    fs::rename(&away, world.models_dir()).unwrap();
    let scene = Scene::of(watcher, world);
    fs::write(scene.definition(), World::tiny_toml("v2")).unwrap();
    scene.m_serves("v2");
}

/// Runs `script` (sh) where the watcher sees its mounts.
fn inside(scene: &mut Scene, script: &str) {
    let pid = scene.watcher.pid().as_raw_nonzero().to_string();
    let mut command = Command::new("nsenter");
    command.args(["--target", &pid, "--user", "--preserve-credentials", "--mount", "sh", "-euc", script]);
    let done = command.current_dir("/").output().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_file_system_that_is_mounted_over_it_is_read_and_what_it_hides_is_not_deleted() {
    let world = world();
    other_directory(&world, "volume", "v2");
    let shown = |path: &Path| path.display().to_string();
    let (volume, models_dir) = (shown(&world.path().join("volume")), shown(&world.models_dir()));
    let herdsman = world.command_after("true");
    let mut scene = Scene::of(watch_by(&world, herdsman, &[]), world);
    inside(&mut scene, &format!("mount --bind '{volume}' '{models_dir}'"));
    scene.m_serves("v2");
    // Events come from there now.
    fs::write(scene.world.path().join("volume/m.toml"), World::tiny_toml("v3")).unwrap();
    scene.m_serves("v3");
    inside(&mut scene, &format!("umount '{models_dir}'"));
    scene.m_serves("m");
    // An empty one, as a mount point is while nothing is mounted: refused.
    inside(&mut scene, &format!("mount -t tmpfs none '{models_dir}'"));
    scene.watcher.eventually_says("refused to delete");
    inside(&mut scene, &format!("umount '{models_dir}'"));
    fs::write(scene.definition(), World::tiny_toml("v4")).unwrap();
    scene.m_serves("v4");
    eventually("both run", PATIENCE, || scene.world.instances().len() == 2);
}
