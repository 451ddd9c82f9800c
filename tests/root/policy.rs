//! What root refuses, because others could change it.

use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::PathBuf;

use crate::support::policed::{ask_for, commit, mode, policed, run, set_mode, write_policy};
use crate::support::{World, git};

/// Neither root nor trusted like it.
const SOMEBODY: u32 = 12_345;

/// What to do about a file or directory of this mode. `/tmp` is not to be closed.
fn advice(mode: u32) -> &'static str {
    if mode & 0o1000 == 0 { "chmod go-w" } else { "move it to a directory that only root can write to" }
}

/// Refused while `path` has this mode, and not after.
fn is_refused_while_others_can_write(path: impl Fn(&World) -> PathBuf, bad: u32, code: i32, says: &[&str]) {
    let world = policed("");
    run(&world, &["reconcile"]).exits(0);
    let (path, pid) = (path(&world), world.pid("a"));
    let good = mode(&path);
    ask_for(&world, "seed = 1\n");
    set_mode(&path, bad);
    run(&world, &["reconcile"]).exits(code).says(says).says(&["is writable by other users", advice(bad)]);
    assert_eq!(world.pid("a"), pid);
    set_mode(&path, good);
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
    let world = policed("");
    chown(world.models_dir(), Some(SOMEBODY), None).unwrap();
    world.run(&["reconcile"]).exits(66).says(&["models.d", "belongs to user 12345", "chown root"]);
    run(&world, &["reconcile"]).exits(66);
    write_policy(&world, "owners = [12345]\n");
    run(&world, &["reconcile"]).exits(0);
}

#[test]
fn what_lies_in_a_sticky_directory_is_its_owners() {
    // As in /tmp, anybody can put a file there and nobody can replace ours.
    let world = policed("");
    set_mode(world.path(), 0o1777);
    run(&world, &["reconcile"]).exits(0);
    // What somebody else put there is theirs, be it a directory or a link.
    let (models, kept) = (world.models_dir(), world.path().join("kept"));
    fs::rename(&models, &kept).unwrap();
    symlink("kept", &models).unwrap();
    run(&world, &["reconcile"]).exits(0);
    lchown(&models, Some(SOMEBODY), None).unwrap();
    run(&world, &["reconcile"]).exits(66).says(&["models.d belongs to user 12345"]);
}

#[test]
fn root_takes_no_database_beside_which_others_can_make_files() {
    let world = policed("");
    let shared = world.path().join("shared");
    fs::create_dir(&shared).unwrap();
    // Sticky or not: SQLite takes up a `models.db-wal` that it finds.
    for mode in [0o777, 0o1777, 0o775] {
        chown(&shared, None, Some(SOMEBODY)).unwrap();
        set_mode(&shared, mode);
        let said = ["shared is writable by other users", advice(mode)];
        let ran = run(&world, &["reconcile", "--database", "shared/models.db"]).exits(66).says(&said);
        assert_eq!(ran.stderr.contains("chmod"), mode & 0o1000 == 0, "{}", ran.stderr);
        run(&world, &["reconcile", "--dry-run", "--database", "shared/models.db"]).exits(66).says(&said);
    }
    // The file may lie elsewhere than its name.
    symlink("shared/models.db", world.path().join("link.db")).unwrap();
    run(&world, &["reconcile", "--database", "link.db"]).exits(66).says(&["shared is writable by other users"]);
    assert!(!shared.join("models.db").exists());
    // And who can replace the link leads it elsewhere.
    set_mode(&shared, 0o777);
    symlink("../kept.db", shared.join("link.db")).unwrap();
    run(&world, &["reconcile", "--database", "shared/link.db"]).exits(66).says(&["shared is writable by other users"]);
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
    let world = policed("");
    run(&world, &["reconcile", "--database", "kept.db"]).exits(0);
    for mode in [0o777, 0o1777, 0o702] {
        set_mode(&world.state_dir(), mode);
        for arguments in [&["reconcile"][..], &["reconcile", "--dry-run"], &["status"], &["down"]] {
            let ran = run(&world, &[&["--database", "kept.db"], arguments].concat()).exits(66);
            ran.says(&["state is writable by other users", advice(mode)]);
        }
    }
}

#[test]
fn root_writes_nothing_where_a_link_of_another_leads() {
    let world = policed("");
    let kept = world.path().join("kept");
    fs::write(&kept, "kept").unwrap();
    fs::create_dir(world.state_dir()).unwrap();
    set_mode(&world.state_dir(), 0o777);
    for (lock, command) in [("watch.lock", &["watch"][..]), ("lock", &["reconcile"]), ("lock", &["stop", "a"])] {
        symlink(&kept, world.state_dir().join(lock)).unwrap();
        run(&world, command).exits(66).says(&["state is writable by other users"]);
        // Nor where the link was made in time.
        set_mode(&world.state_dir(), 0o700);
        run(&world, command).exits(1).says(&[&format!("open state/{lock}: Too many levels")]);
        set_mode(&world.state_dir(), 0o777);
        fs::remove_file(world.state_dir().join(lock)).unwrap();
    }
    assert_eq!(fs::read_to_string(kept).unwrap(), "kept");
}

#[test]
fn a_mistake_in_the_policy_that_trusts_the_databases_owner_is_told() {
    let world = policed("");
    let shared = world.path().join("shared");
    fs::create_dir(&shared).unwrap();
    chown(&shared, Some(SOMEBODY), None).unwrap();
    write_policy(&world, "owners = [12345]\nportrange = 7\n");
    for command in ["reconcile", "down"] {
        run(&world, &["--database", "shared/models.db", command]).exits(65).says(&["portrange", "policy.toml:3"]);
    }
}

#[test]
fn root_takes_no_definitions_from_a_repository_that_others_can_write_to() {
    let world = policed("");
    commit(&world);
    let reconcile = || run(&world, &["--from-git", "HEAD", "reconcile"]);
    reconcile().exits(0);
    let reconcile_tag = || run(&world, &["--from-git", "deployed/now", "reconcile"]);
    reconcile_tag().exits(66).says(&["deployed/now"]);
    git(world.path(), &["tag", "deployed/now"]);
    reconcile_tag().exits(0);
    set_mode(&world.path().join(".git/refs/tags/deployed"), 0o777);
    reconcile_tag().exits(66).says(&[".git/refs/tags/deployed, on the way", "is writable by other users"]);
    for name in [".git", ".git/HEAD", ".git/refs/heads", ".git/objects"] {
        let path = world.path().join(name);
        let good = mode(&path);
        set_mode(&path, 0o777);
        reconcile().exits(66).says(&[name, "is writable by other users"]);
        set_mode(&path, good);
    }
    reconcile().exits(0);
}

#[test]
fn root_takes_no_settings_of_another_user() {
    let world = World::new();
    fs::write(world.settings(), "").unwrap();
    world.run(&["reconcile"]).exits(0);
    chown(world.settings(), Some(SOMEBODY), None).unwrap();
    world.run(&["reconcile"]).exits(65).says(&["herdsman.toml belongs to user 12345"]);
}
