//! Numbers as llama-server reads them: strictly, and each in one spelling.
//!
//! llama-server reads with `stoi` and `stof`, which stop at the first character
//! that they do not understand: `512x` is 512. This module is stricter.

use toml::de::DeValue;

/// Reads a whole number from a TOML integer, or from a string that is exactly one.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i64> {
    match value {
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok(),
        DeValue::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Reads a finite number from a TOML number, or from a string that is exactly one,
/// if a 32-bit float can hold it.
pub(super) fn float(value: &DeValue<'_>) -> Option<f64> {
    let number: f64 = match value {
        // Through text, because llama-server reads the nearest f64.
        DeValue::Integer(_) => integer(value)?.to_string().parse().ok()?,
        DeValue::Float(number) => number.as_str().parse().ok()?,
        DeValue::String(text) => text.parse().ok()?,
        _ => return None,
    };
    // `stof` refuses numbers that are too small as well as too large.
    let holds = number == 0.0 || number.abs() >= f64::from(f32::MIN_POSITIVE);
    (holds && number.abs() <= f64::from(f32::MAX)).then_some(number)
}

/// Formats a number in its one spelling: `0.70`, `7e-1` and `.7` are `0.7`; `1.0`
/// is `1`.
pub(super) fn float_text(number: f64) -> String {
    // Rust prints the shortest digits that read back the same, never an exponent.
    if number == 0.0 { "0".to_owned() } else { number.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> DeValue<'_> {
        DeValue::String(text.into())
    }

    fn toml(text: &str) -> DeValue<'_> {
        DeValue::parse(text).unwrap().into_inner()
    }

    #[test]
    fn a_string_is_a_whole_number_only_if_it_is_exactly_one() {
        for wrong in ["512x", "512.7", "", " 5", "5 ", "0x10", "1_000", "1e3", "--5", "99999999999999999999"] {
            assert_eq!(integer(&text(wrong)), None, "{wrong}");
        }
        assert_eq!(integer(&text("-5")), Some(-5));
    }

    #[test]
    fn toml_integers_are_read_in_every_base_and_grouping() {
        for right in ["8192", "8_192", "0x2000", "0o20000", "0b10_0000_0000_0000", "+8192"] {
            assert_eq!(integer(&toml(right)), Some(8192), "{right}");
        }
        assert_eq!(integer(&toml("8192.0")), None);
    }

    #[test]
    fn spellings_of_one_float_are_one_text() {
        for right in ["0.7", "0.70", "7e-1", "70E-2", "+0.7"] {
            assert_eq!(float(&toml(right)).map(float_text).as_deref(), Some("0.7"), "{right}");
        }
        assert_eq!(float(&toml("1")).map(float_text), float(&toml("1.0")).map(float_text));
        assert_eq!(float(&toml("-0.0")).map(float_text).as_deref(), Some("0"));
    }

    #[test]
    fn refuses_floats_that_stof_misreads() {
        for wrong in ["nan", "inf", "-inf", "1e39", "-1e39", "1e-46", "0x1p3", "0.7x", ""] {
            assert_eq!(float(&text(wrong)), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_float_text_reads_back_as_the_same_number(number in proptest::num::f32::NORMAL) {
            let written = float_text(f64::from(number));
            prop_assert_eq!(float(&text(&written)), Some(f64::from(number)));
        }
    }
}
