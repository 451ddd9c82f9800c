//! The events over a web socket.

use futures_util::{SinkExt, StreamExt};
use hyper::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use super::events::{PATIENCE, Reader};
use crate::serve::body::{Answer, empty};
use crate::serve::gateway::errors::Error;

/// The largest message of a client, bytes: what it says is not read.
const LARGEST: usize = 64 << 10;

/// Agrees, and sends the reader's messages from then on.
pub(super) fn begin(reader: Reader, parts: &Parts, upgrade: OnUpgrade) -> Result<Answer, Error> {
    let is_web_socket = parts.headers.get(UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let key = parts.headers.get(SEC_WEBSOCKET_KEY).filter(|_| is_web_socket && parts.method == Method::GET);
    let Some(key) = key else {
        return Err(Error::invalid("this path speaks web socket or server-sent events"));
    };
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| Error::invalid("the key of the web socket cannot be answered"))?;
    tokio::spawn(async move {
        // A client that left needs no answer.
        if let Ok(connection) = upgrade.await {
            let config = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(config)).await;
            let _left = speak(reader, socket).await;
        }
    });
    let mut answer = Response::new(empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(answer)
}

type Connection = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// Sends until one side ends; `None`: the client has left, or takes nothing.
async fn speak(mut reader: Reader, socket: Connection) -> Option<()> {
    let (mut sink, mut stream) = socket.split();
    loop {
        let messages = tokio::select! {
            messages = reader.next() => messages,
            // Reading answers pings, and sees that the client leaves.
            said = stream.next() => match said {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => continue,
            },
        };
        let Some(messages) = messages else {
            return tokio::time::timeout(PATIENCE, sink.close()).await.ok()?.ok();
        };
        for message in messages {
            let text = Utf8Bytes::try_from(message.text).ok()?;
            tokio::time::timeout(PATIENCE, sink.send(Message::Text(text))).await.ok()?.ok()?;
        }
    }
}
