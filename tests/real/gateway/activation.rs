//! A listening socket of the service manager, which outlives herdsman.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::Signal;
use serde_json::json;

use super::served::{PATIENCE, ask};
use crate::support::World;

/// herdsman with this socket, as systemd starts a service: descriptor 3, and who it is
/// for in the environment.
pub fn activated(world: &World, listener: BorrowedFd<'_>) -> Command {
    let herdsman = world.command();
    let mut command = Command::new("sh");
    command.args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"", "sh"]);
    command.arg(herdsman.get_program()).args(herdsman.get_args());
    command.env_clear().envs(herdsman.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(world.path());
    let socket = FdMapping { parent_fd: listener.try_clone_to_owned().unwrap(), child_fd: 3 };
    command.fd_mappings(vec![socket]).unwrap();
    command
}

#[test]
fn clients_wait_in_the_service_managers_socket_while_herdsman_is_gone() {
    let world = World::new();
    world.tiny("m");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Without `--listen`: the socket is address enough.
    let watcher = world.watch_by(activated(&world, listener.as_fd()), &[]);
    watcher.eventually_says(&format!("serving at http://127.0.0.1:{port}/v1"));
    assert_eq!(ask(port, "m"), Ok("m m m ".to_owned()));
    let servers = world.instances();
    watcher.end_by(Signal::KILL);

    let mut waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = json!({"model": "m", "prompt": "hi", "n_predict": 3}).to_string();
    let head =
        "POST /completion HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    write!(waiting, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(waiting.read(&mut [0]).is_err(), "nobody is there to answer");

    // The address may be named, too, in another way.
    let address = format!("localhost:{port}");
    let _watcher = world.watch_by(activated(&world, listener.as_fd()), &["--listen", &address]);
    waiting.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("m m m"), "{answer}");
    assert_eq!(world.instances(), servers, "the server was there all the time");
}
