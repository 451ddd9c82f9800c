//! herdsman keeps a machine's llama-server processes in sync with a directory of
//! TOML files.
//!
//! ```text
//!   models.d/*.toml      SQLite            /proc + HTTP
//!     definition         database            instance
//!      DESIRED           RECORDED            OBSERVED
//!         \                 |                  /
//!          +----------->  plan (pure)  <------+
//!                           |
//!                         pass    carries it out through three traits
//!                           |
//!                         record
//! ```
//!
//! | module | part |
//! |---|---|
//! | [`cli`] | one file per command: arguments and rendering, no decisions |
//! | [`serve`] | everything that listens on a port |
//! | [`watch`] | when to make the next pass, and nothing else |
//! | [`view`] | the state of every model, ready to show; pure |
//! | [`host`] | this machine, behind those traits |
//! | [`notify`], [`import`] | notifications; definitions for the models of other tools |
//! | [`pass`] | one pass, on one screen; [`pass::apply`], [`pass::review`] (saved plans), [`pass::wait`] |
//! | [`owner`] | the host owner's settings and policy |
//! | [`instance`] | OBSERVED: processes, sockets, health; start, stop, logs |
//! | [`definition`] | DESIRED: finds, parses, checks and resolves definition files |
//! | [`llama`] | llama-server's options and model files |
//! | [`database`] | RECORDED: the shared table, herdsman's own tables, one transaction per commit |
//! | [`git`] | the repository of the definitions: commits and their files |
//! | [`state`] | the state directory: id, locks, logs |
//! | [`plan`] | pure: settles, decides and schedules; gives every action its reasons |
//! | [`model`] | plain data that all the others share |
//! | [`sys`] | operating system helpers: programs, files, links, trust, failpoints |

pub mod cli;
pub mod database;
pub mod definition;
pub mod git;
pub mod host;
#[cfg(test)]
mod hostile;
pub mod import;
pub mod instance;
pub mod llama;
pub mod model;
pub mod notify;
pub mod owner;
pub mod pass;
pub mod plan;
pub mod serve;
pub mod state;
pub mod sys;
pub mod view;
pub mod watch;
