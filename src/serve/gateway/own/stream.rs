//! Bodies that are written while they are sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Bytes, Frame};
use tokio::sync::mpsc;

use crate::serve::body::{Body, BodyError};

/// How many pieces wait for a slow client; then their writer waits, too.
const PIECES: usize = 4;

/// Writes a body; the body ends when this is dropped.
pub(in crate::serve) struct Writer(mpsc::Sender<Bytes>);

/// Returns a body and what writes it.
pub(in crate::serve) fn stream() -> (Writer, Body) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (Writer(sender), Streamed(receiver).boxed_unsync())
}

/// The client has left.
pub(in crate::serve) struct Left;

impl Writer {
    /// Sends a piece, once the client has taken enough of those before.
    pub async fn write(&self, piece: impl Into<Bytes>) -> Result<(), Left> {
        self.0.send(piece.into()).await.map_err(|_| Left)
    }

    /// Waits until the client has left.
    pub async fn left(&self) {
        self.0.closed().await;
    }
}

struct Streamed(mpsc::Receiver<Bytes>);

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
