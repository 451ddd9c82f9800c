//! `herdsman::instance` against real processes: llama-server where the answers
//! matter, `sleep` where only the process does.
//!
//! Needs `HERDSMAN_TEST_LLAMA_SERVER`, the path of a llama-server.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bench;
mod seen;
mod served;
mod started;
mod stopped;

#[path = "../../examples/tiny_gguf/gguf.rs"]
#[allow(dead_code, reason = "shared with the example, which uses more of it")]
mod gguf;
