//! The gateway, between raw sockets on one side and real llama-servers on the other;
//! where exact bytes or faults matter, a server of raw sockets.

mod bench;
mod browser;
mod chat;
mod clients;
mod conversations;
mod definitions;
mod front;
mod llama_swap;
mod edits;
mod on_demand;
mod path;
mod served;
mod swap;
mod router;
