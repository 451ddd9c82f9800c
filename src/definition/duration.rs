//! Durations as people write them: `10m`, `1h30m`, `500ms`.

use std::time::Duration;

/// The units, longest first: the order they must be written in.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest duration accepted: deadlines are computed from it.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// The help for an invalid duration.
pub(crate) const EXAMPLES: &str = "write it like `\"30s\"`, `\"10m\"` or `\"1h30m\"`; the units are h, m, s and ms";

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text is empty.
    #[error("a duration cannot be empty")]
    Empty,
    /// A part does not start with a whole number.
    #[error("`{0}` is not a whole number followed by a unit")]
    Number(String),
    /// A number is followed by something that is not a unit.
    #[error("`{0}` is not a unit of time")]
    Unit(String),
    /// A number has no unit.
    #[error("`{0}` has no unit")]
    NoUnit(String),
    /// Units are repeated or out of order.
    #[error("units must go from longest to shortest, each at most once")]
    Order,
    /// Longer than the limit.
    #[error("a duration is at most 720h")]
    TooLong,
}

/// Reads a duration: whole numbers, each with a unit, without blanks or sign.
///
/// # Errors
/// [`DurationError`] says which part is invalid.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let (mut rest, mut milliseconds, mut units) = (text, 0_u64, UNITS.iter());
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(letters);
        if number.is_empty() {
            return Err(DurationError::Number(text.to_owned()));
        }
        if unit.is_empty() {
            return Err(DurationError::NoUnit(number.to_owned()));
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(DurationError::Unit(unit.to_owned()));
        }
        let (_, factor) = units.find(|(name, _)| *name == unit).ok_or(DurationError::Order)?;
        // A number too large for u64 is also too long.
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
        milliseconds = part.and_then(|part| part.checked_add(milliseconds)).ok_or(DurationError::TooLong)?;
        rest = next;
    }
    let duration = Duration::from_millis(milliseconds);
    if duration > LONGEST { Err(DurationError::TooLong) } else { Ok(duration) }
}

/// Formats a duration as [`parse`] reads it, in the longest units and without parts
/// of a millisecond.
pub(super) fn text(duration: Duration) -> String {
    let (mut text, mut rest) = (String::new(), duration.as_millis());
    for (unit, factor) in UNITS {
        let factor = u128::from(factor);
        if rest >= factor {
            text += &format!("{}{unit}", rest / factor);
            rest %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A regular expression for the texts that [`parse`] accepts. It also matches the
/// empty text, and durations that are too long.
pub(super) fn pattern() -> String {
    format!("^{}$", UNITS.map(|(unit, _)| format!("([0-9]+{unit})?")).concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_add_up() {
        let seconds = |text| parse(text).map(|d| d.as_secs_f64());
        assert_eq!(seconds("30s"), Ok(30.0));
        assert_eq!(seconds("10m"), Ok(600.0));
        assert_eq!(seconds("1h30m"), Ok(5400.0));
        assert_eq!(seconds("500ms"), Ok(0.5));
        assert_eq!(seconds("1m1s1ms"), Ok(61.001));
        assert_eq!(seconds("0s"), Ok(0.0));
        assert_eq!(seconds("720h"), Ok(2_592_000.0));
    }

    #[test]
    fn refuses_anything_else_with_the_reason() {
        assert_eq!(parse(""), Err(DurationError::Empty));
        assert_eq!(parse("30"), Err(DurationError::NoUnit("30".into())));
        assert_eq!(parse("1h30"), Err(DurationError::NoUnit("30".into())));
        assert_eq!(parse("10min"), Err(DurationError::Unit("min".into())));
        assert_eq!(parse("1.5h"), Err(DurationError::Unit(".".into())));
        assert_eq!(parse("1h 30m"), Err(DurationError::Unit("h ".into())));
        assert_eq!(parse("-5s"), Err(DurationError::Number("-5s".into())));
        assert_eq!(parse("s"), Err(DurationError::Number("s".into())));
        assert_eq!(parse("1m1h"), Err(DurationError::Order));
        assert_eq!(parse("1s1s"), Err(DurationError::Order));
        assert_eq!(parse("721h"), Err(DurationError::TooLong));
        assert_eq!(parse("99999999999999999999999h"), Err(DurationError::TooLong));
    }

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        for written in ["30s", "10m", "1h30m", "500ms", "1m1s1ms", "0s", "720h"] {
            assert_eq!(parse(written).map(text).as_deref(), Ok(written));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}|([0-9]{1,30}[hms]{1,2}){1,5}") {
            let _ = parse(&text);
        }
    }
}
