//! What takes minutes, and is a step of its own:
//! `cargo test --test long -- --nocapture`.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod api;
mod chaos;
mod edits;
mod gateway;
mod soak;
