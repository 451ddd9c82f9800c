//! Small operating system helpers that several parts need.

pub mod failpoint;
pub(crate) mod links;
pub(crate) mod program;
pub(crate) mod regular;
pub mod trust;
