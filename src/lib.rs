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
//! [`model`] holds the vocabulary as plain data.

pub mod apply;
pub mod cli;
pub mod database;
pub mod definition;
pub mod host;
mod inherited;
pub mod instance;
pub mod model;
pub mod plan;
pub mod reconcile;
pub mod state;
pub mod text;
