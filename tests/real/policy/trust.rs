//! Who can write to what herdsman goes by, and who can read what it keeps.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::policed::{mode, set_mode};
use crate::support::{Ran, World};

#[test]
fn what_herdsman_keeps_is_for_its_user_alone_whatever_the_umask() {
    let world = World::new();
    world.tiny("a");
    // A database that was named is as its owner made it.
    let named = world.path().join("named.db");
    let open = |arguments: &str| {
        let mut command = std::process::Command::new("sh");
        let herdsman = world.command();
        command.args(["-c", &format!("umask 0; exec \"$@\" {arguments}"), "sh"]);
        command.arg(herdsman.get_program()).args(herdsman.get_args());
        command.env_clear().envs(herdsman.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ran::of(command.current_dir(world.path()))
    };
    let is_closed = || {
        let mut left = vec![world.state_dir()];
        while let Some(path) = left.pop() {
            if path.is_dir() {
                assert_eq!(mode(&path), 0o700, "{}", path.display());
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            } else {
                assert_eq!(mode(&path) & 0o177, 0, "{}", path.display());
            }
        }
    };
    open("reconcile").exits(0);
    is_closed();
    // What an older version, or a copy, left open.
    let paths = ["", "herdsman.db", "logs", "logs/a", "cache"].map(|path| world.state_dir().join(path));
    for path in paths.into_iter().chain([world.log("a")]) {
        let open = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(open)).unwrap();
    }
    fs::write(world.state_dir().join("herdsman.db.corrupt-1"), "").unwrap();
    fs::write(world.state_dir().join("logs/a.log.1"), "").unwrap();
    open("reconcile").exits(0);
    is_closed();
    fs::write(&named, "").unwrap();
    fs::set_permissions(&named, fs::Permissions::from_mode(0o660)).unwrap();
    open("--database named.db reconcile").exits(0);
    assert_eq!(mode(&named), 0o660);
    is_closed();
}

#[test]
fn a_state_directory_that_a_service_manager_made_is_closed_at_once() {
    let world = World::new();
    world.tiny("a");
    fs::create_dir(world.state_dir()).unwrap();
    set_mode(&world.state_dir(), 0o755);
    world.run(&["reconcile"]).exits(0);
    assert_eq!(mode(&world.state_dir()), 0o700);
}

#[test]
fn a_state_directory_behind_a_link_is_closed_too() {
    let world = World::new();
    world.tiny("a");
    let real = world.path().join("roomy");
    fs::create_dir(&real).unwrap();
    set_mode(&real, 0o755);
    std::os::unix::fs::symlink("roomy", world.state_dir()).unwrap();
    world.run(&["reconcile"]).exits(0);
    assert_eq!(mode(&real), 0o700);
}

#[test]
fn a_directory_of_other_things_is_not_closed_and_a_named_database_keeps_its_mode() {
    let world = World::new();
    let state = world.state_dir();
    fs::create_dir(&state).unwrap();
    fs::write(state.join("something-else"), "").unwrap();
    let named = state.join("herdsman.db.of-others");
    fs::write(&named, "").unwrap();
    for path in [&state, &named] {
        set_mode(path, if path.is_dir() { 0o755 } else { 0o664 });
    }
    let reconcile = || world.run(&["--database", "state/herdsman.db.of-others", "reconcile"]).exits(0);
    reconcile();
    assert_eq!((mode(&state), mode(&named)), (0o755, 0o664));
    // By now it is a state directory, and still not the database's owner.
    reconcile();
    assert_eq!((mode(&state), mode(&named)), (0o700, 0o664));
}

#[test]
fn the_settings_are_the_hosts_owners() {
    let world = World::new();
    fs::write(world.settings(), "").unwrap();
    world.run(&["reconcile"]).exits(0);
    set_mode(&world.settings(), 0o666);
    world.run(&["reconcile"]).exits(65).says(&["herdsman.toml is writable by other users", "chmod go-w"]);
}

#[test]
fn an_ordinary_user_may_share_files() {
    let world = World::new();
    world.tiny("a");
    set_mode(&world.models_dir(), 0o777);
    set_mode(&world.models_dir().join("a.toml"), 0o666);
    set_mode(world.path(), 0o777);
    // In a namespace that knows no other user nobody is root.
    Ran::of(world.command_after("true").arg("reconcile")).exits(0);
    assert_eq!(world.instances().len(), 1);
}
