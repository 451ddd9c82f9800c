//! What each model may say, and when: its weights say their own number, which an edit
//! changes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long an edit may take to be what a model says: the debounce, a lock of the
/// database, the drain and the start of the server, behind those of other models.
const LAG: Duration = Duration::from_secs(45);

/// The generations of the models, by their numbers.
#[derive(Default)]
pub struct Texts(Mutex<BTreeMap<String, Model>>);

#[derive(Default)]
struct Model {
    /// When each was saved.
    saved: Vec<Instant>,
    /// The last one that a client has seen.
    seen: usize,
    /// How long after the next one was saved a request still got an answer of the one
    /// before.
    lag: Duration,
}

impl Texts {
    /// Notes that the next generation is about to be saved, and returns its number.
    pub fn save(&self, model: &str) -> usize {
        self.with(model, |model| {
            model.saved.push(Instant::now());
            model.saved.len() - 1
        })
    }

    /// Returns the last generation that a client has seen.
    pub fn seen(&self, model: &str) -> usize {
        self.with(model, |model| model.seen)
    }

    /// Returns the last generation that was saved.
    pub fn last(&self, model: &str) -> usize {
        self.with(model, |model| model.saved.len() - 1)
    }

    /// Whether an answer is of one generation, and of one that was current while it was
    /// asked for: `since` then, when `seen_before` was the last one seen, until now.
    pub fn judge(&self, model: &str, said: &str, since: Instant, seen_before: usize) -> Result<(), String> {
        let mut words: Vec<&str> = said.split_whitespace().collect();
        words.dedup();
        let wrong = |why: &str| Err(format!("{model} says {said:?}, which is {why}"));
        let number = match words[..] {
            [word] => word.strip_prefix(model).and_then(|rest| rest.strip_prefix('-')?.parse::<usize>().ok()),
            [] => return wrong("nothing"),
            _ => return wrong("of more than one generation"),
        };
        let Some(number) = number else { return wrong("not of this model") };
        self.with(model, |model| {
            if number >= model.saved.len() {
                return wrong("of a generation that is not saved yet");
            }
            if number < seen_before {
                return wrong(&format!("older than generation {seen_before}, seen before the request"));
            }
            if let Some(next) = model.saved.get(number + 1) {
                let lag = since.saturating_duration_since(*next);
                model.lag = model.lag.max(lag);
                if lag > LAG {
                    return wrong(&format!("replaced {lag:?} before the request"));
                }
            }
            model.seen = model.seen.max(number);
            Ok(())
        })
    }

    /// The longest lag of any model.
    pub fn longest_lag(&self) -> Duration {
        self.0.lock().unwrap().values().map(|model| model.lag).max().unwrap_or_default()
    }

    fn with<T>(&self, model: &str, f: impl FnOnce(&mut Model) -> T) -> T {
        f(self.0.lock().unwrap().entry(model.to_owned()).or_default())
    }
}
