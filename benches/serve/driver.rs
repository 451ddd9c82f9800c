//! The clients: connections that ask and read on one thread, and what they see.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::event::{DONE, LENGTH, sent_at};
use super::stub::ask_for;
use super::wire::{Head, Wire, broken};
use crate::measure::clock::monotonic;

/// How many connections the rows with several use.
pub const CONNECTIONS: usize = 32;

/// How many events a stream at full speed has before the connection asks for the next.
const EVENTS: usize = 1_000;

/// Longer than any measurement takes that does not hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where completions are asked for.
const COMPLETIONS: &str = "/v1/chat/completions";

/// Runs clients; each method returns when all of them are done.
pub struct Driver {
    runtime: Runtime,
}

impl Driver {
    /// A driver without connections.
    pub fn new() -> Self {
        Self { runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime") }
    }

    /// Opens connections, each of which has had an answer.
    ///
    /// # Errors
    /// One could not be opened, or had no answer.
    pub fn connect(&self, address: SocketAddr, connections: usize) -> io::Result<Vec<Wire>> {
        let opening = (0..connections).map(|_| async move {
            let mut wire = Wire::connect(address).await?;
            ask(&mut wire, &completion("")).await?;
            Ok(wire)
        });
        self.all(opening)
    }

    /// Sends `request` on one connection again and again. Returns how long each answer took.
    ///
    /// # Errors
    /// An answer was not 200, or not complete.
    pub fn one_by_one(&self, wire: &mut Wire, request: &[u8], time: Duration) -> io::Result<Vec<Duration>> {
        self.run(async {
            let start = Instant::now();
            let mut took = Vec::new();
            while took.is_empty() || start.elapsed() < time {
                let sent = Instant::now();
                ask(wire, request).await?;
                took.push(sent.elapsed());
            }
            Ok(took)
        })
    }

    /// Asks on all connections as fast as they answer. Returns how many answers came.
    ///
    /// # Errors
    /// As [`Driver::one_by_one`].
    pub fn answers(&self, wires: Vec<Wire>, time: Duration) -> io::Result<usize> {
        let start = Instant::now();
        let request = Arc::new(completion(""));
        let asking = wires.into_iter().map(|mut wire| {
            let request = Arc::clone(&request);
            async move {
                let mut answers = 0;
                while start.elapsed() < time {
                    ask(&mut wire, &request).await?;
                    answers += 1;
                }
                Ok(answers)
            }
        });
        Ok(self.all(asking)?.into_iter().sum())
    }

    /// Sends `request` once on each connection, at once.
    ///
    /// # Errors
    /// As [`Driver::one_by_one`].
    pub fn at_once(&self, wires: Vec<Wire>, request: &Arc<Vec<u8>>) -> io::Result<()> {
        let asking = wires.into_iter().map(|mut wire| {
            let request = Arc::clone(request);
            async move { ask(&mut wire, &request).await }
        });
        self.all(asking).map(drop)
    }

    /// Reads streams at full speed on all connections. Returns how many events came.
    ///
    /// # Errors
    /// A stream was not complete.
    pub fn streams(&self, wires: Vec<Wire>, time: Duration) -> io::Result<usize> {
        let start = Instant::now();
        let reading = wires.into_iter().map(|mut wire| async move {
            let mut events = 0;
            while start.elapsed() < time {
                stream(&mut wire, EVENTS, Duration::ZERO, |_| ()).await?;
                events += EVENTS;
            }
            Ok(events)
        });
        Ok(self.all(reading)?.into_iter().sum())
    }

    /// Reads a stream on each connection in which an event comes each `pause`, for
    /// `time`. Returns how long each event was on its way.
    ///
    /// # Errors
    /// A stream was not complete.
    pub fn delays(&self, wires: Vec<Wire>, pause: Duration, time: Duration) -> io::Result<Vec<Duration>> {
        let events = usize::try_from(time.as_nanos() / pause.as_nanos()).expect("a number of events").max(1);
        let reading = wires.into_iter().map(|mut wire| async move {
            let mut delays = Vec::with_capacity(events);
            stream(&mut wire, events, pause, |sent| delays.push(monotonic().saturating_sub(sent))).await?;
            Ok(delays)
        });
        Ok(self.all(reading)?.concat())
    }

    /// Opens streams that have had their first event and wait for the next, which does
    /// not come within an hour.
    ///
    /// # Errors
    /// One could not be opened.
    pub fn idle_streams(&self, address: SocketAddr, streams: usize) -> io::Result<Vec<Wire>> {
        let request = Arc::new(completion(&ask_for(2, Duration::from_secs(3600))));
        let opening = (0..streams).map(|_| {
            let request = Arc::clone(&request);
            async move {
                let mut wire = Wire::connect(address).await?;
                wire.send(&request).await?;
                succeeded(wire.head().await?)?;
                wire.until(b"}\n\n").await?;
                Ok(wire)
            }
        });
        self.all(opening)
    }

    /// Runs all of them on this thread.
    fn all<T, F>(&self, clients: impl Iterator<Item = F>) -> io::Result<Vec<T>>
    where
        T: Send + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        self.run(async {
            let mut running: JoinSet<io::Result<T>> = clients.collect();
            let mut results = Vec::with_capacity(running.len());
            while let Some(ended) = running.join_next().await {
                results.push(ended.expect("a client does not panic")?);
            }
            Ok(results)
        })
    }

    /// Runs this to its end, but not for ever: a proxy that does not answer fails.
    fn run<T>(&self, clients: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        self.runtime.block_on(async {
            let ended = tokio::time::timeout(PATIENCE, clients).await;
            ended.unwrap_or_else(|_| Err(broken(&format!("not all answers came within {} s", PATIENCE.as_secs()))))
        })
    }
}

/// A small request for a completion of model `a`, with `header` added.
pub fn completion(header: &str) -> Vec<u8> {
    let body = r#"{"model":"a","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
    post(COMPLETIONS, header, body)
}

/// One whose body is about `bytes` long and names its model last.
pub fn long_completion(bytes: usize) -> Vec<u8> {
    let text = "All work and no play. ".repeat(bytes.div_ceil(22));
    post(COMPLETIONS, "", &format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}],"model":"a"}}"#))
}

fn post(path: &str, header: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{header}\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends a request and reads its answer.
async fn ask(wire: &mut Wire, request: &[u8]) -> io::Result<()> {
    wire.send(request).await?;
    let head = succeeded(wire.head().await?)?;
    wire.body(head.framing, |_| ()).await
}

/// The head of an answer.
///
/// # Errors
/// There was none, or it is not a 200.
fn succeeded(head: Option<Head>) -> io::Result<Head> {
    let head = head.ok_or_else(|| broken("the connection was closed before an answer"))?;
    match head.status() {
        200 => Ok(head),
        status => Err(broken(&format!("answered {status}"))),
    }
}

/// Asks for a stream and gives the time at which each event was sent to `seen`.
async fn stream(wire: &mut Wire, events: usize, pause: Duration, mut seen: impl FnMut(Duration)) -> io::Result<()> {
    wire.send(&completion(&ask_for(events, pause))).await?;
    let head = succeeded(wire.head().await?)?;
    let mut unseen: Vec<u8> = Vec::with_capacity(2 * LENGTH);
    let mut count = 0;
    wire.body(head.framing, |payload| {
        unseen.extend_from_slice(payload);
        let mut used = 0;
        while let Some(sent) = unseen.get(used..used + LENGTH).and_then(sent_at) {
            seen(sent);
            (used, count) = (used + LENGTH, count + 1);
        }
        unseen.drain(..used);
    })
    .await?;
    if count == events && unseen == DONE.as_bytes() {
        Ok(())
    } else {
        Err(broken(&format!("{count} of {events} events, then {} other bytes", unseen.len())))
    }
}
