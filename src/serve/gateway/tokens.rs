//! How many tokens a request was, as llama-server says in its answer.
//!
//! Only the two ends of an answer are kept, so nothing here reads whole JSON: it finds
//! the last `"usage":` or `"timings":` and reads the object behind it. Text of the
//! model cannot pretend to be one: in a string, its quotes are escaped.

use std::borrow::Cow;
use std::sync::LazyLock;

use hyper::Method;
use memchr::memmem::Finder;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::record::Finished;

/// What finds a key in the text of an answer. Each is made once: that takes longer than
/// to read a small answer.
type Key = LazyLock<Finder<'static>>;

static USAGE: Key = LazyLock::new(|| Finder::new("\"usage\":"));
static TIMINGS: Key = LazyLock::new(|| Finder::new("\"timings\":"));
static EVALUATED: Key = LazyLock::new(|| Finder::new("\"tokens_evaluated\":"));
static PREDICTED: Key = LazyLock::new(|| Finder::new("\"tokens_predicted\":"));

/// The tokens of a request, as far as its answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Those of the prompt, cached ones included.
    pub prompt: Option<u32>,
    /// Those that the model generated.
    pub generated: Option<u32>,
}

/// `usage`, in the words of OpenAI and of Anthropic.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Usage {
    prompt_tokens: Option<u32>,
    input_tokens: Option<u32>,
    /// Anthropic counts these beside `input_tokens`.
    cache_read_input_tokens: u32,
    cache_creation_input_tokens: u32,
    completion_tokens: Option<u32>,
    output_tokens: Option<u32>,
}

/// llama-server's `timings`.
#[derive(Deserialize)]
struct Timings {
    /// Tokens of the prompt that were in the cache.
    #[serde(default)]
    cache_n: u32,
    /// The others.
    prompt_n: u32,
    predicted_n: u32,
}

impl Tokens {
    /// Reads the tokens of a request that is over.
    #[must_use]
    pub fn of(finished: &Finished) -> Self {
        if finished.status != Some(200) || finished.method != Method::POST {
            return Self::default();
        }
        let tail = match finished.tail.as_slices() {
            (tail, []) => Cow::Borrowed(tail),
            (one, other) => Cow::Owned([one, other].concat()),
        };
        Self::read(&finished.head, &tail)
    }

    /// Reads them from the first and the last bytes of an answer.
    fn read(head: &[u8], tail: &[u8]) -> Self {
        // Where a stream was cut off, each event still says how far it was.
        let event = || Self { prompt: last(tail, &EVALUATED), generated: last(tail, &PREDICTED) };
        let from_the_end = last(tail, &USAGE)
            .map(Usage::tokens)
            .or_else(|| last(tail, &TIMINGS).map(Timings::tokens))
            .unwrap_or_else(event);
        if from_the_end.prompt.is_some() {
            return from_the_end;
        }
        let from_the_beginning = last(head, &USAGE).map(Usage::tokens).unwrap_or_default();
        Self { prompt: from_the_beginning.prompt, generated: from_the_end.generated.or(from_the_beginning.generated) }
    }
}

impl Usage {
    fn tokens(self) -> Tokens {
        let cached = self.cache_read_input_tokens.saturating_add(self.cache_creation_input_tokens);
        let prompt = self.prompt_tokens.or_else(|| Some(self.input_tokens?.saturating_add(cached)));
        Tokens { prompt, generated: self.completion_tokens.or(self.output_tokens) }
    }
}

impl Timings {
    const fn tokens(self) -> Tokens {
        Tokens { prompt: Some(self.prompt_n.saturating_add(self.cache_n)), generated: Some(self.predicted_n) }
    }
}

/// Reads the value behind the last `key`.
fn last<T: DeserializeOwned>(text: &[u8], key: &Key) -> Option<T> {
    let at = key.find_iter(text).last()? + key.needle().len();
    // What follows the value is not read.
    T::deserialize(&mut serde_json::Deserializer::from_slice(&text[at..])).ok()
}

#[cfg(test)]
mod tests;
