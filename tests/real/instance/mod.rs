//! `herdsman::instance` against real processes: llama-server where the answers
//! matter, `sleep` where only the process does.

mod bench;
mod seen;
mod served;
mod started;
mod stopped;
