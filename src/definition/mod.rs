//! DESIRED: definition files, and the options llama-server knows.

pub mod catalogue;
