//! Small questions to servers: what the gateway has to know itself.

use std::future::poll_fn;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Request;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::owner::settings::serve::Serve;
use crate::serve::body::full;
use crate::serve::gateway::naming::{self, Spool};
use crate::serve::gateway::upstream::Request as Sent;
use crate::serve::gateway::{Backend, Gateway, headers};

/// How long a server may take to answer. With 40 requests in flight it takes 2 ms.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The most bytes of an answer that are read.
const LARGEST: usize = 4 << 20;

/// Gets `path` from a server, or posts `body` to it; `None`: there is no answer that can
/// be read.
pub(super) async fn ask<T: DeserializeOwned>(
    gateway: &Gateway,
    backend: &Backend,
    path: &str,
    body: Option<&Value>,
) -> Option<T> {
    tokio::time::timeout(TIMEOUT, answer(gateway, backend, path, body)).await.ok()?
}

async fn answer<T: DeserializeOwned>(
    gateway: &Gateway,
    backend: &Backend,
    path: &str,
    body: Option<&Value>,
) -> Option<T> {
    let (request, body) = match body {
        None => (Request::get(path), Vec::new()),
        Some(body) => {
            let body = serde_json::to_vec(body).ok()?;
            let request = Request::post(path).header(CONTENT_TYPE, "application/json");
            (request.header(CONTENT_LENGTH, body.len()), body)
        }
    };
    let parts = request.body(()).ok()?.into_parts().0;
    // So short a question needs no file.
    let nowhere = Spool::at(PathBuf::new());
    let named = naming::as_it_is(&parts, full(body), &Serve::default(), &nowhere).ok()?;
    let head = headers::request(&parts, path, backend, &named, &[]);
    let sent = Sent { method: &parts.method, head: &head, is_chunked: named.length.is_none() };
    let (head, mut body) = gateway.pools().send(backend, sent, &named.body).await.ok()?.into_parts();
    if !head.status.is_success() {
        return None;
    }
    let mut answer = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.poll(cx)).await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if answer.len() + data.len() > LARGEST {
            return None;
        }
        answer.extend_from_slice(&data);
    }
    serde_json::from_slice(&answer).ok()
}
