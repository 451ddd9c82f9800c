//! Who can write to what herdsman goes by, and who can read what it keeps.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

use super::support::{Ran, World};
use super::{ask_for, policed, run, write_policy};

/// Not root, and not us.
const SOMEBODY: u32 = 12_345;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

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
    for (path, open) in [("", 0o755), ("herdsman.db", 0o644), ("logs", 0o755), ("logs/a.log", 0o644), ("cache", 0o755)]
    {
        fs::set_permissions(world.state_dir().join(path), fs::Permissions::from_mode(open)).unwrap();
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

/// What to do about a file or directory of this mode. `/tmp` is not to be closed.
fn advice(mode: u32) -> &'static str {
    if mode & 0o1000 == 0 { "chmod go-w" } else { "put it elsewhere, into a directory of its own" }
}

/// As root: refused while `path` has this mode, and not after.
fn is_refused_while_others_can_write(path: impl Fn(&World) -> std::path::PathBuf, bad: u32, code: i32, says: &[&str]) {
    if !is_root() {
        // Whoever is not root may share what is theirs.
        return;
    }
    let world = policed("");
    run(&world, &["reconcile"]).exits(0);
    let (path, pid) = (path(&world), world.pid("a"));
    let good = mode(&path);
    ask_for(&world, "seed = 1\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(bad)).unwrap();
    run(&world, &["reconcile"]).exits(code).says(says).says(&["can be written by others", advice(bad)]);
    assert_eq!(world.pid("a"), pid);
    fs::set_permissions(&path, fs::Permissions::from_mode(good)).unwrap();
    run(&world, &["reconcile"]).exits(0);
}

#[test]
fn root_refuses_what_others_can_write_to() {
    is_refused_while_others_can_write(World::models_dir, 0o777, 66, &["models.d"]);
    is_refused_while_others_can_write(|world| world.models_dir().join("a.toml"), 0o666, 66, &["models.d/a.toml"]);
    is_refused_while_others_can_write(World::state_dir, 0o1777, 66, &["state"]);
    is_refused_while_others_can_write(|world| world.path().to_owned(), 0o777, 66, &["on the way to"]);
    is_refused_while_others_can_write(|world| world.path().join("policy.toml"), 0o666, 65, &["policy.toml"]);
}

#[test]
fn root_takes_definitions_of_another_user_only_if_the_policy_says_so() {
    if !is_root() {
        return;
    }
    let world = policed("");
    chown(world.models_dir(), Some(SOMEBODY), None).unwrap();
    world.run(&["reconcile"]).exits(66).says(&["models.d", "belongs to user 12345", "chown root"]);
    run(&world, &["reconcile"]).exits(66);
    write_policy(&world, "owners = [12345]\n");
    run(&world, &["reconcile"]).exits(0);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_lies_in_a_sticky_directory_is_its_owners() {
    if !is_root() {
        return;
    }
    // As in /tmp, anybody can put a file there and nobody can replace ours.
    let world = policed("");
    set_mode(world.path(), 0o1777);
    run(&world, &["reconcile"]).exits(0);
    // What somebody else put there is theirs, be it a directory or a link.
    let (models, kept) = (world.models_dir(), world.path().join("kept"));
    fs::rename(&models, &kept).unwrap();
    symlink("kept", &models).unwrap();
    run(&world, &["reconcile"]).exits(0);
    std::os::unix::fs::lchown(&models, Some(SOMEBODY), None).unwrap();
    run(&world, &["reconcile"]).exits(66).says(&["models.d belongs to user 12345"]);
}

#[test]
fn root_takes_no_database_beside_which_others_can_make_files() {
    if !is_root() {
        return;
    }
    let world = policed("");
    let shared = world.path().join("shared");
    fs::create_dir(&shared).unwrap();
    // Sticky or not: SQLite takes up a `models.db-wal` that it finds.
    for mode in [0o777, 0o1777, 0o775] {
        chown(&shared, None, Some(SOMEBODY)).unwrap();
        set_mode(&shared, mode);
        let told = ["shared can be written by others", advice(mode)];
        let ran = run(&world, &["reconcile", "--database", "shared/models.db"]).exits(66).says(&told);
        assert_eq!(ran.stderr.contains("chmod"), mode & 0o1000 == 0, "{}", ran.stderr);
        run(&world, &["reconcile", "--dry-run", "--database", "shared/models.db"]).exits(66).says(&told);
    }
    // The file may lie elsewhere than its name.
    symlink("shared/models.db", world.path().join("link.db")).unwrap();
    run(&world, &["reconcile", "--database", "link.db"]).exits(66).says(&["shared can be written by others"]);
    assert!(!shared.join("models.db").exists());
    // And whoever can replace the link leads it elsewhere.
    set_mode(&shared, 0o777);
    symlink("../kept.db", shared.join("link.db")).unwrap();
    run(&world, &["reconcile", "--database", "shared/link.db"]).exits(66).says(&["shared can be written by others"]);
    // A directory of a program that shares it, if the policy trusts its user.
    set_mode(&shared, 0o755);
    chown(&shared, Some(SOMEBODY), None).unwrap();
    run(&world, &["reconcile", "--database", "link.db"]).exits(66).says(&["belongs to user 12345"]);
    write_policy(&world, "owners = [12345]\n");
    run(&world, &["reconcile", "--database", "shared/models.db"]).exits(0);
    run(&world, &["reconcile", "--database", "link.db"]).exits(0);
}

#[test]
fn root_refuses_a_state_directory_of_others_wherever_the_database_is() {
    if !is_root() {
        return;
    }
    let world = policed("");
    run(&world, &["reconcile", "--database", "kept.db"]).exits(0);
    for mode in [0o777, 0o1777, 0o702] {
        set_mode(&world.state_dir(), mode);
        for arguments in [&["reconcile"][..], &["reconcile", "--dry-run"], &["status"], &["down"]] {
            let ran = run(&world, &[&["--database", "kept.db"], arguments].concat()).exits(66);
            ran.says(&["state can be written by others", advice(mode)]);
        }
    }
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
    world.run(&["reconcile"]).exits(64).says(&["herdsman.toml can be written by others", "chmod go-w"]);
    set_mode(&world.settings(), 0o644);
    if is_root() {
        chown(world.settings(), Some(SOMEBODY), None).unwrap();
        world.run(&["reconcile"]).exits(64).says(&["belongs to user 12345"]);
    }
}
