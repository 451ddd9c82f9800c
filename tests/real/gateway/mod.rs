//! The gateway, over real llama-servers.

mod chat;
mod conversations;
mod front;
mod llama_swap;
mod router;
