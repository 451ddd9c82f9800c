//! When to retry a delivery that failed, and when to give it up: pure.

use std::time::Duration;

use crate::model::{Timestamp, backoff};

/// The pause after the first failure.
const FIRST: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(3600);
/// What could not be delivered for this long is given up.
pub const GIVEN_UP_AFTER: Duration = Duration::from_secs(12 * 3600);

/// What becomes of a delivery that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is tried again then.
    Try(Timestamp),
    /// It is not.
    GiveUp,
}

/// What follows the failure number `failures` (from 1) of what there has been
/// to tell since `since`.
#[must_use]
pub fn next(failures: u32, since: Timestamp, now: Timestamp) -> Next {
    if now.since(since) >= GIVEN_UP_AFTER {
        return Next::GiveUp;
    }
    Next::Try(now.plus(backoff(failures, FIRST, LONGEST)))
}

/// How long to wait for a try that is due at `at`. No pause is longer than
/// [`LONGEST`]: if one seems to be, the clock was set back.
#[must_use]
pub fn wait(at: Timestamp, now: Timestamp) -> Duration {
    let wait = now.until(at);
    if wait > LONGEST { Duration::ZERO } else { wait }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_from_five_seconds_to_an_hour_and_half_a_day_is_the_end() {
        let pauses: Vec<i64> = (1..=12)
            .map(|failures| match next(failures, Timestamp(0), Timestamp(0)) {
                Next::Try(Timestamp(at)) => at / 1000,
                Next::GiveUp => -1,
            })
            .collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
        let half_a_day = 12 * 3600 * 1000;
        assert_eq!(next(1, Timestamp(0), Timestamp(half_a_day)), Next::GiveUp);
        assert!(matches!(next(u32::MAX, Timestamp(0), Timestamp(half_a_day - 1)), Next::Try(_)));
    }

    #[test]
    fn a_clock_that_was_set_back_holds_up_nothing() {
        assert_eq!(wait(Timestamp(5_000), Timestamp(1_000)), Duration::from_secs(4));
        assert_eq!(wait(Timestamp(1_000), Timestamp(5_000)), Duration::ZERO);
        assert_eq!(wait(Timestamp(3_600_001), Timestamp(0)), Duration::ZERO);
    }
}
