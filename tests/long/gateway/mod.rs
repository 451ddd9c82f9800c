//! The gateway under load, with the real thing: what a minute shows here and an hour
//! shows by `HERDSMAN_GATEWAY_REQUESTS=100000 cargo test --test long gateway -- --nocapture`.
//!
//! | file | shows |
//! |---|---|
//! | `load` | edits, kills, swaps, an upgrade and a locked database fail no request |
//! | `idle` | requests at the moment of an idle stop are answered; polls keep nothing awake |
//! | `swaps` | models that share room take turns, and nobody waits longer than `max_wait` |
//! | `edits` | quick saves and rollbacks under load fail no request |
//! | `first_byte` | a first byte passes however late |
//! | `hostile` | mutated requests get an answer or a close, and harm nothing |
//!
//! The other numbers follow from that of the requests: see [`rounds`].

#[path = "../../real/gateway/bench.rs"]
#[allow(dead_code, reason = "`real` uses all of it")]
mod bench;
#[path = "../../real/gateway/certificate.rs"]
#[allow(dead_code, reason = "`real` uses all of it")]
mod certificate;
mod client;
mod clients;
mod edits;
mod faults;
mod first_byte;
mod hostile;
pub mod http;
mod idle;
mod load;
#[path = "../../real/gateway/served.rs"]
#[allow(dead_code, reason = "`real` uses all of it")]
pub mod served;
mod swaps;
mod texts;

/// How many requests the load makes: 100,000 is the whole of it.
fn requests() -> usize {
    std::env::var("HERDSMAN_GATEWAY_REQUESTS").map_or(5_000, |text| text.parse().unwrap())
}

/// How many rounds a test makes that makes `whole` of them beside 100,000 requests.
fn rounds(whole: usize) -> usize {
    (whole * requests()).div_ceil(100_000)
}
