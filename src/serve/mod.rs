//! Everything that listens.
//!
//! ```text
//!  clients ──► server ──► app ──┬─► page      people look at it
//!                               ├─► api       programs: what runs and why; commands
//!                               └─► gateway   one request: which model, may it, wait, forward
//!                 board, Routes (published by every pass) ▲    │ Demand, commands (read by every pass)
//!                                                         │    ▼
//!                                       watch ── pass: load → observe → plan → apply → record
//! ```

pub mod access;
pub mod api;
pub mod app;
pub mod body;
pub mod gateway;
pub mod handover;
pub mod metrics;
pub mod page;
pub mod server;
pub mod socket;
pub mod tls;
