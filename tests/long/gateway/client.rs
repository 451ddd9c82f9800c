//! One client: what it asks for, how, and what came of it.

use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::{Value, json};

use super::http::{Connection, post};
use super::texts::Texts;

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A new connection for each request.
    Fresh,
    /// One connection, for as long as the gateway keeps it, and pauses.
    Kept,
    /// A kept connection and streams, which it reads as they come.
    Streams,
    /// Long streams, read slowly.
    Slow,
    /// Streams that it leaves before or after their first event.
    Leaves,
}

/// What came of a request.
pub enum Outcome {
    /// The whole answer, of a generation that was current; how long its first byte took.
    Answered(Duration),
    /// The client left.
    Left,
    /// It broke off after its first byte.
    Broken(Broken),
    /// Anything else.
    Failed(String),
}

/// An answer that broke off.
pub struct Broken {
    pub model: String,
    pub since: Instant,
    pub at: Instant,
    pub why: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an answer of {} broke off after {:?}: {}", self.model, self.at - self.since, self.why)
    }
}

/// A client.
pub struct Client<'t> {
    pub kind: Kind,
    pub models: Vec<String>,
    pub port: u16,
    pub texts: &'t Texts,
    pub rng: Rng,
    kept: Option<Connection>,
}

impl<'t> Client<'t> {
    pub fn new(kind: Kind, models: &[&str], port: u16, texts: &'t Texts, rng: Rng) -> Self {
        let models = models.iter().map(|&model| model.to_owned()).collect();
        Self { kind, models, port, texts, rng, kept: None }
    }

    /// Asks once.
    pub fn ask(&mut self) -> Outcome {
        let model = self.models[self.rng.usize(..self.models.len())].clone();
        let (since, seen_before) = (Instant::now(), self.texts.seen(&model));
        let mut begun = None;
        match self.exchange(&model, since, &mut begun) {
            Ok(None) => Outcome::Left,
            Ok(Some(body)) => match self.texts.judge(&model, &contents(&body), since, seen_before) {
                Ok(()) => Outcome::Answered(begun.unwrap_or_default()),
                Err(wrong) => Outcome::Failed(wrong),
            },
            Err(why) if begun.is_some() => Outcome::Broken(Broken { model, since, at: Instant::now(), why }),
            Err(why) => Outcome::Failed(format!("{model}, {:?}, after {:?}: {why}", self.kind, since.elapsed())),
        }
    }

    /// Returns the body, or `None` if the client leaves; `begun`: how long the first
    /// byte took.
    fn exchange(
        &mut self,
        model: &str,
        since: Instant,
        begun: &mut Option<Duration>,
    ) -> Result<Option<String>, String> {
        let (path, body) = self.request(model);
        let is_kept = matches!(self.kind, Kind::Kept | Kind::Streams);
        let mut connection = match self.kept.take() {
            Some(connection) => connection,
            None => Connection::open(self.port)?,
        };
        connection.send(&post(path, &body.to_string(), !is_kept))?;
        if self.kind == Kind::Leaves && self.rng.bool() {
            thread::sleep(Duration::from_millis(self.rng.u64(..20)));
            return Ok(None);
        }
        let mut head = connection.head()?;
        if head.status != 200 {
            let status = head.status;
            return Err(format!("{status} {}", connection.body(head)?));
        }
        *begun = Some(head.at.duration_since(since));
        let (closes, mut body) = (head.closes, String::new());
        while connection.next(&mut head, &mut body)? {
            match self.kind {
                Kind::Leaves => return Ok(None),
                Kind::Slow => thread::sleep(Duration::from_millis(self.rng.u64(..15))),
                _ => {}
            }
        }
        let is_whole =
            body.contains("[DONE]") || body.contains("\"stop\":true") || body.contains("\"finish_reason\":\"");
        if !is_whole {
            return Err(format!("a clean end of half an answer: {body}"));
        }
        if is_kept && !closes {
            self.kept = Some(connection);
        }
        if self.kind == Kind::Kept {
            thread::sleep(Duration::from_millis(self.rng.u64(..4)));
        }
        Ok(Some(body))
    }

    /// The path and the body, as several programs write it.
    fn request(&mut self, model: &str) -> (&'static str, Value) {
        let tokens = match self.kind {
            Kind::Slow | Kind::Leaves => 200,
            _ => 1 + self.rng.u32(..4),
        };
        let streams = matches!(self.kind, Kind::Streams | Kind::Slow | Kind::Leaves);
        match self.rng.u8(..3) {
            0 => (
                "/completion",
                json!({"prompt": "hi", "n_predict": tokens, "ignore_eos": true, "stream": streams, "model": model}),
            ),
            1 => ("/v1/completions", json!({"prompt": "hi", "max_tokens": tokens, "model": model, "stream": streams})),
            _ => (
                "/v1/chat/completions",
                json!({
                    "model": model, "messages": [{"role": "user", "content": "hi"}], "max_tokens": tokens,
                    "stream": streams
                }),
            ),
        }
    }
}

/// Everything that an answer says, whichever its form.
fn contents(body: &str) -> String {
    let mut said = String::new();
    for key in ["\"content\":\"", "\"text\":\""] {
        for part in body.split(key).skip(1) {
            said.push_str(part.split('"').next().unwrap_or_default());
        }
    }
    said
}
