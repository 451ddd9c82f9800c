//! What needs no process: the planner and the watcher's logic, in a world in
//! memory where any effect can fail, and histories lived through in it.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../src/hostile/mutate.rs"]
mod mutate;
#[path = "../simulated/mod.rs"]
mod simulated;

mod converge;
mod floors;
mod mutated;
mod plan;
mod routes;
mod simulation;
mod view;
mod watch_logic;
mod words;
