//! What herdsman knows about llama-server: its options, its model files, what
//! it inherits from herdsman's environment, and its web page.

pub mod catalogue;
pub(crate) mod gguf;
pub(crate) mod inherited;
pub mod page;
