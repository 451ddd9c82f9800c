//! What stands between clients and servers.

pub mod bare;
pub mod haproxy;
pub mod herdsman;
pub mod llama_swap;
pub mod nginx;
pub mod router;

use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{PATIENCE, Running};
use crate::support::{free_port, get, post};

/// The columns, in their order.
pub const NAMES: [&str; 6] = ["direct", "nginx", "HAProxy", "router", "llama-swap", "herdsman"];

/// An address, and the processes between it and the servers.
pub struct Proxy {
    /// One of [`NAMES`].
    pub name: &'static str,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Its own processes, not the servers behind it; none where clients connect to
    /// the server itself.
    pub pids: Vec<u32>,
    /// What is stopped and deleted when it is dropped, in this order.
    _kept: Vec<Box<dyn Any>>,
}

/// A proxy, or why there is none.
pub type Started = Result<Proxy, String>;

impl Proxy {
    fn new(name: &'static str, port: u16, pids: Vec<u32>, kept: Vec<Box<dyn Any>>) -> Self {
        Self { name, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), pids, _kept: kept }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

/// Starts everything that can stand in front of a stub that runs all the time.
pub fn in_front_of_a_stub() -> Vec<(&'static str, Started)> {
    let stub = free_port();
    let direct = stub_on(stub);
    let (nginx, haproxy) = (nginx::start(stub), haproxy::start(stub));
    vec![
        ("direct", direct),
        ("nginx", nginx),
        ("HAProxy", haproxy),
        ("llama-swap", llama_swap::in_front_of_a_stub()),
        ("herdsman", herdsman::in_front_of_a_stub()),
    ]
}

fn stub_on(port: u16) -> Started {
    let mut running = Running::start(&mut super::stub::command(port))?;
    until_ready(port, "the stub", || running.ended().map(|status| status.to_string()))?;
    Ok(Proxy::new("direct", port, Vec::new(), vec![Box::new(running)]))
}

/// A directory that is deleted when dropped.
fn temporary() -> Result<TempDir, String> {
    let dir = tempfile::Builder::new().prefix("herdsman-serve-").tempdir();
    dir.map_err(|error| format!("cannot make a temporary directory: {error}"))
}

/// A program of this name on PATH, or where Debian has those of administrators.
fn find(program: &str) -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    let found = dirs.map(|dir| dir.join(program)).find(|path| path.is_file());
    found.ok_or_else(|| format!("no {program} on PATH"))
}

/// Waits until a completion of model `a` is answered on `port`.
///
/// # Errors
/// It is not, or the program ended: `ended` says how.
fn until_ready(port: u16, name: &str, mut ended: impl FnMut() -> Option<String>) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let answer = completion(port, "a");
        let Err(problem) = answer else { return Ok(()) };
        if let Some(how) = ended() {
            return Err(format!("{name} ended: {how}"));
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("{name} does not answer: {problem}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks for a short completion of `model`.
///
/// # Errors
/// There was none: says why in few words.
pub fn completion(port: u16, model: &str) -> Result<Value, String> {
    let request = json!({"model": model, "prompt": "hi", "max_tokens": 3, "temperature": 0});
    match post(port, "/v1/completions", &request)? {
        (200, answer) => Ok(answer),
        (status, answer) => Err(format!("{status} {}", answer["error"]["message"].as_str().unwrap_or_default())),
    }
}

/// Waits until the server of `model` is gone, as the router's `/models` says it.
fn until_unloaded(port: u16, model: &str) -> Result<(), String> {
    let unloaded = |answer: &Value| {
        let models = answer["data"].as_array().into_iter().flatten();
        models.filter(|listed| listed["id"] == model).any(|listed| listed["status"]["value"] == "unloaded")
    };
    until(|| get(port, "/models").is_ok_and(|(_, answer)| unloaded(&answer)))
        .ok_or_else(|| format!("{model} was not unloaded"))
}

/// Waits until `done` holds, looking each millisecond; `None` if it does not.
fn until(mut done: impl FnMut() -> bool) -> Option<()> {
    let start = Instant::now();
    while !done() {
        (start.elapsed() < PATIENCE).then_some(())?;
        std::thread::sleep(Duration::from_millis(1));
    }
    Some(())
}
