//! Forwards a request to an instance of its model: waits for one, sends, and again if
//! it fails before a byte of its answer.

use std::time::{Duration, Instant};

use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};

use super::dispatch::App;
use super::errors::{Error, Shape};
use super::lease::Lease;
use super::passing::Passing;
use super::provisional::ForwardBody;
use super::record::{End, Record};
use super::upstream::{Exchange, Failure};
use super::{Gateway, comments, headers, tunnel};
use crate::model::ModelName;
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
    pub body: ForwardBody,
    /// The client's connection, if it asks to use it for another protocol.
    pub upgrade: Option<OnUpgrade>,
}

/// Forwards a request, and returns the answer as it begins.
pub async fn answer(app: &App, outgoing: Outgoing, record: Record) -> Answer {
    let shape = outgoing.shape;
    let period: Option<Duration> = app.gateway.settings().keep_alive_comments.filter(|_| outgoing.expects_events);
    let forwarded = forward(app.gateway.clone(), outgoing, record);
    match period {
        None => forwarded.await.unwrap_or_else(|error| error.answer(shape)),
        Some(period) => comments::until(Box::pin(forwarded), period, shape).await,
    }
}

async fn forward(gateway: Gateway, mut outgoing: Outgoing, mut record: Record) -> Result<Answer, Error> {
    let sent = send(&gateway, &mut outgoing, &mut record).await;
    let (exchange, lease) = sent.inspect_err(|error| {
        record.answered(error.status.as_u16());
        record.ends(End::Complete);
    })?;
    let status = exchange.head.status;
    record.answered(status.as_u16());
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return tunnel::begin(exchange, lease, outgoing.upgrade.take(), record);
    }
    let (mut head, incoming) = exchange.into_parts();
    headers::clean(&mut head.headers);
    let events = headers::is_event_stream(&head.headers).then_some(outgoing.shape);
    let mut answer = Response::new(Passing::new(incoming, lease, record, events).boxed());
    *answer.status_mut() = head.status;
    *answer.headers_mut() = head.headers;
    Ok(answer)
}

async fn send(gateway: &Gateway, outgoing: &mut Outgoing, record: &mut Record) -> Result<(Exchange, Lease), Error> {
    let Outgoing { model, asked, uses, parts, path, body, .. } = outgoing;
    let refused = |refusal| Error::refused(asked, &refusal);
    let mut asker = gateway.ask(model, record.started(), *uses).map_err(refused)?;
    for retries in 0.. {
        let since = Instant::now();
        let lease = asker.lease().await;
        record.waited(since);
        let lease = lease.map_err(refused)?;
        let backend = lease.backend();
        let head = headers::request(parts, path, backend, body);
        let failure = match gateway.pools().send(backend, &parts.method, head, body).await {
            Ok(exchange) => return Ok((exchange, lease)),
            Err(failure) => failure,
        };
        match failure {
            Failure::Request(error) => return Err(Error::from_body(error)),
            Failure::Gone(_) if retries < RETRIES && body.rewind() => {
                record.retried();
                asker.failed(lease);
            }
            failure => return Err(Error::upstream(format!("model {asked:?}: {failure}"))),
        }
    }
    unreachable!("the last retry returns")
}
