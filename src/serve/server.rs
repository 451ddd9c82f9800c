//! The threads that serve: they accept connections, and speak HTTP with clients.

mod bind;

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

pub use bind::{BindError, Listener, bind};

use super::access::Peer;
use super::body::Endless;
use super::gateway::Gateway;
use super::gateway::dispatch::{self, App};

/// How long a client may take for the head of a request, and be silent between two
/// requests: more than clients keep a connection, so that they close it first.
const HEAD: Duration = Duration::from_secs(75);

/// The most bytes of a head, and what a connection reads at most at once.
const BUFFER: usize = 128 << 10;

/// The pause after a connection could not be accepted: the process has no descriptor
/// left.
const PAUSE: Duration = Duration::from_millis(100);

/// How long the last bytes of an answer without an end may take.
const STALLED: Duration = Duration::from_secs(3);

/// What shakes hands with clients.
pub type Tls = super::tls::Acceptor;

/// What serves, until it is dropped or stopped.
#[derive(Debug)]
pub struct Serving {
    phase: watch::Sender<Phase>,
    gateway: Gateway,
    thread: Option<JoinHandle<()>>,
}

/// Keeps a connection open for [`Serving`] that does not speak HTTP any more: an
/// extension of the request that ends it.
#[derive(Clone, Debug)]
pub struct Open {
    _phase: watch::Receiver<Phase>,
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
/// encrypted.
///
/// # Errors
/// The system has no thread or descriptor left.
pub fn serve(app: App, listeners: Vec<Listener>, tls: Option<Tls>) -> io::Result<Serving> {
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
    let gateway = app.gateway.clone();
    let thread = std::thread::Builder::new().name("herdsman-serve".to_owned()).spawn(move || {
        let mut over = phases.clone();
        for listener in listeners {
            runtime.spawn(accept(listener, app.clone(), tls.clone(), phases.clone()));
        }
        if let Some(api) = app.api.clone() {
            runtime.spawn(api.keep());
        }
        drop((app, phases));
        // The sender is gone: nobody waits for what is still open.
        let _ = runtime.block_on(over.wait_for(|phase| *phase == Phase::Over));
        runtime.shutdown_background();
    })?;
    Ok(Serving { phase, gateway, thread: Some(thread) })
}

impl Serving {
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

async fn accept(listener: bind::Listening, app: App, tls: Option<Tls>, mut phases: watch::Receiver<Phase>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phases.wait_for(|phase| *phase != Phase::Accepting) => return,
        };
        let (app, phases) = (app.clone(), phases.clone());
        match (accepted, &tls) {
            (Ok(bind::Accepted::Tcp(stream, peer)), Some(tls)) => {
                drop(tokio::spawn(encrypted(stream, peer, tls.clone(), app, phases)));
            }
            (Ok(bind::Accepted::Tcp(stream, peer)), None) => drop(tokio::spawn(http1(stream, peer, app, phases))),
            (Ok(bind::Accepted::Unix(stream, peer)), _) => drop(tokio::spawn(http1(stream, peer, app, phases))),
            (Err(_), _) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn encrypted(stream: tokio::net::TcpStream, peer: Peer, tls: Tls, app: App, phases: watch::Receiver<Phase>) {
    let Ok(stream) = tls.accept(stream).await else { return };
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2(stream, peer, app, phases).await;
    } else {
        http1(stream, peer, app, phases).await;
    }
}

async fn http1<S>(stream: S, peer: Peer, app: App, mut phases: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (phase, leaving, is_endless) = (phases.clone(), phases.clone(), AtomicBool::new(false));
    let service = service_fn(|mut request| async {
        if request.headers().contains_key(UPGRADE) {
            request.extensions_mut().insert(Open { _phase: phase.clone() });
        }
        let mut answer = dispatch::answer(&app, peer, request).await;
        is_endless.store(answer.extensions().get::<Endless>().is_some(), Ordering::Relaxed);
        if *phase.borrow() != Phase::Accepting && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok::<_, Infallible>(answer)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    // A connection that ends early needs no answer.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = is_stalled(leaving, &is_endless) => return,
        _ = phases.wait_for(|phase| matches!(phase, Phase::Finishing | Phase::Over)) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Waits until this process has handed over, and an answer without an end has had the
/// time to end: its client does not read.
async fn is_stalled(mut phases: watch::Receiver<Phase>, is_endless: &AtomicBool) {
    let _ = phases.wait_for(|phase| *phase != Phase::Accepting).await;
    loop {
        tokio::time::sleep(STALLED).await;
        if is_endless.load(Ordering::Relaxed) {
            return;
        }
    }
}

async fn http2<S>(stream: S, peer: Peer, app: App, mut phases: watch::Receiver<Phase>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(|request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(dispatch::answer(&app, peer, request).await) }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(BUFFER as u32)
        .keep_alive_interval(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = phases.wait_for(|phase| *phase != Phase::Accepting) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
