//! HAProxy: one thread, connections to the server reused, events sent at once.
//!
//! Without `http-no-delay` an event that comes alone waits 80 ms.

use std::fs;

use super::{Proxy, Started, find, temporary, until_ready};
use crate::process::Running;
use crate::support::free_port;

/// Starts it in front of the stub on port `stub`.
pub fn start(stub: u16) -> Started {
    let program = find("haproxy")?;
    let dir = temporary()?;
    let port = free_port();
    let file = dir.path().join("haproxy.cfg");
    fs::write(&file, configuration(port, stub)).map_err(|error| error.to_string())?;
    let mut command = std::process::Command::new(program);
    command.args(["-q", "-db", "-f"]).arg(&file);
    let mut running = Running::start(&mut command)?;
    until_ready(port, "haproxy", || running.ended().map(|status| status.to_string()))?;
    let pids = vec![running.pid()];
    Ok(Proxy::new("HAProxy", port, pids, vec![Box::new(running), Box::new(dir)]))
}

fn configuration(port: u16, stub: u16) -> String {
    format!(
        "global
    nbthread 1
    maxconn 4096
defaults
    mode http
    option http-no-delay
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend clients
    bind 127.0.0.1:{port} backlog 4096
    default_backend servers
backend servers
    http-reuse safe
    server stub 127.0.0.1:{stub}
"
    )
}
