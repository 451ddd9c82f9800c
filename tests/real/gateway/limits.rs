//! How much a watcher that serves may take of the machine, and what it leaves to others.

use std::fs;
use std::os::unix::process::CommandExt;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::handed_over::{hand_over, watcher_of};
use super::served::{PATIENCE, Served};
use crate::support::{World, eventually};

/// The soft limit of open files of a process.
fn open_files(pid: i32) -> u64 {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_watcher_that_serves_may_open_more_files_and_its_servers_as_many_as_before() {
    let world = World::new();
    world.tiny("a");
    let mut herdsman = world.command();
    let few = Rlimit { current: Some(500), maximum: Some(2_000) };
    // SAFETY: setrlimit(2) is one system call.
    unsafe { herdsman.pre_exec(move || Ok(setrlimit(Resource::Nofile, few)?)) };
    let mut served = Served::by(world, herdsman, &[]);
    served.ask("a").unwrap();
    let watcher = watcher_of(&served.world).as_raw_nonzero().get();
    assert_eq!((open_files(watcher), open_files(served.world.pid("a"))), (2_000, 500));
    // The herdsman that takes over knows the limit, too.
    hand_over(&mut served);
    let first = served.world.pid("a");
    served.world.kill("a");
    eventually("the server is started again", PATIENCE, || {
        served.world.instances().iter().any(|(pid, model)| model == "a" && *pid != first)
    });
    let successor = watcher_of(&served.world).as_raw_nonzero().get();
    assert_ne!(successor, watcher);
    assert_eq!((open_files(successor), open_files(served.world.pid("a"))), (2_000, 500));
}
