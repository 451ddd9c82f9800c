//! The body of an answer, while it arrives.

use std::io;
use std::task::{Context, Poll, ready};

use hyper::body::{Frame, SizeHint};

use super::decode::{Framing, Part};
use super::{Exchange, Failure, Head, Line};
use bytes::Bytes;

/// The body of an answer. Dropped before its end, it closes the connection; at its
/// end it gives the connection back.
pub struct Incoming {
    line: Option<Line>,
    framing: Framing,
    keeps: bool,
}

impl Exchange {
    /// Splits the answer into head and body.
    pub fn into_parts(self) -> (Head, Incoming) {
        let Self { head, line } = self;
        let mut body = Incoming { line: Some(line), framing: head.framing, keeps: head.keeps };
        body.end_if_done();
        (head, body)
    }
}

impl Incoming {
    /// Whether the server has sent everything.
    pub fn has_ended(&self) -> bool {
        self.framing == Framing::Done
    }

    /// How much is left.
    pub fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Done => SizeHint::with_exact(0),
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::Chunked(_) | Framing::Close => SizeHint::default(),
        }
    }

    /// Returns all that has arrived, in one frame.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        while let Some(connection) = self.line.as_mut().and_then(Line::connection) {
            let part = self.framing.take(&mut connection.buffer)?;
            if part.is_none() && self.framing != Framing::Done && ready!(connection.poll_fill(cx))? == 0 {
                if self.framing != Framing::Close {
                    let early = io::Error::new(io::ErrorKind::UnexpectedEof, "in the middle of its answer");
                    return Poll::Ready(Some(Err(early.into())));
                }
                self.framing = Framing::Done;
            }
            self.end_if_done();
            match part {
                Some(Part::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Part::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                None => {}
            }
        }
        Poll::Ready(None)
    }

    fn end_if_done(&mut self) {
        if self.has_ended()
            && let Some(line) = self.line.take()
            && self.keeps
        {
            line.keep();
        }
    }
}
