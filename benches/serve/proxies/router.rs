//! llama-server's own router mode, which starts servers when they are asked for.

use std::process::Command;

use serde_json::json;

use super::{Proxy, Started, temporary, until, until_unloaded};
use crate::on_demand::weights;
use crate::process::Running;
use crate::support::{free_port, get, llama_server, post};

/// Starts it for the models `a` and `b`, of which one runs at a time.
pub fn on_demand() -> Started {
    let dir = temporary()?;
    let models = dir.path().join("models");
    std::fs::create_dir(&models).map_err(|error| error.to_string())?;
    ["a", "b"].iter().for_each(|name| drop(weights(&models, name)));
    let port = free_port();
    let mut command = Command::new(llama_server());
    command.env("LLAMA_CACHE", dir.path()).env("HF_HUB_CACHE", dir.path()).arg("--models-dir").arg(&models);
    command.args(["--models-max", "1", "--host", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--ctx-size", "512", "--threads", "1"]);
    let running = Running::start(&mut command)?;
    until(|| get(port, "/health").is_ok_and(|(status, _)| status == 200)).ok_or("the router does not answer")?;
    let pids = vec![running.pid()];
    Ok(Proxy::new("router", port, pids, vec![Box::new(running), Box::new(dir)]))
}

/// Stops `model`'s server and waits until it is gone.
///
/// # Errors
/// It is still there.
pub fn unload(port: u16, model: &str) -> Result<(), String> {
    post(port, "/models/unload", &json!({"model": model}))?;
    until_unloaded(port, model)
}
