//! What is noted of each request, for metrics and the activity list: never its
//! contents.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::HeaderName;
use hyper::http::request::Parts;

use super::routes::Backend;
use crate::model::ModelName;
use crate::serve::access::Caller;
use crate::serve::access::passed_on::{self, Arrived, AskedPath};
use crate::serve::body::Answer;

/// What sees each request that is over.
pub type Observer = Arc<dyn Fn(&Finished) + Send + Sync>;

/// How many bytes of the beginning of an answer are kept: lists of embeddings and
/// Anthropic's streams have their usage there.
pub const HEAD: usize = 512;

/// How many bytes of the end of an answer are kept: usage and timings stand there.
pub const TAIL: usize = 2 << 10;

/// A request that is over.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The name of the caller's key.
    pub caller: Option<Arc<str>>,
    /// The model, once it is known.
    pub model: Option<ModelName>,
    /// Its method.
    pub method: hyper::Method,
    /// The path as the client sent it, without the query.
    pub path: String,
    /// Whether the gateway answered it itself: it was about no one model.
    pub is_own: bool,
    /// The status of the answer; `None`: the client left before there was one.
    pub status: Option<u16>,
    /// When the request arrived.
    pub started: Instant,
    /// How long it waited for an instance.
    pub waited: Duration,
    /// Whether it waited because the model was not ready.
    pub held: bool,
    /// From its arrival to the head of the answer.
    pub first_byte: Option<Duration>,
    /// When it was over.
    pub ended: Instant,
    /// How often it was sent again to another instance.
    pub retries: u32,
    /// How many bytes of the answer's body were passed on.
    pub bytes: u64,
    /// The first bytes of the answer's body, [`HEAD`] at most.
    pub head: Vec<u8>,
    /// The last bytes of the answer's body, [`TAIL`] at most.
    pub tail: VecDeque<u8>,
    /// How it ended.
    pub end: End,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a whole answer.
    Complete,
    /// The client left.
    ClientLeft,
    /// The server died while it answered.
    Broken,
}

/// A request under way; dropped, it is over.
pub struct Record {
    finished: Finished,
    waiting_since: Option<Instant>,
    observer: Option<Observer>,
}

impl Record {
    /// Begins to note a request that has arrived.
    pub fn new(parts: &Parts, caller: &Caller, observer: Option<Observer>) -> Self {
        let now = Instant::now();
        let arrived = parts.extensions.get::<Arrived>();
        let path = parts.extensions.get::<AskedPath>().map_or_else(|| parts.uri.path(), |asked| &asked.0);
        let finished = Finished {
            caller: caller.name.clone(),
            model: None,
            method: parts.method.clone(),
            path: path.to_owned(),
            is_own: false,
            status: None,
            started: arrived.map_or(now, |arrived| arrived.0),
            waited: Duration::ZERO,
            held: false,
            first_byte: None,
            ended: now,
            retries: 0,
            bytes: 0,
            head: Vec::new(),
            tail: VecDeque::new(),
            end: End::ClientLeft,
        };
        Self { finished, waiting_since: None, observer }
    }

    /// When the request arrived.
    pub const fn started(&self) -> Instant {
        self.finished.started
    }

    /// Returns what to say of it where it is sent: a herdsman that has taken over has
    /// to know.
    pub fn passed_on(&self, to: &Backend) -> Vec<(HeaderName, String)> {
        let Finished { caller, started, path, .. } = &self.finished;
        if to.is_successor() { passed_on::headers(caller.as_deref(), *started, path) } else { Vec::new() }
    }

    /// The name of the caller's key.
    pub fn key(&self) -> Option<Arc<str>> {
        self.finished.caller.clone()
    }

    /// It is for `model`.
    pub fn model(&mut self, model: &ModelName) {
        self.finished.model = Some(model.clone());
    }

    /// It begins to wait for an instance.
    pub fn waits(&mut self) {
        self.waiting_since = Some(Instant::now());
    }

    /// Notes an answer that herdsman gives itself. Reading what is counted does not
    /// count.
    pub fn answers(mut self, answer: Answer) -> Answer {
        if self.finished.path == "/metrics" && answer.status() == StatusCode::OK {
            self.observer = None;
        }
        self.finished.is_own = true;
        self.answered(answer.status().as_u16());
        self.ends(End::Complete);
        answer
    }

    /// It waits because the model is not ready.
    pub const fn held(&mut self) {
        self.finished.held = true;
    }

    /// It does not wait any more.
    pub fn waited(&mut self) {
        self.finished.waited += self.waiting_since.take().map(|since| since.elapsed()).unwrap_or_default();
    }

    /// It is sent again to another instance.
    pub const fn retried(&mut self) {
        self.finished.retries += 1;
    }

    /// The head of the answer is here.
    pub fn answered(&mut self, status: u16) {
        self.finished.status = Some(status);
        self.finished.first_byte = Some(self.finished.started.elapsed());
    }

    /// Another part of the answer is here.
    pub fn passed(&mut self, data: &[u8]) {
        self.finished.bytes += data.len() as u64;
        if self.observer.is_none() {
            return;
        }
        let Finished { head, tail, .. } = &mut self.finished;
        head.extend_from_slice(&data[..data.len().min(HEAD - head.len())]);
        let data = &data[data.len().saturating_sub(TAIL)..];
        let excess = (tail.len() + data.len()).saturating_sub(TAIL);
        tail.drain(..excess);
        tail.extend(data);
    }

    /// If it were over now, it would have ended so.
    pub const fn ends(&mut self, end: End) {
        self.finished.end = end;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // The client left while it waited.
        self.waited();
        if let Some(observer) = &self.observer {
            self.finished.ended = Instant::now();
            observer(&self.finished);
        }
    }
}
