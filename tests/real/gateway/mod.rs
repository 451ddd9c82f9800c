//! The gateway, between raw sockets on one side and real llama-servers on the other;
//! where exact bytes or faults matter, a server of raw sockets.

mod bench;
mod cancel;
mod connections;
mod faults;
mod headers;
mod path;
mod serving;
mod waiting;
