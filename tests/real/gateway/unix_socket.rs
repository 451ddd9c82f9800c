//! The file of a unix socket: for its group, and gone with the last herdsman.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::process::{Signal, kill_process};

use super::activation::activated;
use super::handed_over::{hand_over, watcher_of};
use super::served::{PATIENCE, Served};
use crate::support::{World, eventually};

/// What tells the file from another in its place.
fn inode(file: &Path) -> Option<u64> {
    fs::symlink_metadata(file).ok().map(|found| found.ino())
}

/// Hands over, and ends the herdsman that has taken over.
fn hand_over_and_end(served: &mut Served, file: &Path) {
    let made = inode(file).expect("a file");
    hand_over(served);
    assert_eq!(inode(file), Some(made), "the one before left it");
    UnixStream::connect(file).unwrap();
    let stops = || served.watcher.as_ref().unwrap().log().matches("the watcher stops; servers keep running").count();
    let before = stops();
    kill_process(watcher_of(&served.world), Signal::TERM).unwrap();
    eventually("the last one ends", PATIENCE, || stops() > before && UnixStream::connect(file).is_err());
}

#[test]
fn it_is_for_its_group_and_the_last_herdsman_removes_it() {
    let world = World::new();
    let (herdsman, file) = (world.command(), world.path().join("clients.sock"));
    let address = format!("unix:{}", file.display());
    let mut served = Served::by(world, herdsman, &["--listen", &address]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o660);
    hand_over_and_end(&mut served, &file);
    eventually("the file is gone", PATIENCE, || inode(&file).is_none());

    // Also without a handover; but not what has taken its place.
    for is_replaced in [false, true] {
        let watcher = served.world.watch(&["--listen", &address]);
        watcher.eventually_says("serving at unix:");
        let other = is_replaced.then(|| {
            fs::remove_file(&file).unwrap();
            UnixListener::bind(&file).unwrap()
        });
        assert_eq!(watcher.stop().code, Some(0));
        assert_eq!(inode(&file).is_some(), other.is_some());
    }
}

#[test]
fn the_service_managers_stays_as_it_is() {
    let world = World::new();
    let file = world.path().join("clients.sock");
    let listener = UnixListener::bind(&file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let herdsman = activated(&world, listener.as_fd());
    let address = format!("unix:{}", file.display());
    let mut served = Served::by(world, herdsman, &["--listen", &address]);
    let made = inode(&file);
    hand_over(&mut served);
    kill_process(watcher_of(&served.world), Signal::TERM).unwrap();
    eventually("the last one ends", PATIENCE, || {
        served.watcher.as_ref().unwrap().log().contains("the watcher stops; servers")
    });
    eventually("it has let go", PATIENCE, || !served.world.state_dir().join("herdsman.sock").exists());
    assert_eq!(inode(&file), made);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o666);
}
