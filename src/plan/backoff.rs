//! When to retry a crashed model.

use std::time::Duration;

use crate::model::{Crashes, InstanceRecord, Timestamp, backoff};

/// The delay after the first crash.
const FIRST: Duration = Duration::from_secs(1);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(300);
/// A server seen ready this long after its start had recovered: the next
/// crash counts as the first.
pub const RECOVERED_AFTER: Duration = Duration::from_secs(600);

/// The delay between a start and the next try after `crashes` in a row.
#[must_use]
pub fn delay(crashes: u32) -> Duration {
    backoff(crashes, FIRST, LONGEST)
}

/// When the next try is due; `None`: now.
///
/// It counts from the last *start*, so a server that had run for a while is
/// back at once. A start in the future (the clock was set back) counts as now;
/// [`anchored`] sees to it that it does so once.
#[must_use]
pub fn next_try(crashes: Crashes, now: Timestamp) -> Option<Timestamp> {
    let due = crashes.last_start?.min(now).plus(delay(crashes.count));
    (due > now).then_some(due)
}

/// The crash count once `instance` has died.
#[must_use]
pub fn after_crash(before: Crashes, instance: &InstanceRecord, now: Timestamp) -> Crashes {
    let recovered = instance.ready.is_some_and(|(_, last)| last.since(instance.started_at) >= RECOVERED_AFTER);
    let count = if recovered { 1 } else { before.count.saturating_add(1) };
    Crashes { count, last_start: Some(instance.started_at.min(now)) }
}

/// The crashes as they are to be recorded when the clock was set back to before
/// the last start: that counts as now, and once, or it would for ever.
#[must_use]
pub fn anchored(crashes: Crashes, now: Timestamp) -> Option<Crashes> {
    (crashes.last_start? > now).then_some(Crashes { last_start: Some(now), ..crashes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_from_one_second_to_five_minutes() {
        let seconds: Vec<u64> = (0..12).map(|n| delay(n).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(delay(u32::MAX), LONGEST);
    }

    #[test]
    fn a_server_that_had_run_for_longer_than_the_delay_restarts_at_once() {
        let crashes = Crashes { count: 1, last_start: Some(Timestamp(1_000)) };
        assert_eq!(next_try(crashes, Timestamp(1_500)), Some(Timestamp(2_000)));
        assert_eq!(next_try(crashes, Timestamp(2_000)), None);
    }

    #[test]
    fn a_clock_set_back_never_makes_it_wait_longer_than_the_delay() {
        let crashes = Crashes { count: 1, last_start: Some(Timestamp(1_000_000)) };
        assert_eq!(next_try(crashes, Timestamp(5_000)), Some(Timestamp(6_000)));
    }

    #[test]
    fn a_start_in_the_future_is_recorded_as_now_and_any_other_as_it_is() {
        let crashes = Crashes { count: 3, last_start: Some(Timestamp(5_001)) };
        let now = Crashes { count: 3, last_start: Some(Timestamp(5_000)) };
        assert_eq!(anchored(crashes, Timestamp(5_000)), Some(now));
        assert_eq!(anchored(now, Timestamp(5_000)), None);
        assert_eq!(anchored(Crashes::default(), Timestamp(5_000)), None);
    }

    #[test]
    fn without_a_crash_there_is_nothing_to_wait_for() {
        let crashes = Crashes { count: 0, last_start: Some(Timestamp(5_000)) };
        assert_eq!(next_try(crashes, Timestamp(5_000)), None);
        assert_eq!(next_try(crashes, Timestamp(4_000)), None);
    }
}
