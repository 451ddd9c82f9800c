//! Once another herdsman has taken over, it answers what arrives here, too: this one
//! knows only how everything was.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;

use super::errors::{Error, Shape};
use super::naming::Spool;
use super::record::Record;
use super::routes::Backend;
use super::tunnel::{self, Upgrade};
use super::{Gateway, forward, naming, own};
use crate::serve::access::Caller;
use crate::serve::body::{Answer, Endless};

/// Sends a request on as it is. The successor counts it.
pub async fn answer(
    gateway: &Gateway,
    spool: &Spool,
    successor: &Arc<Backend>,
    parts: &Parts,
    body: Incoming,
    caller: &Caller,
    upgrade: OnUpgrade,
) -> Answer {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let shape = Shape::of(path);
    let mut record = Record::new(parts, caller, None);
    let sent = async {
        let named = naming::as_it_is(parts, body, &gateway.settings(), spool)?;
        let more = record.passed_on(successor);
        let sent = forward::send_once(gateway, successor, parts, path, &named, &more).await;
        sent.map_err(|failure| Error::upstream(format!("the herdsman that has taken over: {failure}")))
    };
    match sent.await {
        Ok(exchange) if exchange.head.status == StatusCode::SWITCHING_PROTOCOLS => {
            record.answered(exchange.head.status.as_u16());
            tunnel::begin(exchange, None, Upgrade::of(upgrade, parts), record)
                .unwrap_or_else(|error| error.answer(shape))
        }
        Ok(exchange) => {
            let mut answer = forward::pass(exchange, None, record, shape);
            if answer.status() == StatusCode::OK && own::is_endless(parts.uri.path()) {
                answer.extensions_mut().insert(Endless);
            }
            answer
        }
        Err(error) => error.answer(shape),
    }
}
