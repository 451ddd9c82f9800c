//! The gateway, between raw sockets on one side and real llama-servers on the other;
//! where exact bytes or faults matter, a server of raw sockets.

mod activation;
mod bench;
mod browser;
mod cancel;
mod chat;
mod clients;
mod connections;
mod conversations;
mod counted;
mod definitions;
mod edits;
mod faults;
mod front;
mod handed_over;
mod headers;
mod llama_swap;
mod on_demand;
mod path;
mod router;
pub mod served;
mod serving;
mod swap;
mod upgrade;
mod waiting;
