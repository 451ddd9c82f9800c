//! What herdsman knows about llama-server: its options, its model files, and what
//! it inherits from herdsman's environment.

pub mod catalogue;
pub(crate) mod gguf;
pub(crate) mod inherited;
