//! llama-swap, where it is on PATH.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Proxy, Started, find, temporary, until, until_ready};
use crate::on_demand::weights;
use crate::process::Running;
use crate::stub;
use crate::support::{PortBlock, get, llama_server, post};

/// Starts it in front of the stub, which it starts itself.
pub fn in_front_of_a_stub() -> Started {
    find("llama-swap")?;
    let dir = temporary()?;
    let server = stub::wrapper(dir.path());
    let models = definition("a", &server, Path::new("a.gguf"));
    start(dir, &models, true)
}

/// Starts it for the models `a` and `b`, of which one runs at a time.
pub fn on_demand() -> Started {
    find("llama-swap")?;
    let dir = temporary()?;
    let models = ["a", "b"].map(|name| definition(name, &llama_server(), &weights(dir.path(), name)));
    start(dir, &models.concat(), false)
}

fn definition(name: &str, server: &Path, weights: &Path) -> String {
    let (server, weights) = (server.display(), weights.display());
    let cmd = format!("{server} --port ${{PORT}} --model {weights} --alias {name} --ctx-size 512 --threads 1");
    format!("  {name}:\n    concurrencyLimit: 4096\n    cmd: {cmd}\n")
}

fn start(dir: TempDir, models: &str, ready: bool) -> Started {
    let ports = PortBlock::take();
    let (first, port) = (*ports.range().start(), *ports.range().end());
    let file = dir.path().join("config.yaml");
    let configuration = format!("logLevel: error\nstartPort: {first}\nmodels:\n{models}");
    fs::write(&file, configuration).map_err(|error| error.to_string())?;
    let mut command = std::process::Command::new(find("llama-swap")?);
    command.current_dir(dir.path()).arg("--listen").arg(format!("127.0.0.1:{port}")).arg("--config").arg(&file);
    let mut running = Running::start(&mut command)?;
    if ready {
        until_ready(port, "llama-swap", || running.ended().map(|status| status.to_string()))?;
    } else {
        until(|| get(port, "/health").is_ok()).ok_or("llama-swap does not answer")?;
    }
    let pids = vec![running.pid()];
    Ok(Proxy::new("llama-swap", port, pids, vec![Box::new(running), Box::new(ports), Box::new(dir)]))
}

/// Stops `model`'s server and waits until it is gone.
///
/// # Errors
/// It is still there.
pub fn unload(port: u16, model: &str) -> Result<(), String> {
    post(port, &format!("/api/models/unload/{model}"), &json!({}))?;
    let runs = |answer: &Value| answer["running"].as_array().into_iter().flatten().any(|one| one["model"] == model);
    until(|| get(port, "/running").is_ok_and(|(_, answer)| !runs(&answer))).ok_or_else(|| format!("{model} still runs"))
}
