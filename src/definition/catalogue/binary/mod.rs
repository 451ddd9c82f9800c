//! The llama-server on disk.
