//! The runner's own namespaces.
//!
//! - of mounts: a small disk is mounted there, and no privilege is needed;
//! - of processes, of which the runner is the first: it adopts and reaps
//!   orphans, whatever does so on this machine; whatever is left ends with it,
//!   even if it is killed; and it can say which pid is given next.

use std::fs;
use std::process::Command;

use rustix::process::getpid;

/// Set for the runner once it is in its namespaces.
const INSIDE: &str = "HERDSMAN_CHAOS_INSIDE";

/// Runs this very test again in namespaces of its own, unless that has
/// happened: whether it has.
pub fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        assert!(getpid().is_init(), "{INSIDE} is not to be set by hand");
        return true;
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(std::env::current_exe().unwrap()).args(["--exact", "--nocapture", test]);
    let status = command.env(INSIDE, "yes").status().unwrap();
    assert!(status.success(), "in its namespaces it ended with {status}");
    false
}

/// Lets the next process that anybody starts be `pid`, if that is free:
/// pid_namespaces(7).
pub fn next_pid_is(pid: i32) {
    fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
}
