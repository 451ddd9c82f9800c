//! Asks running servers, all of them at once.
//!
//! Only sockets that an instance is known to own are asked, so certificates need
//! not identify servers, and self-signed ones are fine.
//! Nothing goes through a proxy or follows a redirect, no connection is kept
//! (each one holds a thread of the server), and no answer is read without a
//! bound.

#[cfg(test)]
mod hostile;

use std::future::Future;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::HostError;
use super::endpoint::{Socket, Target};
use crate::model::{Busy, Health, Served};
use crate::sys::failpoint::{Point, reach};
use crate::sys::runtime::runtime;

/// How long a server may take to answer. With 40 requests in flight it takes
/// 2 ms.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The most bytes of an answer that are read: `/slots` has some KB a slot.
const MAX_BODY: usize = 4 << 20;

/// `PATH_MAX` of Linux.
const LONGEST_PATH: usize = 4096;

/// The client; built when the first instance is to be asked.
#[derive(Debug)]
pub(super) struct Http {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Http {
    pub fn new() -> Result<Self, HostError> {
        let runtime = runtime().map_err(HostError::Runtime)?;
        // Fails when one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self { runtime, client: builder().build().map_err(HostError::Client)? })
    }

    /// Returns the answer of each server to `/health`, in the order asked.
    pub fn health(&self, targets: Vec<Target>) -> Vec<Health> {
        reach(Point::HealthAsk);
        let answers = self.ask(targets, health, || Health::Unanswered("the request failed".to_owned()));
        reach(Point::HealthAsked);
        answers
    }

    /// Whether each server has requests in flight, in the order asked.
    pub fn busy(&self, targets: Vec<Target>) -> Vec<Busy> {
        reach(Point::SlotsAsk);
        let answers = self.ask(targets, busy, || Busy::Unknown);
        reach(Point::SlotsAsked);
        answers
    }

    /// What each server says it serves, in the order asked.
    pub fn served(&self, targets: Vec<Target>) -> Vec<Served> {
        reach(Point::PropsAsk);
        let answers = self.ask(targets, served, || Served::Unanswered);
        reach(Point::PropsAsked);
        answers
    }

    /// Whether somebody listens on the unix socket `path`.
    pub fn listens(&self, path: &std::path::Path) -> bool {
        let connect = async { tokio::time::timeout(TIMEOUT, tokio::net::UnixStream::connect(path)).await };
        // Only a refusal proves that nobody listens: a full backlog is an error, too.
        !matches!(self.runtime.block_on(connect), Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused)
    }

    fn ask<T, F>(&self, targets: Vec<Target>, question: impl Fn(Client, Target) -> F, lost: impl Fn() -> T) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.runtime.block_on(async {
            let asked: Vec<_> =
                targets.into_iter().map(|target| tokio::spawn(question(self.client.clone(), target))).collect();
            let mut answers = Vec::with_capacity(asked.len());
            for answer in asked {
                answers.push(answer.await.unwrap_or_else(|_| lost()));
            }
            answers
        })
    }
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .http1_only()
        .tls_danger_accept_invalid_certs(true)
}

async fn health(client: Client, target: Target) -> Health {
    match get(&client, &target, "/health").await.map(|response| response.status()) {
        Ok(StatusCode::OK) => Health::Ready,
        Ok(StatusCode::SERVICE_UNAVAILABLE) => Health::Loading,
        Ok(status) => Health::Unanswered(format!("/health answered {}", status.as_u16())),
        Err(error) => Health::Unanswered(reason(&error)),
    }
}

/// `/props` first: `/slots` wakes a sleeping server and keeps it awake.
async fn busy(client: Client, target: Target) -> Busy {
    let Ok(props) = get(&client, &target, "/props").await else { return Busy::Unknown };
    if props.status() == StatusCode::SERVICE_UNAVAILABLE {
        // Still loading: every request is turned away.
        return Busy::No;
    }
    match json(props).await {
        None => return Busy::Unknown,
        Some(Props { is_sleeping: true }) => return Busy::No,
        Some(Props { is_sleeping: false }) => {}
    }
    let Ok(slots) = get(&client, &target, "/slots").await else { return Busy::Unknown };
    let Some(slots) = json::<Vec<Slot>>(slots).await else { return Busy::Unknown };
    match slots.iter().filter(|slot| slot.is_processing).count() {
        0 => Busy::No,
        slots => Busy::Yes(slots),
    }
}

async fn served(client: Client, target: Target) -> Served {
    let Ok(answer) = get(&client, &target, "/props").await else { return Served::Unanswered };
    if answer.status() == StatusCode::SERVICE_UNAVAILABLE {
        return Served::Unanswered;
    }
    match json(answer).await {
        Some(Identity { role: Some(role), .. }) if role == "router" => Served::Nothing,
        Some(Identity { model_path: Some(path), .. }) if (1..=LONGEST_PATH).contains(&path.len()) => Served::File(path),
        _ => Served::Untold,
    }
}

/// What a server says of itself at `/props`.
#[derive(Deserialize)]
struct Identity {
    /// `router`; of a server with a model there is none.
    role: Option<String>,
    model_path: Option<String>,
}

/// What matters of `/props`. Nothing else of an answer is kept: as a tree of
/// JSON values it would take a hundred times its length.
#[derive(Deserialize)]
struct Props {
    /// Older servers do not sleep.
    #[serde(default)]
    is_sleeping: bool,
}

/// What matters of a slot; one that does not say whether it is processing makes
/// the whole answer unknown.
#[derive(Deserialize)]
struct Slot {
    is_processing: bool,
}

async fn get(client: &Client, target: &Target, path: &str) -> Result<Response, reqwest::Error> {
    let scheme = if target.tls { "https" } else { "http" };
    let (client, authority) = match &target.socket {
        Socket::Tcp(address) => (client.clone(), address.to_string()),
        Socket::Unix(path) => (builder().unix_socket(path.as_path()).build()?, "localhost".to_owned()),
    };
    let request = client.get(format!("{scheme}://{authority}{}{path}", target.prefix));
    match &target.key {
        Some(key) => request.bearer_auth(key).send().await,
        None => request.send().await,
    }
}

/// The JSON of a 200; `None` for every other answer.
async fn json<T: DeserializeOwned>(mut response: Response) -> Option<T> {
    if response.status() != StatusCode::OK {
        return None;
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.ok()? {
        if body.len() + chunk.len() > MAX_BODY {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).ok()
}

/// The innermost cause: what a person can act on.
fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("/health did not answer within {} s", TIMEOUT.as_secs());
    }
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |cause| cause.source());
    let innermost = causes.last().map_or_else(String::new, ToString::to_string);
    format!("/health request failed: {innermost}")
}
