//! The events of the stub's streams: all of one length, each with the time at which
//! it was sent.

use std::time::Duration;

/// Text around the time, as llama-server writes it.
const BEFORE: &str = "data: {\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"";
const AFTER: &str = "\"}}],\"created\":1764376233,\"id\":\"chatcmpl-Zq3KpYx0Jm8TtB2nV5rLw7cHd9sFgE4u\",\
                     \"model\":\"a\",\"system_fingerprint\":\"b10434\",\"object\":\"chat.completion.chunk\"}\n\n";
/// Digits of the time, nanoseconds: as many as `u64` needs.
const DIGITS: usize = 20;

/// The length of an event.
pub const LENGTH: usize = BEFORE.len() + DIGITS + AFTER.len();

/// What follows the last event.
pub const DONE: &str = "data: [DONE]\n\n";

/// An event as the chunk that carries it, which is written again and again.
pub struct Event {
    chunk: Vec<u8>,
    digits: usize,
}

impl Event {
    /// One without a time.
    pub fn new() -> Self {
        let size = format!("{LENGTH:x}\r\n");
        let digits = size.len() + BEFORE.len();
        Self { chunk: format!("{size}{BEFORE}{:0DIGITS$}{AFTER}\r\n", 0).into_bytes(), digits }
    }

    /// Its bytes, sent `at`.
    pub fn sent(&mut self, at: Duration) -> &[u8] {
        let mut rest = at.as_nanos();
        for digit in self.chunk[self.digits..self.digits + DIGITS].iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
            rest /= 10;
        }
        &self.chunk
    }
}

/// What follows the last event, as chunks, and the end of the body.
pub fn last_chunks() -> Vec<u8> {
    format!("{:x}\r\n{DONE}\r\n0\r\n\r\n", DONE.len()).into_bytes()
}

/// When this event was sent; `None` if it is not one.
pub fn sent_at(event: &[u8]) -> Option<Duration> {
    let digits = event.strip_prefix(BEFORE.as_bytes())?.get(..DIGITS)?;
    Some(Duration::from_nanos(std::str::from_utf8(digits).ok()?.parse().ok()?))
}
