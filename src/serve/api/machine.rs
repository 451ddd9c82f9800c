//! `GET /api/machine`: is there room: memory, disks, the llama-servers that run.
//! Devices come with their own accounting.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hyper::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::document::Document;
use super::models::visible;
use super::{Api, require_admin, unavailable};
use crate::model::InstanceId;
use crate::serve::access::Caller;
use crate::serve::body::Answer;
use crate::serve::gateway::errors::Error;
use crate::serve::gateway::own::answers::json as answer;

/// The machine. All sizes are bytes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Machine {
    /// The memory of the host; absent where the system does not say.
    pub memory: Option<Memory>,
    /// The file systems that matter.
    pub disks: Vec<Disk>,
    /// The llama-servers that run.
    pub binaries: Vec<Binary>,
    /// Devices with memory of their own: none yet.
    pub devices: Vec<()>,
}

/// The memory of the host.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Memory {
    /// All of it.
    pub total: u64,
    /// What programs can still get without swapping, as the kernel estimates it.
    pub available: u64,
}

/// A folder, and the file system it is on.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Disk {
    /// What is there: `state`, `logs`, `weights`.
    pub what: &'static str,
    /// The folder.
    pub path: String,
    /// What its files take; absent where that is not measured.
    pub used: Option<u64>,
    /// What is free on its file system.
    pub free: u64,
    /// The size of its file system.
    pub total: u64,
}

/// A program that runs as a server.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Binary {
    /// The file.
    pub path: String,
    /// The number and commit of its build, as a server says it; absent: none has.
    pub build: Option<String>,
    /// Whether it was replaced on disk since it was started.
    pub is_replaced: bool,
    /// The models that run on it.
    pub models: Vec<String>,
}

/// What the system says now.
pub(super) async fn machine(api: &Api, caller: &Caller) -> Result<Answer, Error> {
    require_admin(caller)?;
    let shown = api.board.newest(&api.gateway).await;
    let builds = api.gateway.builds().await;
    let server = |model: &Arc<Document>| {
        let (server, model) = (model.seen.instance.as_ref()?, model.store.name.clone());
        Some(Server { pid: server.pid, model, build: builds.get(&InstanceId(server.id.clone())).cloned() })
    };
    let models = || visible(&shown.models, caller);
    let servers: Vec<Server> = models().filter_map(server).collect();
    let weights: Option<String> = models()
        .find_map(|model| model.store.parameters.get("model_path").and_then(|path| path.as_str()).map(str::to_owned));
    let machine =
        api.ask(move |host| look(host.state().path(), &host.state().logs(), weights.as_deref(), servers)).await?;
    let machine = machine.map_err(|problem| unavailable(&format!("/proc/meminfo cannot be read: {problem}")))?;
    Ok(answer(StatusCode::OK, &machine))
}

/// A server that runs.
struct Server {
    pid: i32,
    model: String,
    build: Option<String>,
}

fn look(state: &Path, logs: &Path, weights: Option<&str>, servers: Vec<Server>) -> std::io::Result<Machine> {
    let memory = memory(&std::fs::read_to_string("/proc/meminfo")?);
    let weights = weights.and_then(|file| Path::new(file).parent());
    let folders = [("state", Some(state), None), ("logs", Some(logs), Some(size(logs))), ("weights", weights, None)];
    let disks = folders.into_iter().filter_map(|(what, path, used)| disk(what, path?, used)).collect();
    Ok(Machine { memory, disks, binaries: binaries(servers), devices: Vec::new() })
}

fn memory(meminfo: &str) -> Option<Memory> {
    let kilobytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some(Memory { total: kilobytes("MemTotal")? * 1024, available: kilobytes("MemAvailable")? * 1024 })
}

/// `None`: it is not there yet.
fn disk(what: &'static str, path: &Path, used: Option<u64>) -> Option<Disk> {
    let system = rustix::fs::statvfs(path).ok()?;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    Some(Disk { what, path, used, free: system.f_bavail * system.f_frsize, total: system.f_blocks * system.f_frsize })
}

/// What files take on disk, holes not counted; one that goes meanwhile takes nothing.
fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let files = walkdir::WalkDir::new(folder).into_iter().filter_map(Result::ok);
    files.filter_map(|file| file.metadata().ok()).map(|file| file.blocks() * 512).sum()
}

fn binaries(servers: Vec<Server>) -> Vec<Binary> {
    /// What the kernel adds to the path of a file that is gone.
    const GONE: &str = " (deleted)";
    let mut by_program: BTreeMap<String, Vec<Server>> = BTreeMap::new();
    for server in servers {
        // A server that ended meanwhile runs on none.
        let Ok(program) = std::fs::read_link(format!("/proc/{}/exe", server.pid)) else { continue };
        by_program.entry(program.display().to_string()).or_default().push(server);
    }
    let binary = |(path, servers): (String, Vec<Server>)| Binary {
        path: path.trim_end_matches(GONE).to_owned(),
        build: servers.iter().find_map(|server| server.build.clone()),
        is_replaced: path.ends_with(GONE),
        models: servers.into_iter().map(|server| server.model).collect(),
    };
    by_program.into_iter().map(binary).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let found = memory("MemTotal:       16384 kB\nMemFree: 1 kB\nMemAvailable:    8192 kB\n");
        let Memory { total, available } = found.unwrap_or(Memory { total: 0, available: 0 });
        assert_eq!((total, available), (16 << 20, 8 << 20));
        assert!(memory("MemTotal: many\n").is_none());
    }
}
