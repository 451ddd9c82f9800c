//! Everything that listens.

pub mod metrics;
