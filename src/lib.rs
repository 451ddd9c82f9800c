//! herdsman keeps the llama-server processes of a machine as a directory of
//! TOML files says.
//!
//! ```text
//!   models.d/*.toml      SQLite            /proc + HTTP
//!     definition         database            instance
//!      DESIRED           RECORDED            OBSERVED
//!         \                 |                  /
//!          +----------->  plan (pure)  <------+
//!                           |
//!                         apply   one small trait at the edge of effects
//!                           |
//!                         record
//! ```
//!
//! | module | part |
//! |---|---|
//! | [`model`] | the vocabulary as plain data: what every other part talks about |
//! | [`definition`] | DESIRED: definition files read, checked, resolved; the options llama-server knows |
//! | [`database`] | RECORDED: the shared table, herdsman's own tables, one transaction per commit |
//! | [`instance`] | OBSERVED and acted on: processes, sockets, health, start, stop |
//! | [`plan`] | pure: settle, decide, schedule; every action with its reasons |
//! | [`apply`] | carries a plan out through one trait, [`apply::World`] |
//! | [`reconcile`] | the pass, on one screen |
//! | [`review`] | plans that are saved, looked at, and applied once |
//! | [`wait`] | whether the machine is as a commit declares, and stays so |
//! | [`watch`] | triggers only: when to make the next pass |
//! | [`host`] | this machine behind that trait |
//! | [`metrics`] | what a watcher tells Prometheus |
//! | [`settings`] | what the host's owner decides, outside the repository |
//! | [`notify`] | others are told: what there is to tell (pure), and its delivery |
//! | [`policy`] | what definitions may ask of this host |
//! | [`trust`] | whether others can change what root goes by |
//! | [`git`] | the repository that holds the definitions: commits, and their files |
//! | [`history`] | what was recorded, told: differences of generations, why a model is as it is |
//! | [`state`] | the state directory: id, locks, logs |
//! | [`failpoint`] | where tests may kill it; empty in every other build |
//! | [`import`] | definitions made of what others keep their models in |
//! | [`cli`] | one file per command: arguments and rendering, no decisions |

pub mod apply;
pub mod cli;
pub mod database;
pub mod definition;
pub mod failpoint;
pub mod git;
pub mod history;
pub mod host;
mod host_file;
#[cfg(test)]
mod hostile;
pub mod import;
mod inherited;
pub mod instance;
mod links;
pub mod metrics;
pub mod model;
pub mod notify;
pub mod plan;
pub mod policy;
mod program;
pub mod reconcile;
mod regular;
pub mod review;
pub mod settings;
pub mod state;
pub mod text;
pub mod trust;
pub mod wait;
pub mod watch;
