//! Everything that listens.
//!
//! ```text
//!  clients ──► gateway   one request: which model, may it, wait, forward
//!                 ▲ Routes (published by every pass)    │ Demand (read by every pass)
//!                 │                                     ▼
//!               watch ── pass: load → observe → plan → apply → record
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
