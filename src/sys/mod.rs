//! Small operating system helpers that several parts need.

pub(crate) mod descriptors;
pub mod failpoint;
pub(crate) mod links;
pub(crate) mod parallel;
pub(crate) mod program;
pub(crate) mod regular;
pub(crate) mod runtime;
pub(crate) mod seen;
pub(crate) mod text;
pub mod trust;
