//! The API with the real thing: what half a minute shows here and more by
//! `HERDSMAN_API_SECONDS=600 cargo test --test long api -- --nocapture --test-threads 1`.
//!
//! | file | shows |
//! |---|---|
//! | `schemathesis` | invented requests, right and wrong ones, get what the description says |
//! | `readers` | streams go on beside many readers of the events; stalled ones are cut |

#[path = "../../real/api/client.rs"]
#[allow(dead_code, reason = "`real` uses all of it")]
mod client;
mod readers;
mod schemathesis;

/// How many seconds each test takes.
fn seconds() -> u64 {
    std::env::var("HERDSMAN_API_SECONDS").map_or(30, |text| text.parse().unwrap())
}
