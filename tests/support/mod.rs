//! What the tests stand on: a real llama-server, ports of one's own, and a
//! [`World`] that leaves no process behind, not even when a test panics.
//!
//! What a test asserts about processes is read here from `/proc`, apart from
//! herdsman's own code, so that the two can disagree.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod client;
mod downloads;
pub mod fork;
pub mod gguf;
mod http;
mod llama_server;
pub mod picture;
pub mod policed;
mod ports;
mod processes;
mod program;
mod ran;
mod receiver;
mod repository;
mod scene;
mod schema;
mod terminal;
mod watcher;
mod world;

use std::time::{Duration, Instant};

#[allow(unused_imports, reason = "each test program uses a part of it")]
pub use self::{
    client::Client,
    downloads::Downloads,
    http::{ask, get, post, try_ask},
    llama_server::llama_server,
    ports::{PortBlock, free_port},
    processes::{Process, Stat, leaders, leads_session, pids, processes, stop},
    program::Program,
    ran::Ran,
    receiver::{Receiver, Request},
    repository::{Repository, git},
    scene::Scene,
    schema::is_as_schema,
    terminal::Terminal,
    watcher::{Ended, Watcher},
    world::{Background, World},
};

/// Waits until `done` holds, looking every 10 ms.
///
/// # Panics
/// It does not hold within `timeout`: says `what` was waited for.
pub fn eventually(what: &str, timeout: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < timeout, "not within {timeout:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
