//! A world under a policy, for what its owner and what root refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Ran, Repository, World};

/// A world whose policy allows its weights, and `more`.
pub fn policed(more: &str) -> World {
    let world = World::new();
    world.tiny("a");
    write_policy(&world, more);
    world
}

pub fn write_policy(world: &World, more: &str) {
    let text = format!("model_roots = [\"{}/weights\"]\n{more}", world.path().display());
    fs::write(world.path().join("policy.toml"), text).unwrap();
}

pub fn run(world: &World, arguments: &[&str]) -> Ran {
    Ran::of(world.command().env("HERDSMAN_POLICY", "policy.toml").args(arguments))
}

/// Adds to the definition of `a`.
pub fn ask_for(world: &World, more: &str) {
    world.write_definition("a", &format!("{}{more}", World::tiny_toml("a")));
}

/// Commits everything in `world`.
pub fn commit(world: &World) {
    Repository::init(world.path()).commit();
}

/// The permissions of `path`.
pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Changes them.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
