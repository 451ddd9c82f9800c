//! A body on its way: the bytes that have been read are kept, so that they can be
//! sent again, and the others follow as they arrive.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::NamingError;
use super::encoding::Decoder;
use super::spool::{Kept, Part, Spool};
use crate::serve::body::{Body, BodyError};

/// The body of a request, to be sent upstream as often as needed.
///
/// While this value lives, everything that an [`Attempt`] reads is kept for the next
/// one; drop it when the answer begins, and the rest passes through.
pub struct ForwardBody(Arc<Mutex<Shared>>);

struct Shared {
    /// `None`: it has been read to its end.
    source: Option<Source>,
    kept: Kept,
    /// How many bytes have been read.
    read: u64,
    /// The chunk that is being kept.
    keeping: Option<Bytes>,
    trailers: Option<HeaderMap>,
    /// Its length, if it is known.
    length: Option<u64>,
    /// The client's body failed.
    failed: Option<NamingError>,
    /// Not everything that was read could be kept.
    lost: Option<NamingError>,
}

/// What arrives from the client.
struct Source {
    body: Body,
    decoder: Option<Decoder>,
    /// The decoder has input left.
    has_more: bool,
    /// How many bytes may follow; `None`: any number.
    left: Option<u64>,
    most: u64,
}

impl ForwardBody {
    /// Returns a body of which nothing has been read. `most`: the largest that is
    /// accepted, decoded, bytes.
    pub(super) fn new<B>(
        body: B,
        decoder: Option<Decoder>,
        length: Option<u64>,
        most: Option<u64>,
        spool: &Spool,
    ) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let is_empty = body.is_end_stream();
        let source = (!is_empty).then(|| Source {
            body: body.map_err(Into::into).boxed_unsync(),
            decoder,
            has_more: false,
            left: most,
            most: most.unwrap_or(u64::MAX),
        });
        Self(Arc::new(Mutex::new(Shared {
            source,
            kept: Kept::new(spool.clone(), most),
            read: 0,
            keeping: None,
            trailers: None,
            length: if is_empty { Some(0) } else { length },
            failed: None,
            lost: None,
        })))
    }

    /// Returns the body from its first byte. Only one attempt at a time may be read:
    /// drop the last one before.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        Attempt { shared: Arc::clone(&self.0), at: 0, reading: None, is_over: false }
    }

    /// Whether another [`Self::attempt`] can send it all.
    #[must_use]
    pub fn is_replayable(&self) -> bool {
        let shared = self.shared();
        shared.failed.is_none() && shared.lost.is_none()
    }

    /// Whether the client has sent all of it.
    #[must_use]
    pub fn has_arrived(&self) -> bool {
        let shared = self.shared();
        shared.source.is_none() || shared.length == Some(shared.read)
    }

    /// Returns all of it if it is small and has arrived, as most are.
    #[cfg(test)]
    #[must_use]
    pub fn whole(&self) -> Option<Bytes> {
        let shared = self.shared();
        let has_all = shared.source.is_none() && shared.failed.is_none() && shared.trailers.is_none();
        has_all.then(|| shared.kept.whole()).flatten()
    }

    /// Its length in bytes, once it is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.shared().length
    }

    /// Why the client's body ended before its end, if it did: the error of an attempt
    /// is this one, and the client's answer should say so.
    #[cfg(test)]
    #[must_use]
    pub fn failure(&self) -> Option<NamingError> {
        self.shared().failed.clone()
    }

    pub(super) fn lost(&self) -> Option<NamingError> {
        self.shared().lost.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for ForwardBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shared = self.shared();
        f.debug_struct("ForwardBody")
            .field("read", &shared.read)
            .field("length", &shared.length)
            .finish_non_exhaustive()
    }
}

/// One try to send a body.
pub struct Attempt {
    shared: Arc<Mutex<Shared>>,
    /// How many bytes it has returned.
    at: u64,
    /// A part that is read from the disk.
    reading: Option<JoinHandle<std::io::Result<Bytes>>>,
    is_over: bool,
}

impl Attempt {
    /// Returns the next bytes; `None`: there are no more.
    ///
    /// # Errors
    /// The client's body failed, or what was kept cannot be read.
    pub async fn next(&mut self) -> Option<Result<Bytes, NamingError>> {
        loop {
            match std::future::poll_fn(|cx| self.poll(cx)).await? {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, NamingError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        // Nobody will read it again.
        let is_last = Arc::strong_count(&self.shared) == 1;
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = if let Some(reading) = &mut self.reading {
            let read = ready!(Pin::new(reading).poll(cx));
            self.reading = None;
            read.map_err(std::io::Error::other).flatten().map_err(|cause| shared.kept.no_room(cause))
        } else {
            match shared.kept.read(self.at) {
                Part::Here(bytes) => Ok(bytes),
                Part::Stored(reading) => {
                    self.reading = Some(reading);
                    drop(shared);
                    return self.poll(cx);
                }
                Part::End if self.at < shared.read => {
                    let gone = || NamingError::Broken("it was sent already, and not kept".to_owned());
                    Err(shared.lost.clone().unwrap_or_else(gone))
                }
                Part::End => match ready!(shared.poll_more(cx, is_last)) {
                    Some(bytes) => bytes,
                    None => {
                        self.is_over = true;
                        return Poll::Ready(shared.trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))));
                    }
                },
            }
        };
        match &bytes {
            Ok(bytes) => self.at += bytes.len() as u64,
            Err(_) => self.is_over = true,
        }
        Poll::Ready(Some(bytes.map(Frame::data)))
    }
}

impl HttpBody for Attempt {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.poll(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let is_read = shared.source.is_none() && shared.failed.is_none() && shared.trailers.is_none();
        self.is_over || (is_read && self.at == shared.read)
    }

    fn size_hint(&self) -> SizeHint {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.length.map_or_else(SizeHint::default, |length| SizeHint::with_exact(length.saturating_sub(self.at)))
    }
}

impl Shared {
    /// Reads on in what arrives, and keeps it unless this is the last attempt.
    fn poll_more(&mut self, cx: &mut Context<'_>, is_last: bool) -> Poll<Option<Result<Bytes, NamingError>>> {
        loop {
            if self.keeping.is_some() {
                if let Err(error) = ready!(self.kept.poll_kept(cx)) {
                    self.lost = Some(error);
                }
                let bytes = self.keeping.take();
                self.read += bytes.as_ref().map_or(0, |bytes| bytes.len() as u64);
                return Poll::Ready(bytes.map(Ok));
            }
            if let Some(failed) = &self.failed {
                return Poll::Ready(Some(Err(failed.clone())));
            }
            let Some(source) = &mut self.source else { return Poll::Ready(None) };
            match ready!(source.poll(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => self.take(bytes, is_last),
                    Err(other) => self.trailers = other.into_trailers().ok(),
                },
                Some(Err(error)) => {
                    self.source = None;
                    self.failed = Some(error);
                }
                None => {
                    self.source = None;
                    self.length = Some(self.read);
                }
            }
        }
    }

    fn take(&mut self, bytes: Bytes, is_last: bool) {
        if bytes.is_empty() {
            return;
        }
        // What is kept has no gaps.
        if !is_last && self.kept.length() == self.read {
            self.kept.keep(&bytes);
        }
        self.keeping = Some(bytes);
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, NamingError>>> {
        loop {
            if self.has_more
                && let Some(decoder) = &mut self.decoder
            {
                match decoder.next() {
                    Ok(Some(bytes)) if bytes.is_empty() => return Poll::Ready(None),
                    Ok(Some(bytes)) => return Poll::Ready(Some(self.within(bytes))),
                    Ok(None) => self.has_more = false,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                }
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(NamingError::Broken(error.to_string())))),
                None => match &mut self.decoder {
                    Some(decoder) if !decoder.has_ended() => {
                        decoder.end();
                        self.has_more = true;
                        continue;
                    }
                    _ => return Poll::Ready(None),
                },
            };
            match (frame.into_data(), &mut self.decoder) {
                (Ok(bytes), None) => return Poll::Ready(Some(self.within(bytes))),
                (Ok(bytes), Some(decoder)) => {
                    decoder.push(bytes);
                    self.has_more = true;
                }
                (Err(trailers), _) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
    }

    /// Counts the bytes against the limit.
    fn within(&mut self, bytes: Bytes) -> Result<Frame<Bytes>, NamingError> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes.len() as u64).ok_or(NamingError::TooLarge(self.most))?;
        }
        Ok(Frame::data(bytes))
    }
}
