//! What only root can be refused, a step of its own, as root:
//! `cargo test --test root`.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod policy;
