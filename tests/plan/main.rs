//! The planner against a simulated world: every rule of the design as a story.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../simulated/mod.rs"]
mod simulated;

mod creating;
