//! nginx: one worker, connections to the server kept, nothing buffered.

use std::fs;

use super::{Proxy, Started, find, temporary, until_ready};
use crate::process::{Running, with_children};
use crate::support::free_port;

/// Starts it in front of the stub on port `stub`.
pub fn start(stub: u16) -> Started {
    let program = find("nginx")?;
    let dir = temporary()?;
    let port = free_port();
    let file = dir.path().join("nginx.conf");
    fs::write(&file, configuration(port, stub)).map_err(|error| error.to_string())?;
    let mut command = std::process::Command::new(program);
    command.arg("-p").arg(dir.path()).arg("-e").arg("stderr").arg("-c").arg(&file);
    let mut running = Running::start(&mut command)?;
    until_ready(port, "nginx", || running.ended().map(|status| status.to_string()))?;
    let pids = with_children(running.pid());
    Ok(Proxy::new("nginx", port, pids, vec![Box::new(running), Box::new(dir)]))
}

fn configuration(port: u16, stub: u16) -> String {
    format!(
        "daemon off;
worker_processes 1;
worker_rlimit_nofile 8192;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    upstream server {{
        server 127.0.0.1:{stub};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://server;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_read_timeout 1h;
        }}
    }}
}}
"
    )
}
