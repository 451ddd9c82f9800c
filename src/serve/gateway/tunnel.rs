//! Connections that stop to speak HTTP: web sockets below `/upstream/NAME/`.

use std::io::Cursor;

use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};

use super::errors::Error;
use super::headers;
use super::lease::Lease;
use super::record::{End, Record};
use super::upstream::Exchange;
use crate::serve::body::{Answer, empty};
use crate::serve::server::Open;

/// A client's connection that is about to speak another protocol.
pub struct Upgrade {
    client: OnUpgrade,
    open: Option<Open>,
}

impl Upgrade {
    /// Returns the connection of a request, if it asks for that.
    pub fn of(client: OnUpgrade, parts: &Parts) -> Option<Self> {
        headers::asks_for_upgrade(parts).then(|| Self { client, open: parts.extensions.get().cloned() })
    }
}

/// Passes on the server's agreement, and from then on every byte, both ways.
pub fn begin(
    mut exchange: Exchange,
    lease: Option<Lease>,
    upgrade: Option<Upgrade>,
    mut record: Record,
) -> Result<Answer, Error> {
    let unasked = || Error::upstream("the server switched protocols, and the client did not ask for it");
    let (connection, upgrade) = exchange.line.take().zip(upgrade).ok_or_else(unasked)?;
    let mut answer = Response::new(empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *answer.headers_mut() = exchange.head.headers;
    headers::switched(answer.headers_mut());
    tokio::spawn(async move {
        let Upgrade { client, open } = upgrade;
        let _until_the_end = (lease, exchange.line, open);
        let (server, first) = connection.into_parts();
        // A client that left needs no tunnel.
        let Ok(client) = client.await else { return };
        let (from_server, mut to_server) = tokio::io::split(server);
        let (mut from_client, mut to_client) = tokio::io::split(TokioIo::new(client));
        let mut from_server = Cursor::new(first).chain(from_server);
        // A web socket ends on both sides when one of them closes its connection.
        record.ends(tokio::select! {
            _ = copy(&mut from_client, &mut to_server) => End::ClientLeft,
            _ = copy(&mut from_server, &mut to_client) => End::Complete,
        });
        // Both may be gone by now.
        let _ = (to_client.shutdown().await, to_server.shutdown().await);
    });
    Ok(answer)
}
