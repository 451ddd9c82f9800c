//! OBSERVED and acted on: llama-server processes.
