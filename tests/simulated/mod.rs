//! A world in memory behind `apply::World`: definitions, a database, a machine
//! with processes, and a clock that only tests move.
//!
//! It is faithful where the planner could go wrong:
//!
//! - [`Store`] refuses what the real database refuses (a port of two models, a
//!   fact about an unknown model).
//! - [`Machine`] gives a server the port it binds, or lets it die of it.
//! - Every effect is checked against herdsman's promises as it happens: one
//!   live instance per model, no process without a recorded intent, nothing
//!   forgotten that still lives, no unmanaged row touched. A broken promise
//!   panics, whatever the test was about.
//!
//! Faults: [`World::kill_after`] (herdsman dies after so many effects),
//! [`World::fail_at`] (one effect fails), [`Machine::fates`] (servers that do
//! not come up), and methods for what other programs and people do.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod by_hand;
mod define;
mod effects;
mod former;
mod gateway;
pub mod history;
mod machine;
mod promises;
mod promises_to_clients;
mod sabotage;
pub mod show;
mod site;
mod store;
mod tally;
mod variant;
mod world;

#[allow(unused_imports, reason = "each test program uses a part of it")]
pub use self::{
    define::{Edit, model, name},
    effects::Interference,
    gateway::Gateway,
    machine::{Fate, Machine, Server},
    promises::Promises,
    sabotage::Sabotage,
    show::show,
    site::{Happening, Site},
    store::Store,
    tally::Tally,
    variant::variant,
    world::{Ended, World},
};
