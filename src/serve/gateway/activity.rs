//! The last requests, without their contents.
//!
//! Memory is bounded: [`LIMIT`] entries of a fixed size, whose texts are shared or no
//! longer than [`LONGEST`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::record::{End, Finished};
use super::tokens::Tokens;
use crate::model::{ModelName, Timestamp};

/// How many requests are kept.
pub const LIMIT: usize = 10_000;

/// How many bytes of a method and path are kept: they are the client's choice.
const LONGEST: usize = 48;

/// How many methods and paths are remembered to share them.
const SHARED: usize = 16;

/// A request that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it arrived.
    pub at: Timestamp,
    /// Its model, once that was known.
    pub model: Option<ModelName>,
    /// The name of the client's key.
    pub key: Option<Arc<str>>,
    /// Its method and path without the query, `POST /v1/chat/completions`; a long one
    /// ends in `…`.
    pub request: Arc<str>,
    /// The status of the answer; `None`: the client left before there was one.
    pub status: Option<u16>,
    /// From its arrival to the head of the answer.
    pub first_byte: Option<Duration>,
    /// From its arrival to its end.
    pub took: Duration,
    /// How long of that it waited for an instance.
    pub waited: Duration,
    /// How often it was sent again to another instance.
    pub retries: u32,
    /// Its tokens, as far as its answer says.
    pub tokens: Tokens,
    /// How it ended.
    pub end: End,
}

/// What follows the head of an answer by less than this came with it.
const AT_ONCE: Duration = Duration::from_millis(5);

impl Entry {
    /// Returns how many tokens the model generated in a second: of a stream since the
    /// first, else since the server was asked; `None`: too few to say.
    #[must_use]
    pub fn tokens_per_second(&self) -> Option<f64> {
        let tokens = self.tokens.generated.filter(|tokens| *tokens > 1)?;
        let streamed = self.took.saturating_sub(self.first_byte?);
        let time = if streamed > AT_ONCE { streamed } else { self.took.saturating_sub(self.waited) };
        (!time.is_zero()).then(|| f64::from(tokens) / time.as_secs_f64())
    }
}

/// The last [`LIMIT`] requests.
#[derive(Debug, Default)]
pub struct Activity(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// In the order in which they ended.
    entries: VecDeque<Entry>,
    /// Methods and paths seen last.
    requests: VecDeque<Arc<str>>,
}

impl Activity {
    /// Adds a request that is over; the oldest one makes room.
    pub fn add(&self, finished: &Finished, tokens: Tokens) {
        let took = finished.ended.duration_since(finished.started);
        // It has ended just now.
        let ago = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        let at = Timestamp(jiff::Timestamp::now().as_millisecond()).shifted(-ago);
        let mut kept = self.kept();
        let request = kept.shared(finished.method.as_str(), &finished.path);
        kept.make_room();
        let entry = Entry {
            at,
            model: finished.model.clone(),
            key: finished.caller.clone(),
            request,
            status: finished.status,
            first_byte: finished.first_byte,
            took,
            waited: finished.waited,
            retries: finished.retries,
            tokens,
            end: finished.end,
        };
        kept.entries.push_back(entry);
    }

    /// Returns the tokens per second of each model's last request that tells them.
    #[must_use]
    pub fn speeds(&self) -> HashMap<ModelName, f64> {
        let mut speeds = HashMap::new();
        for entry in self.kept().entries.iter().rev() {
            let Some(model) = entry.model.as_ref().filter(|model| !speeds.contains_key(*model)) else { continue };
            speeds.extend(entry.tokens_per_second().map(|speed| (model.clone(), speed)));
        }
        speeds
    }

    /// Returns the last `count` requests, the one that ended last first.
    #[must_use]
    pub fn last(&self, count: usize) -> Vec<Entry> {
        self.kept().entries.iter().rev().take(count).cloned().collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Makes room for one more entry: never for more than [`LIMIT`].
    fn make_room(&mut self) {
        let number = self.entries.len();
        if number == LIMIT {
            self.entries.pop_front();
        } else if number == self.entries.capacity() {
            self.entries.reserve_exact(number.max(64).min(LIMIT - number));
        }
    }

    /// Returns a method and path as shared text: most clients ask for few of them.
    fn shared(&mut self, method: &str, path: &str) -> Arc<str> {
        let is_it =
            |known: &&Arc<str>| known.strip_prefix(method).and_then(|rest| rest.strip_prefix(' ')) == Some(path);
        if let Some(known) = self.requests.iter().find(is_it) {
            return Arc::clone(known);
        }
        let mut text: String = [method, " ", path].concat();
        if text.len() > LONGEST {
            let end = (0..=LONGEST - '…'.len_utf8()).rev().find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or_default());
            text.push('…');
        }
        let text = Arc::from(text);
        if self.requests.len() == SHARED {
            self.requests.pop_front();
        }
        self.requests.push_back(Arc::clone(&text));
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Instant;

    use hyper::Method;

    use super::*;

    fn finished(path: String) -> Finished {
        Finished {
            caller: Some("ann".into()),
            model: ModelName::parse("a").ok(),
            method: Method::POST,
            path,
            is_own: false,
            status: Some(200),
            started: Instant::now(),
            waited: Duration::ZERO,
            held: false,
            first_byte: Some(Duration::ZERO),
            ended: Instant::now(),
            retries: 0,
            bytes: 0,
            head: Vec::new(),
            tail: VecDeque::new(),
            end: End::Complete,
        }
    }

    #[test]
    fn the_last_requests_are_kept_newest_first() {
        let activity = Activity::default();
        for number in 0..LIMIT + 5 {
            activity.add(&finished(format!("/{}", number % 3)), Tokens::default());
        }
        let paths = |count| activity.last(count).iter().map(|entry| entry.request.to_string()).collect::<Vec<_>>();
        assert_eq!(paths(3), ["POST /2", "POST /1", "POST /0"]);
        assert_eq!(activity.last(usize::MAX).len(), LIMIT);
        let now = Timestamp(jiff::Timestamp::now().as_millisecond());
        assert!(now.since(activity.last(1)[0].at) < Duration::from_secs(60));
    }

    #[test]
    fn a_speed_is_that_of_generating() {
        let activity = Activity::default();
        let ms = Duration::from_millis;
        let add = |first_byte, ended, waited, generated| {
            let mut finished = finished("/".to_owned());
            (finished.first_byte, finished.waited) = (Some(ms(first_byte)), ms(waited));
            finished.ended = finished.started + ms(ended);
            activity.add(&finished, Tokens { prompt: None, generated });
            activity.speeds().into_values().next()
        };
        assert_eq!(add(10, 20, 0, None), None);
        // A stream: the prompt and the wait do not count.
        assert_eq!(add(1000, 3000, 500, Some(100)), Some(50.0));
        // An answer that came at once.
        assert_eq!(add(2499, 2500, 500, Some(100)), Some(50.0));
        // One token says nothing new.
        assert_eq!(add(10, 2500, 0, Some(1)), Some(50.0));
    }

    #[test]
    fn no_client_makes_it_larger_than_200_bytes_an_entry() {
        let activity = Activity::default();
        for number in 0..LIMIT * 2 {
            activity.add(&finished(format!("/{number}/ä{}", "ö".repeat(5_000))), Tokens::default());
        }
        let kept = activity.kept();
        assert_eq!(kept.requests.len(), SHARED);
        // The text, and the two counts of its Arc.
        let texts: usize = kept.entries.iter().map(|entry| entry.request.len() + 2 * size_of::<usize>()).sum();
        let bytes = kept.entries.capacity() * size_of::<Entry>() + texts;
        assert!(bytes <= 200 * LIMIT, "{bytes} bytes");
    }

    #[test]
    fn a_path_that_many_ask_for_is_kept_once() {
        let activity = Activity::default();
        (0..100).for_each(|_| activity.add(&finished("/v1/chat/completions".to_owned()), Tokens::default()));
        let entries = activity.last(100);
        assert!(entries.iter().all(|entry| Arc::ptr_eq(&entry.request, &entries[0].request)));
        assert_eq!(&*entries[0].request, "POST /v1/chat/completions");
    }
}
