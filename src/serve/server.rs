//! The threads that serve: they accept connections, and speak HTTP with clients.

mod bind;
mod door;
mod impatient;
mod linger;
mod seldom;
mod streams;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio_rustls::server::TlsStream;

pub use bind::{BindError, Listener, SocketFile, bind};

use self::door::{Door, most_connections};
use self::impatient::Impatient;
use self::linger::{Lingering, Lingers, is_written_unasked};
use self::streams::Streams;
use super::access::Peer;
use super::app::App;
use super::body::Endless;
use super::gateway::Gateway;
use crate::sys::descriptors;

/// How long a client may take for the head of a request, and be silent between two
/// requests: more than clients keep a connection, so that they close it first.
const HEAD: Duration = Duration::from_secs(75);

/// The most bytes of a head, and what a connection reads at most at once.
const BUFFER: usize = 128 << 10;

/// The most requests at once on one HTTP/2 connection, each with a connection to a
/// server.
const STREAMS: u32 = 100;

/// The pause after a connection could not be accepted: the process has no descriptor
/// left.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a client may take nothing of an answer without an end.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the last bytes of an answer without an end may take.
const STALLED: Duration = Duration::from_secs(3);

/// What shakes hands with clients.
pub type Tls = super::tls::Acceptor;

/// What serves, until it is dropped or stopped.
#[derive(Debug)]
pub struct Serving {
    phase: watch::Sender<Phase>,
    gateway: Gateway,
    runtime: Handle,
    thread: Option<JoinHandle<()>>,
}

/// Keeps a connection open for [`Serving`], also one that does not speak HTTP any more:
/// an extension of the request that ends it.
#[derive(Clone, Debug)]
pub struct Open {
    phase: watch::Receiver<Phase>,
    /// Its place among the connections that may be open at once.
    _place: Option<Arc<OwnedSemaphorePermit>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Accepting,
    /// No new connection. An old one ends with the answer to its next request: were it
    /// closed while it is idle, that request could be on its way.
    HandedOver,
    /// No new connection, no second request on an old one.
    Finishing,
    Over,
}

/// Serves on `listeners`, on threads of its own; with `tls`, TCP connections are
/// encrypted. So many clients connect at once as there are descriptors for; others wait
/// until one has left.
///
/// # Errors
/// The system has no thread or descriptor left.
pub fn serve(app: App, listeners: Vec<Listener>, tls: Option<Tls>) -> io::Result<Serving> {
    serve_at_most(most_connections(descriptors::limit()), app, listeners, tls)
}

fn serve_at_most(most: usize, app: App, listeners: Vec<Listener>, tls: Option<Tls>) -> io::Result<Serving> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("herdsman-serve")
        .enable_all()
        .build()?;
    let listeners = {
        let _in_runtime = runtime.enter();
        listeners.into_iter().map(Listener::listen).collect::<io::Result<Vec<_>>>()?
    };
    let (phase, phases) = watch::channel(Phase::Accepting);
    let doors = listeners.iter().filter(|listener| !listener.is_hall()).count();
    let (gateway, handle, door) = (app.gateway.clone(), runtime.handle().clone(), Arc::new(Door::new(most, doors)));
    let thread = std::thread::Builder::new().name("herdsman-serve".to_owned()).spawn(move || {
        let mut over = phases.clone();
        for listener in listeners {
            runtime.spawn(accept(listener, app.clone(), tls.clone(), phases.clone(), Arc::clone(&door)));
        }
        if let Some(api) = app.api.clone() {
            runtime.spawn(api.keep());
        }
        drop((app, phases));
        // The sender is gone: nobody waits for what is still open.
        let _ = runtime.block_on(over.wait_for(|phase| *phase == Phase::Over));
        runtime.shutdown_background();
    })?;
    Ok(Serving { phase, gateway, runtime: handle, thread: Some(thread) })
}

impl Serving {
    /// Asks ready servers what they are, for lists.
    pub fn learn(&self) {
        drop(self.runtime.spawn(self.gateway.clone().learn()));
    }

    /// Stops accepting connections, and tells clients to send no other request on
    /// those they have.
    pub fn stop_accepting(&self) {
        self.phase.send_replace(Phase::Finishing);
        self.gateway.end_streams();
    }

    /// Stops accepting, waits until the requests in flight are over, for `limit` at
    /// most, and ends. Returns whether all were over.
    #[must_use]
    pub fn finish(mut self, limit: Duration) -> bool {
        self.stop_accepting();
        let deadline = std::time::Instant::now() + limit;
        // The thread that waits for the end is one receiver; each connection is another.
        while self.phase.receiver_count() > 1 && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let is_done = self.phase.receiver_count() <= 1;
        self.end();
        is_done
    }

    /// Leaves new connections to another process, and waits until all that are open
    /// have ended: as long as their last answers take, and while `is_busy`, which is
    /// asked again and again.
    pub fn hand_over(mut self, mut is_busy: impl FnMut() -> bool) {
        self.phase.send_replace(Phase::HandedOver);
        self.gateway.end_streams();
        while is_busy() || self.phase.receiver_count() > 1 {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.end();
    }

    fn end(&mut self) {
        self.phase.send_replace(Phase::Over);
        // A thread that panicked has ended, too.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.end();
    }
}

async fn accept(
    listener: bind::Listening,
    app: App,
    tls: Option<Tls>,
    mut phases: watch::Receiver<Phase>,
    door: Arc<Door>,
) {
    loop {
        let accepted = async {
            // Those who wait at the herdsman before this one have been let in already.
            let place = if listener.is_hall() { None } else { door.place().await };
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            _ = phases.wait_for(|phase| *phase != Phase::Accepting) => return,
        };
        let (app, open) = (app.clone(), Open { phase: phases.clone(), _place: place });
        match (accepted, &tls) {
            (Ok(bind::Accepted::Tcp(stream, peer)), Some(tls)) => {
                let (tls, door) = (tls.clone(), Arc::clone(&door));
                drop(tokio::spawn(async move {
                    match tls.accept(stream).await {
                        Ok(stream) => encrypted(stream, peer, app, open).await,
                        Err(error) => door.unencrypted(&error),
                    }
                }));
            }
            (Ok(bind::Accepted::Tcp(stream, peer)), None) => drop(tokio::spawn(http1(stream, peer, app, open))),
            (Ok(bind::Accepted::Unix(stream, peer)), _) => drop(tokio::spawn(http1(stream, peer, app, open))),
            (Err(error), _) => {
                door.failed(&error);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn encrypted(stream: TlsStream<TcpStream>, peer: Peer, app: App, open: Open) {
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(stream, peer, app, open).await;
    } else {
        http1(stream, peer, app, open).await;
    }
}

async fn http1<S>(stream: S, peer: Peer, app: App, open: Open)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (phases, is_endless) = (open.phase.clone(), Arc::new(AtomicBool::new(false)));
    let lingers = Lingers::default();
    let stream = Impatient::new(stream, Arc::clone(&is_endless), PATIENCE);
    let service = service_fn(|mut request| async {
        // The answer before this one is over.
        is_endless.store(false, Ordering::Relaxed);
        let is_writing = is_written_unasked(&request);
        if request.headers().contains_key(UPGRADE) {
            request.extensions_mut().insert(open.clone());
        }
        let mut answer = app.answer(peer, request).await;
        lingers.after(is_writing, answer.status());
        is_endless.store(answer.extensions().get::<Endless>().is_some(), Ordering::Relaxed);
        if *open.phase.borrow() != Phase::Accepting && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok::<_, Infallible>(answer)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(Lingering::new(stream, lingers.clone())), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        // A connection that ends early needs no answer.
        _ = connection.as_mut() => return,
        leave = has_to_end(phases, &is_endless) => {
            if leave == Leave::AtOnce {
                return;
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    /// In the middle of an answer that has no end, and whose client does not read.
    AtOnce,
    /// After the answer that it is giving.
    AfterAnswer,
}

/// Waits until this process finishes; or has handed over, and an answer without an end
/// has had the time to end.
async fn has_to_end(mut phases: watch::Receiver<Phase>, is_endless: &AtomicBool) -> Leave {
    // One wait and not two: it is looked at whenever the connection is.
    let _ = phases.wait_for(|phase| *phase != Phase::Accepting).await;
    loop {
        tokio::select! {
            _ = phases.wait_for(|phase| matches!(phase, Phase::Finishing | Phase::Over)) => return Leave::AfterAnswer,
            () = tokio::time::sleep(STALLED) => {}
        }
        if is_endless.load(Ordering::Relaxed) {
            return Leave::AtOnce;
        }
    }
}

async fn http2<S>(stream: S, peer: Peer, app: App, open: Open)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut phases = open.phase.clone();
    let streams = Streams::default();
    let service = service_fn(|request| {
        let (app, stream) = (app.clone(), streams.begin());
        async move { Ok::<_, Infallible>(stream.answered(app.answer(peer, request).await)) }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(BUFFER as u32)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = phases.wait_for(|phase| *phase != Phase::Accepting) => {}
        () = streams.are_over_for(HEAD) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        () = stall(&streams) => {}
    }
}

/// Waits until answers without an end have had the time to end, and the last one of the
/// others has had the time to be read.
async fn stall(streams: &Streams) {
    let mut was_stalled = false;
    loop {
        tokio::time::sleep(STALLED).await;
        // No request comes any more.
        let is_stalled = streams.are_endless();
        if is_stalled && was_stalled {
            return;
        }
        was_stalled = is_stalled;
    }
}
