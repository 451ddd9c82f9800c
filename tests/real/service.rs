//! `watch` as a service: what it tells a service manager, and what it does as
//! process 1 of a container.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{World, eventually, llama_server, processes};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(30);

/// A service manager's end of `NOTIFY_SOCKET`.
struct Manager(UnixDatagram);

impl Manager {
    /// The next message that says `what`.
    fn hears(&self, what: &str) -> String {
        let mut buffer = [0; 4096];
        let mut heard = Vec::new();
        loop {
            let length = self.0.recv(&mut buffer).unwrap_or_else(|error| panic!("no {what}: {error}; but {heard:?}"));
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.lines().any(|line| line.starts_with(what)) {
                return message;
            }
            heard.push(message);
        }
    }
}

#[test]
fn a_service_manager_is_told_when_it_is_ready_reloads_lives_and_ends() {
    let world = World::new();
    world.tiny("a");
    let path = world.path().join("notify.sock");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = world.command();
    command.arg("watch").env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut watch = command.spawn().unwrap();
    let pid = Pid::from_child(&watch);

    manager.hears("READY=1");
    manager.hears("STATUS=1 model matches its definition");
    manager.hears("WATCHDOG=1");
    manager.hears("WATCHDOG=1");
    kill_process(pid, Signal::HUP).unwrap();
    // systemd wants the time of the reload with it, and READY when it is over.
    assert!(manager.hears("RELOADING=1").contains("MONOTONIC_USEC="));
    manager.hears("READY=1");
    let server = world.servers().remove(0);
    assert_eq!(server.variable("NOTIFY_SOCKET").or(server.variable("WATCHDOG_USEC")), None, "not for servers");
    kill_process(pid, Signal::TERM).unwrap();
    manager.hears("STOPPING=1");
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    assert!(server.is_alive());
}

#[test]
fn as_process_1_it_reaps_what_has_lost_its_parent_and_learns_how_its_servers_ended() {
    let world = World::new();
    world.tiny("a");
    // Leaves an orphan behind before it becomes the server.
    let (wrapper, ended) = (world.path().join("wrapper"), world.path().join("orphan ended"));
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*) ;; *) (sh -c 'sleep 0.1; : >\"{}\"' &) ;; esac\nexec {} \"$@\"\n",
        ended.display(),
        llama_server().display()
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    let herdsman = world.command();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(herdsman.get_program()).args(herdsman.get_args()).arg("watch").current_dir(world.path());
    command.env_clear().envs(herdsman.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("HERDSMAN_LLAMA_SERVER", &wrapper).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(fs::File::create(world.path().join("stderr.log")).unwrap());
    let mut unshare = command.spawn().unwrap();
    let log = || fs::read_to_string(world.path().join("stderr.log")).unwrap();

    eventually("the server is ready", PATIENCE, || log().contains("a is ready"));
    eventually("the orphan ends", PATIENCE, || ended.exists());
    eventually("it is reaped", PATIENCE, || zombies_below(unshare.id()).is_empty());
    let server = processes(|p| p.variable("HERDSMAN_MODEL") == Some("a"))
        .into_iter()
        .find(|p| world.servers().contains(p))
        .unwrap();
    kill_process(Pid::from_raw(server.pid).unwrap(), Signal::SEGV).unwrap();
    eventually("how it ended is known", PATIENCE, || log().contains("ended by SIGSEGV"));
    eventually("it is ready again", PATIENCE, || log().matches("a is ready").count() == 2);
    eventually("nothing is left", PATIENCE, || zombies_below(unshare.id()).is_empty());
    unshare.kill().unwrap();
    unshare.wait().unwrap();
}

/// The zombies whose parent, or whose parent's parent, is `pid`.
fn zombies_below(pid: u32) -> Vec<String> {
    let field = |status: &str, key: &str| status.lines().find_map(|l| Some(l.strip_prefix(key)?.trim().to_owned()));
    let statuses: Vec<String> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("status")).ok())
        .collect();
    let children = |parents: &[String]| -> Vec<String> {
        let of = |status: &&String| field(status, "PPid:").is_some_and(|parent| parents.contains(&parent));
        statuses.iter().filter(of).filter_map(|status| field(status, "Pid:")).collect()
    };
    let herdsman = children(&[pid.to_string()]);
    let below = children(&herdsman);
    let dead = |status: &&String| field(status, "State:").is_some_and(|state| state.starts_with('Z'));
    statuses.iter().filter(dead).filter_map(|status| field(status, "Pid:")).filter(|pid| below.contains(pid)).collect()
}
