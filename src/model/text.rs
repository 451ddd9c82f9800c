//! Small formatters, so that things are said the same way everywhere.

use std::time::Duration;

pub(crate) use crate::sys::text::printable;

/// `0.3 s`, `12 s`, `3m 20s`, `2h 5m`, `4d 3h`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..=9 => format!("{:.1} s", duration.as_secs_f64()),
        10..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{}m {}s", seconds / 60, seconds % 60),
        7_200..=172_799 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// As [`duration`], and never `0.0 s`: that would be no time at all.
#[must_use]
pub fn brief(duration: Duration) -> String {
    self::duration(duration.max(Duration::from_millis(100)))
}

/// `just now`, and from one second on `12 s ago`.
#[must_use]
pub fn ago(since: Duration) -> String {
    if since < Duration::from_secs(1) { "just now".to_owned() } else { format!("{} ago", duration(since)) }
}

/// `12 ms`, and from one second on as [`duration`].
#[must_use]
pub fn short_duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        _ => duration(Duration::from_millis(milliseconds)),
    }
}

/// The local date and time: `2026-11-24 08:03:10`.
#[must_use]
pub fn local_time(at: crate::model::Timestamp) -> String {
    let Ok(at) = jiff::Timestamp::from_millisecond(at.0) else { return "?".to_owned() };
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%F %T").to_string()
}

/// The time of day where the reader is: `08:03:10`.
#[must_use]
pub fn clock(at: crate::model::Timestamp) -> String {
    let Ok(at) = jiff::Timestamp::from_millisecond(at.0) else { return "?".to_owned() };
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%T").to_string()
}

/// For programs: RFC 3339, UTC.
#[must_use]
pub fn rfc3339(at: crate::model::Timestamp) -> Option<String> {
    Some(jiff::Timestamp::from_millisecond(at.0).ok()?.to_string())
}

/// Joins columns of words into words of a sentence.
#[must_use]
pub fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `512 B`, `27.5 MiB`, `1.2 GiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // Shown to one decimal, so the rounding of a large u64 does not matter.
    #[expect(clippy::cast_precision_loss, reason = "shown to one decimal")]
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 model`, `2 models`.
#[must_use]
pub fn count(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_durations_and_sizes() {
        let shown = |ms| duration(Duration::from_millis(ms));
        assert_eq!(
            [shown(312), shown(59_000), shown(200_000), shown(7_500_000), shown(360_000_000)],
            ["0.3 s", "59 s", "3m 20s", "2h 5m", "4d 4h"]
        );
        let shown = |ms| brief(Duration::from_millis(ms));
        assert_eq!([shown(0), shown(49), shown(50), shown(312)], ["0.1 s", "0.1 s", "0.1 s", "0.3 s"]);
        assert_eq!([bytes(512), bytes(28_835_840), bytes(1 << 31)], ["512 B", "27.5 MiB", "2.0 GiB"]);
        assert_eq!([count(1, "model"), count(0, "model")], ["1 model", "0 models"]);
    }
}
