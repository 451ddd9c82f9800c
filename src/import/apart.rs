//! A process in its own namespaces, as in a container: what of its definition means
//! something else here.
//!
//! A definition can do without most of it (address, port, program, variables), so
//! it is left out. Needed files stay as the process names them; a remark says where
//! this host sees them, because `/proc/PID/root` disappears with the process.

use super::model::Model;
use super::remark::{SourceLocation, Why};
use crate::instance::{Apart, is_same_file, seen_from_here};
use crate::model::DesiredState;

/// Removes from `model` what has no meaning here, and notes it.
pub fn note(pid: i32, apart: Apart, model: &mut Model, place: &SourceLocation) {
    if apart.processes {
        let why = "stop it through whatever started it, which may restart it if you only kill it";
        let what = "it runs in its own process namespace, such as a container";
        model.remark(place, what, Why::Check(why.to_owned()));
    }
    if apart.network {
        network(model, place);
    }
    if apart.files {
        files(pid, model, place);
    }
}

/// An address inside says nothing about how the server is reached from here.
fn network(model: &mut Model, place: &SourceLocation) {
    if let Some(port) = model.port.take() {
        let why = "this port is inside its network namespace, so herdsman picks one here: if clients use a published port (see `docker port`), set that as `port`";
        model.remark(place, format!("port {port}"), Why::Check(why.to_owned()));
    }
    if let Some(host) = model.host.take_if(|host| !host.contains('/')) {
        let why = "this address is inside its network namespace, so here it is 127.0.0.1: set `host` if other machines need to reach it";
        model.remark(place, format!("host {host}"), Why::Check(why.to_owned()));
    }
}

fn files(pid: i32, model: &mut Model, place: &SourceLocation) {
    let is_elsewhere = |path: &str| path.starts_with('/') && !is_same_file(pid, path);
    let from_here = |path: &str| seen_from_here(pid, path).display().to_string();
    for path in model.paths.clone().into_iter().filter(|path| is_elsewhere(path)) {
        let why = format!(
            "a path inside its mount namespace, visible from here as {}: set the file's path on this machine, or copy it",
            from_here(&path)
        );
        model.remark(place, path, Why::Check(why));
        model.state = DesiredState::Stopped;
    }
    if let Some(binary) = model.binary.take_if(|binary| is_elsewhere(binary)) {
        let why = format!(
            "a program inside its mount namespace, visible from here as {}: herdsman runs its own llama-server unless you set `binary`",
            from_here(&binary)
        );
        model.remark(place, format!("binary {binary}"), Why::Check(why));
    }
    if let Some(host) = model.host.take_if(|host| is_elsewhere(host)) {
        let why = "a socket inside its mount namespace, so here it is 127.0.0.1 with a port: set `host` if clients use a socket";
        model.remark(place, format!("host {host}"), Why::Check(why.to_owned()));
    }
    let is_foreign = |value: &str| value.split(':').any(is_elsewhere);
    let foreign: Vec<String> =
        model.env.iter().filter(|(_, value)| is_foreign(value)).map(|(name, _)| name.clone()).collect();
    for name in foreign {
        let Some(value) = model.env.remove(&name) else { continue };
        let why = "a path inside its mount namespace: add it to `[env]` with its path on this machine";
        model.remark(place, format!("{name}={value}"), Why::Check(why.to_owned()));
    }
}
