//! Links that are swapped: where they lead decides, not what they are.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::scene::{Scene, causes_are, events, watch, watch_by, world};
use crate::support::World;

/// Makes the link at `path` lead to `target`, at once: by `rename(2)` of a new one.
fn swap(path: &Path, target: &str) {
    let new = path.with_extension("tmp");
    symlink(target, &new).unwrap();
    fs::rename(&new, path).unwrap();
}

/// Writes both definitions to `directory`.
fn definitions(directory: &Path, m: &str) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("m.toml"), m).unwrap();
    fs::write(directory.join("other.toml"), World::tiny_toml("other")).unwrap();
}

/// As kubelet updates a mounted ConfigMap: a new directory, then `..data`
/// leads there. (It removes the old one after that.)
fn update_config_map(models_dir: &Path, to: &str, m: &str) {
    definitions(&models_dir.join(to), m);
    symlink(to, models_dir.join("..data_tmp")).unwrap();
    fs::rename(models_dir.join("..data_tmp"), models_dir.join("..data")).unwrap();
}

#[test]
fn a_config_map_that_is_swapped_restarts_only_what_it_changes() {
    let world = world();
    let models_dir = world.models_dir();
    definitions(&models_dir.join("..2026_a"), &World::tiny_toml("m"));
    symlink("..2026_a", models_dir.join("..data")).unwrap();
    for name in ["m.toml", "other.toml"] {
        fs::remove_file(models_dir.join(name)).unwrap();
        symlink(Path::new("..data").join(name), models_dir.join(name)).unwrap();
    }
    let scene = Scene::of(watch(&world, &[]), world);
    let m = scene.world.pid("m");

    // Another place: nothing to do with it but to note the description, which
    // shows that it was read.
    let same = format!("description = \"moved\"\n{}", World::tiny_toml("m"));
    update_config_map(&models_dir, "..2026_b", &same);
    scene.watcher.eventually_says("m update: ");
    assert_eq!(scene.world.pid("m"), m);
    scene.other_is_untouched();

    fs::remove_dir_all(models_dir.join("..2026_a")).unwrap();
    update_config_map(&models_dir, "..2026_c", &World::tiny_toml("v2"));
    scene.m_is_ready("v2");
    // It is watched where it leads now, too.
    update_config_map(&models_dir, "..2026_d", &World::tiny_toml("v3"));
    scene.m_serves("v3");
    causes_are(&scene.world, "m", "restart", &["files changed"; 2]);
    let of_other: Vec<_> = events(&scene.world, "other").into_iter().map(|event| event.action).collect();
    assert_eq!(of_other, ["create", "ready"]);
}

#[test]
fn a_directory_that_is_a_link_is_watched_where_it_leads() {
    let world = world();
    let releases = world.path().join("releases");
    definitions(&releases.join("1"), &World::tiny_toml("m"));
    definitions(&releases.join("2"), &World::tiny_toml("v2"));
    fs::remove_dir_all(world.models_dir()).unwrap();
    symlink("releases/1", world.models_dir()).unwrap();
    let scene = Scene::of(watch(&world, &[]), world);
    swap(&scene.world.models_dir(), "releases/2");
    scene.m_serves("v2");
    fs::write(releases.join("2/m.toml"), World::tiny_toml("v3")).unwrap();
    scene.m_serves("v3");
    // What it leads to is renamed away and replaced.
    definitions(&releases.join("3"), &World::tiny_toml("v4"));
    fs::rename(releases.join("2"), releases.join("gone")).unwrap();
    fs::rename(releases.join("3"), releases.join("2")).unwrap();
    scene.m_serves("v4");
}

#[test]
fn a_link_on_the_way_to_the_directory_is_watched() {
    let world = world();
    for (release, m) in [("1", "m"), ("2", "v2")] {
        let models_dir = world.path().join("releases").join(release).join("models.d");
        definitions(&models_dir, &World::tiny_toml(m));
        symlink(world.path().join("weights"), models_dir.join("../weights")).unwrap();
    }
    symlink("releases/1", world.path().join("current")).unwrap();
    let mut herdsman = world.command();
    herdsman.args(["--models-dir", "current/models.d"]);
    let scene = Scene::of(watch_by(&world, herdsman, &[]), world);
    swap(&scene.world.path().join("current"), "releases/2");
    scene.m_serves("v2");
    causes_are(&scene.world, "m", "restart", &["files changed"]);
}

#[test]
fn a_definition_that_is_a_link_is_watched_where_it_leads() {
    let scene = Scene::new();
    let shared = scene.world.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("m.toml"), World::tiny_toml("v2")).unwrap();
    symlink("../shared/m.toml", scene.world.models_dir().join("m.tmp")).unwrap();
    fs::rename(scene.world.models_dir().join("m.tmp"), scene.definition()).unwrap();
    scene.m_serves("v2");
    fs::write(shared.join("m.toml"), World::tiny_toml("v3")).unwrap();
    scene.m_serves("v3");
    // It dangles for a while: an unresolved definition, and no removed one.
    let m = scene.world.pid("m");
    fs::rename(shared.join("m.toml"), shared.join("elsewhere")).unwrap();
    scene.watcher.eventually_says("models.d/m.toml: cannot read the file");
    assert_eq!(scene.world.pid("m"), m);
    fs::write(shared.join("m.toml"), World::tiny_toml("v4")).unwrap();
    scene.m_serves("v4");
}
