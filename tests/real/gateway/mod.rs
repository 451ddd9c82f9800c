//! The gateway, between raw sockets on one side and real llama-servers on the other;
//! where exact bytes or faults matter, a server of raw sockets.

mod bench;
mod cancel;
mod chat;
mod connections;
mod conversations;
mod faults;
mod front;
mod headers;
mod llama_swap;
mod path;
mod router;
mod serving;
mod waiting;
