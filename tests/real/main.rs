//! Everything that runs the real thing: herdsman itself, real llama-servers on
//! tiny weights, SQLite files, Git repositories, signals.
//!
//! Most of it waits, so more tests run at once than there are processors
//! (`.cargo/config.toml`).
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod api;
mod bad_definitions;
mod bad_host;
mod bad_storage;
mod by_hand;
mod catalogue;
mod converge;
mod damaged_database;
mod dashboard;
mod documents;
mod drain;
mod drift;
mod from_git;
mod gateway;
mod history;
mod import;
mod instance;
mod launch;
mod llama_servers;
mod log_limits;
mod logs;
mod metrics;
mod named;
mod notify;
mod open;
mod packaging;
mod policy;
mod power_loss;
mod readme;
mod repeated;
mod review;
mod rollback;
mod rough_edges;
mod served;
mod service;
mod status;
mod support_itself;
mod survive;
mod upgrade;
mod validate;
mod wait;
mod watch;
mod wrappers;
