//! The gateway, with real llama-servers behind it.

mod upgrade;
