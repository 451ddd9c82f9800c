//! `herdsman::instance` against real processes: llama-server where the answers
//! matter, `sleep` where only the process does.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bench;
mod seen;
mod served;
mod started;
mod stopped;

#[path = "../support/mod.rs"]
mod support;
