//! Forwards a request to an instance of its model: waits for one, sends, and again if
//! it fails before a byte of its answer.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};

use super::errors::{Error, Shape};
use super::lease::{Lease, Refusal};
use super::naming::{self, Named, Spool};
use super::own::{self, conversations};
use super::passing::Passing;
use super::record::{End, Record};
use super::tunnel::{self, Upgrade};
use super::upstream::{Exchange, Failure, Request};
use super::{Backend, Gateway, comments, headers};
use crate::model::ModelName;
use crate::serve::access::passed_on::Arrived;
use crate::serve::body::Answer;

/// How often a request is sent again to another instance.
const RETRIES: u32 = 2;

/// A request whose model is known.
pub struct Outgoing {
    pub model: ModelName,
    /// What the client calls the model.
    pub asked: String,
    /// Whether it is a use of the model, and not a poll.
    pub uses: bool,
    pub parts: Parts,
    /// The path and query for the instance.
    pub path: String,
    /// Whose errors the client expects.
    pub shape: Shape,
    /// Whether the client expects an event stream.
    pub expects_events: bool,
    /// Its body.
    pub named: Named,
    /// The client's connection, if it asks to use it for another protocol.
    pub upgrade: Option<Upgrade>,
}

/// Forwards a request, and returns the answer as it begins.
pub async fn answer(gateway: &Gateway, outgoing: Outgoing, record: Record) -> Answer {
    let shape = outgoing.shape;
    let period: Option<Duration> = gateway.settings().keep_alive_comments.filter(|_| outgoing.expects_events);
    // Called where it is awaited: a variable would be a second place for all of it.
    let gateway = gateway.clone();
    match period {
        None => forward(gateway, outgoing, record).await.unwrap_or_else(|error| error.answer(shape)),
        Some(period) => comments::until(Box::pin(forward(gateway, outgoing, record)), period, shape).await,
    }
}

/// Forwards a request about a conversation to the instance that has it: once, since no
/// other has.
pub async fn to_holder(
    gateway: &Gateway,
    spool: &Spool,
    lease: Lease,
    parts: &Parts,
    body: Incoming,
    mut record: Record,
) -> Answer {
    record.model(lease.model());
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let named = match naming::as_it_is(parts, body, &gateway.settings(), spool) {
        Ok(named) => named,
        Err(error) => {
            let error = Error::from(error);
            record.answered(error.status.as_u16());
            record.ends(End::Complete);
            return error.answer(Shape::OpenAi);
        }
    };
    match send_once(gateway, lease.backend(), parts, path, &named, &[]).await {
        Ok(exchange) => pass(exchange, Some(lease), record, Shape::OpenAi),
        Err(_) => {
            let answer = conversations::unknown(&parts.method);
            record.answered(answer.status().as_u16());
            record.ends(End::Complete);
            answer
        }
    }
}

async fn forward(gateway: Gateway, outgoing: Outgoing, mut record: Record) -> Result<Answer, Error> {
    let mut sent = send(&gateway, &outgoing, &mut record).await;
    // llama-server says 500 to a body that is not JSON. Only then is a body worth the
    // second look, and the client has sent something wrong.
    let has_failed = matches!(&sent, Ok((exchange, _)) if exchange.head.status == StatusCode::INTERNAL_SERVER_ERROR);
    if has_failed
        && outgoing.named.body.has_arrived()
        && let Some(flaw) = outgoing.named.flaw().await
    {
        sent = Err(Error::not_json(&flaw));
    }
    let (exchange, lease) = sent.inspect_err(|error| {
        record.answered(error.status.as_u16());
        record.ends(End::Complete);
    })?;
    // The body need not be kept for another try any more.
    let Outgoing { upgrade, shape, .. } = outgoing;
    if exchange.head.status == StatusCode::SWITCHING_PROTOCOLS {
        record.answered(exchange.head.status.as_u16());
        return tunnel::begin(exchange, Some(lease), upgrade, record);
    }
    Ok(pass(exchange, Some(lease), record, shape))
}

/// Sends a request once to `backend`, at `path` there and with these further headers.
///
/// # Errors
/// No answer has begun.
pub(super) async fn send_once(
    gateway: &Gateway,
    backend: &Arc<Backend>,
    parts: &Parts,
    path: &str,
    named: &Named,
    more: &[(HeaderName, String)],
) -> Result<Exchange, Failure> {
    let head = headers::request(parts, path, backend, named, more);
    let request = Request { method: &parts.method, head: &head, is_chunked: named.length.is_none() };
    gateway.pools().send(backend, request, &named.body).await
}

/// Passes an answer on as it arrives.
pub(super) fn pass(exchange: Exchange, lease: Option<Lease>, mut record: Record, shape: Shape) -> Answer {
    record.answered(exchange.head.status.as_u16());
    let (mut head, incoming) = exchange.into_parts();
    headers::clean(&mut head.headers);
    let events = headers::is_event_stream(&head.headers).then_some(shape);
    let mut answer = Response::new(Passing::new(incoming, lease, record, events).boxed());
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    answer
}

async fn send(gateway: &Gateway, outgoing: &Outgoing, record: &mut Record) -> Result<(Exchange, Lease), Error> {
    let Outgoing { model, asked, uses, parts, path, named, .. } = outgoing;
    let refused = |refusal| match refusal {
        Refusal::NotRunning => own::not_loaded(parts).unwrap_or_else(|| Error::refused(asked, &refusal)),
        _ => Error::refused(asked, &refusal),
    };
    let asker = match parts.extensions.get() {
        Some(Arrived(at)) => gateway.ask_again(model, *at, *uses),
        None => gateway.ask(model, record.started(), *uses),
    };
    let mut asker = asker.map_err(refused)?;
    for retries in 0.. {
        record.waits();
        let lease = asker.lease_noting(|| record.held()).await;
        record.waited();
        let lease = lease.map_err(refused)?;
        let backend = lease.backend();
        // Before the server can send a byte: the client may be gone with the first.
        gateway.remember_conversation(&parts.headers, record.key(), model, backend);
        let failure = match send_once(gateway, backend, parts, path, named, &record.passed_on(backend)).await {
            Ok(exchange) => return Ok((exchange, lease)),
            Err(failure) => failure,
        };
        match failure {
            Failure::Request(error) => return Err(Error::from_body(error)),
            Failure::Gone(_) if retries < RETRIES && named.body.is_replayable() => {
                record.retried();
                asker.failed(lease);
            }
            failure => return Err(Error::upstream(format!("model {asked:?}: {failure}"))),
        }
    }
    unreachable!("the last retry returns")
}
