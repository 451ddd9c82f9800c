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
//!                         pass    applies it through the traits at the edge of effects
//!                           |
//!                         record
//! ```
//!
//! | module | part |
//! |---|---|
//! | [`cli`] | one file per command: arguments and rendering, no decisions |
//! | [`serve`] | everything that listens |
//! | [`watch`] | triggers only: when to make the next pass |
//! | [`view`] | what there is to say about every model, pure |
//! | [`host`] | this machine at the edge of effects |
//! | [`notify`], [`import`] | notifications; definitions made from other tools' configurations |
//! | [`pass`] | the pass on one screen; [`pass::apply`], [`pass::review`] (saved plans), [`pass::wait`] |
//! | [`owner`] | what the owner of the host decides: settings and policy |
//! | [`instance`] | OBSERVED and acted on: processes, sockets, health, start, stop, logs |
//! | [`definition`] | DESIRED: definition files found, parsed, checked, resolved |
//! | [`llama`] | what is known of llama-server: its options, its model files |
//! | [`database`] | RECORDED: the shared table, herdsman's own tables, one transaction per commit |
//! | [`git`] | the repository that holds the definitions: commits, and their files |
//! | [`state`] | the state directory: id, locks, logs |
//! | [`plan`] | pure: settle, decide, schedule; every action with its reasons |
//! | [`model`] | the vocabulary as plain data |
//! | [`sys`] | small things of the operating system: programs, files, links, trust, failpoints |

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
