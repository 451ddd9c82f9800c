//! What happens often, and is logged now and then.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it is logged, at most.
const PERIOD: Duration = Duration::from_secs(60);

/// Counts what is not logged.
#[derive(Debug, Default)]
pub(super) struct Seldom(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    said: Option<Instant>,
    unsaid: u64,
}

/// How often it has happened since it was last logged; shown behind a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Times(u64);

impl Seldom {
    /// Counts one more, and returns how many there were if this is the time to say so:
    /// the first at once, others a minute later.
    pub fn happens(&self, now: Instant) -> Option<Times> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.unsaid += 1;
        if state.said.is_some_and(|said| now.saturating_duration_since(said) < PERIOD) {
            return None;
        }
        state.said = Some(now);
        Some(Times(std::mem::take(&mut state.unsaid)))
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => Ok(()),
            times => write!(f, " ({times} times since this was last logged)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_the_first_at_once_and_counts_the_others() {
        let (seldom, begin) = (Seldom::default(), Instant::now());
        let at = |seconds| seldom.happens(begin + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(59), at(60), at(61)], [Some(Times(1)), None, None, Some(Times(3)), None]);
        assert_eq!(at(200).map(|times| times.to_string()).as_deref(), Some(" (2 times since this was last logged)"));
        assert_eq!(at(300).map(|times| times.to_string()).as_deref(), Some(""));
    }
}
