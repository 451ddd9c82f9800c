//! `GET /metrics`, and nothing else.
//!
//! One thread serves at most [`CONNECTIONS`] at a time, each for [`TIMEOUT`] at
//! most: wrong, slow or frequent requests disturb no pass.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

use super::Metrics;
use crate::sys::runtime::runtime;

/// Connections at a time; more of them wait.
const CONNECTIONS: usize = 16;

/// How long one may take, from its first byte to its last.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait after a connection that could not be taken: the process may
/// be out of descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, not ours, or not allowed.
    #[error("cannot listen on {address} (--metrics): {cause}; choose another address, such as 127.0.0.1:9090")]
    Bind {
        /// The address.
        address: String,
        /// Why.
        cause: io::Error,
    },
    /// No thread, no runtime.
    #[error("cannot serve metrics: {0}; too many open files or threads?")]
    Begin(#[from] io::Error),
}

/// Takes the address that metrics are to be served on.
///
/// # Errors
/// The address is invalid or in use.
pub fn bind(address: &str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).map_err(|cause| ListenError::Bind { address: address.to_owned(), cause })
}

/// What answers.
#[derive(Debug)]
pub struct Server {
    /// Where, with the port that was found free instead of port 0.
    pub address: SocketAddr,
    /// Dropped, it is to end.
    _end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Accepts no more connections. The thread that this returns ends once those that
    /// are open are answered: within [`TIMEOUT`].
    #[must_use]
    pub fn leave(self) -> JoinHandle<()> {
        self.thread
    }
}

/// Answers for `metrics` on `listener` until it is finished or the process ends.
///
/// # Errors
/// The system gives no thread.
pub fn listen(listener: TcpListener, metrics: Metrics) -> Result<Server, ListenError> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = runtime()?;
    let (end, ended) = oneshot::channel();
    let thread = thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        if let Err(error) = runtime.block_on(serve(listener, metrics, ended)) {
            tracing::error!("stopped serving metrics: {error}");
        }
    })?;
    Ok(Server { address, _end: end, thread })
}

async fn serve(listener: TcpListener, metrics: Metrics, mut ended: oneshot::Receiver<()>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let permit = Arc::clone(&free).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((permit, listener.accept().await))
        };
        let (permit, accepted) = tokio::select! {
            next = next => next?,
            _ = &mut ended => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let metrics = metrics.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| std::future::ready(answer(&request, &metrics)));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(TIMEOUT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A client that disconnects needs no answer.
            let _ = tokio::time::timeout(TIMEOUT, connection).await;
            drop(permit);
        });
    }
    // Another process accepts from here on.
    drop(listener);
    free.acquire_many(CONNECTIONS as u32).await.map(drop).map_err(io::Error::other)
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, kind, body) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET | &Method::HEAD) => match metrics.render() {
            Ok(text) => (StatusCode::OK, TEXT, text),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
        },
        ("/metrics", _) => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "method not allowed; use GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "text/plain", "not found; metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
    }
    Ok(response)
}
