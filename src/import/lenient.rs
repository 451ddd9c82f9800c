//! How llama-server reads a value that a definition refuses: `64a` is 64,
//! `--flash-attn 1` is on. Measured on b10434 (`tests/real/import/values.rs`).
//!
//! It reads numbers with `stoi` and `stof`, which skip blanks, stop at the first
//! character that they do not understand, and need at least one that they do.

use serde_json::Value as Json;

use crate::llama::catalogue::{ListStyle, OptionSpec, ValueKind};

/// The words that turn a flag on and off, in a variable or in a line of a preset.
pub(super) const TRUTHY: [&str; 4] = ["on", "enabled", "true", "1"];
pub(super) const FALSY: [&str; 4] = ["off", "disabled", "false", "0"];

/// How llama-server reads a value.
#[derive(Debug, PartialEq)]
pub(super) enum Made {
    /// As another value.
    Value(Json),
    /// As nothing, for this reason: the option might as well be missing.
    Nothing(&'static str),
}

/// Options that accept an empty text, which means no value.
const EMPTY_IS_NONE: [&str; 11] = [
    "log_prompts_dir",
    "lookup_cache_dynamic",
    "lookup_cache_static",
    "mcp_servers_config",
    "mcp_servers_json",
    "mmproj",
    "path",
    "spec_draft_model",
    "ssl_cert_file",
    "ssl_key_file",
    "ui_config",
];

/// Returns how llama-server reads `text`; `None`: it refuses it, too, or no
/// definition can express the result.
pub(super) fn made_of(option: &OptionSpec, text: &str) -> Option<Made> {
    if text.is_empty() {
        return match option.key.as_str() {
            "numa" => Some(Made::Value("distribute".into())),
            key if EMPTY_IS_NONE.contains(&key) => {
                Some(Made::Nothing("llama-server treats an empty value as no value"))
            }
            _ => None,
        };
    }
    match option.list {
        ListStyle::Joined(_) if is_number(option) => list(text)
            .iter()
            .map(|part| one(option, part))
            .collect::<Option<_>>()
            .map(|all| Made::Value(Json::Array(all))),
        ListStyle::Joined(',') if option.path.is_some() => Some(Made::Value(csv(text).into())),
        _ if ignores(option, text) => Some(Made::Nothing("llama-server ignores a base below 1")),
        _ => one(option, text).map(Made::Value),
    }
}

/// Whether llama-server changes nothing when it reads `text`.
pub(super) fn ignores(option: &OptionSpec, text: &str) -> bool {
    option.key == "dry_base" && stof(text).is_some_and(|base| base < 1.0)
}

/// Returns the whole number that `stoi` reads.
pub(super) fn stoi(text: &str) -> Option<i64> {
    let text = text.trim_start_matches(BLANKS);
    let digits = text.strip_prefix(SIGNS).unwrap_or(text);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    text[..text.len() - digits.len() + end].parse().ok()
}

/// Returns the elements of a list of numbers.
pub(super) fn list(text: &str) -> Vec<&str> {
    text.split([',', '/']).enumerate().filter(|(at, part)| *at == 0 || !part.is_empty()).map(|(_, part)| part).collect()
}

const BLANKS: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];
const SIGNS: [char; 2] = ['+', '-'];

const fn is_number(option: &OptionSpec) -> bool {
    matches!(option.kind, ValueKind::Integer(_) | ValueKind::Float(_))
}

fn one(option: &OptionSpec, text: &str) -> Option<Json> {
    let knows = |word: &str| option.choices.iter().any(|choice| choice == word);
    match &option.kind {
        ValueKind::Integer(_) => match (option.key.as_str(), stoi(text)?) {
            // llama-server keeps it in 32 bits.
            ("seed", seed) => Some(Json::from(seed.rem_euclid(1 << 32))),
            (_, number) => Some(Json::from(number)),
        },
        ValueKind::Float(range) => {
            let number = stof(text)?;
            Some(Json::from(match option.key.as_str() {
                "temperature" | "min_p" => number.max(range.min),
                "top_p" | "typical" => number.min(range.max),
                _ => number,
            }))
        }
        _ if knows("on") && TRUTHY.contains(&text) => Some("on".into()),
        _ if knows("on") && FALSY.contains(&text) => Some("off".into()),
        _ if knows("on") && knows("auto") && text == "-1" => Some("auto".into()),
        _ => None,
    }
}

/// Returns the number that `stof` reads, except for `nan` and `inf`.
fn stof(text: &str) -> Option<f64> {
    let text = text.trim_start_matches(BLANKS);
    let digits = text.strip_prefix(SIGNS).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"))
        && let Some(number) = hexadecimal(hex)
    {
        return Some(sign * number);
    }
    if digits.starts_with(SIGNS) {
        return None;
    }
    // The longest prefix that is a number.
    let end = digits.find(|c: char| !(c.is_ascii_digit() || ".eE+-".contains(c))).unwrap_or(digits.len());
    let number = |end: &usize| digits[..*end].parse::<f64>().ok();
    (1..=end.min(400)).rev().find_map(|end| number(&end)).map(|number| sign * number)
}

/// Parses what follows `0x`: `10`, `1.8`, `1p3`.
fn hexadecimal(text: &str) -> Option<f64> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at(digits(text));
    let (part, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    let digit = |c: char| f64::from(c.to_digit(16).unwrap_or_default());
    let mantissa = whole.chars().chain(part.chars()).fold(0.0, |sum, c| sum * 16.0 + digit(c));
    let exponent = rest.strip_prefix(['p', 'P']).and_then(stoi).and_then(|n| i32::try_from(n).ok()).unwrap_or(0);
    let exponent = exponent.saturating_sub(i32::try_from(4 * part.len()).ok()?);
    (!whole.is_empty() || !part.is_empty()).then(|| mantissa * 2_f64.powi(exponent))
}

/// Returns the elements of a CSV row, in which quotes may enclose commas.
fn csv(text: &str) -> Vec<String> {
    let (mut elements, mut element, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.next_if_eq(&'"').is_some() => element.push('"'),
            '"' if is_quoted => is_quoted = false,
            '"' if element.is_empty() => is_quoted = true,
            ',' if !is_quoted => elements.push(std::mem::take(&mut element)),
            c => element.push(c),
        }
    }
    elements.push(element);
    elements
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::definition::Catalogue;

    fn made(key: &str, text: &str) -> Option<Json> {
        match made_of(Catalogue::embedded().get(key).unwrap(), text)? {
            Made::Value(json) => Some(json),
            Made::Nothing(_) => Some(Json::Null),
        }
    }

    #[test]
    fn a_whole_number_ends_at_the_first_non_digit() {
        for (text, number) in [("64a", 64), ("0.0", 0), (" 5", 5), ("+5x", 5), ("0x10", 0), ("1e3", 1), ("-3.9", -3)] {
            assert_eq!(made("top_k", text), Some(json!(number)), "{text}");
        }
        for refused in ["", "x", " ", "- 5", "--5", "99999999999999999999"] {
            assert_eq!(made("top_k", refused), None, "{refused}");
        }
        assert_eq!(made("seed", "4294967296"), Some(json!(0)));
        assert_eq!(made("seed", "-2x"), Some(json!(4_294_967_294_u32)));
    }

    #[test]
    fn a_number_ends_at_the_first_invalid_character() {
        for (text, number) in
            [(" .5", 0.5), (".5,7", 0.5), ("1e", 1.0), ("1e1x", 10.0), ("0x10", 16.0), ("-0x1.8p1", -3.0)]
        {
            assert_eq!(made("top_nsigma", text), Some(json!(number)), "{text}");
        }
        assert_eq!(made("temperature", "-1"), Some(json!(0.0)));
        assert_eq!(made("top_p", "2"), Some(json!(1.0)));
        for refused in ["nan", "inf", "-inf", "x", ".", "--5"] {
            assert_eq!(made("temperature", refused), None, "{refused}");
        }
        assert_eq!(made("dry_base", "0.5"), Some(Json::Null));
    }

    #[test]
    fn reads_lists_and_words_as_llama_server_does() {
        assert_eq!(made("tensor_split", "3x/,1"), Some(json!([3.0, 1.0])));
        assert_eq!(made("fit_target", "10,"), Some(json!([10])));
        assert_eq!(made("tensor_split", ",1"), None);
        assert_eq!(made("gpu_layers", "100,100"), Some(json!(100)));
        assert_eq!(made("lora", "\"a,b\",c\"\"d"), Some(json!(["a,b", "c\"\"d"])));
        for (text, word) in [("1", "on"), ("enabled", "on"), ("false", "off"), ("-1", "auto")] {
            assert_eq!(made("flash_attn", text), Some(json!(word)), "{text}");
        }
        assert_eq!([made("flash_attn", "ON"), made("flash_attn", "yes"), made("fit", "-1")], [None, None, None]);
        assert_eq!([made("numa", ""), made("mmproj", "")], [Some(json!("distribute")), Some(Json::Null)]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[-+0-9a-fx.eEpPé \",/]{0,20}") {
            for key in ["top_k", "temperature", "tensor_split", "lora", "seed"] {
                let _ = made(key, &text);
            }
        }
    }
}
