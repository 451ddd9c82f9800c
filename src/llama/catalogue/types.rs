//! The measured table of value types (`value_types.txt`): what the pinned
//! llama-server's `--help` does not say.

use std::collections::HashMap;

/// The sensible values, both ends included.
#[derive(Clone, Debug, PartialEq)]
pub struct Range<T> {
    /// The lowest.
    pub min: T,
    /// The highest.
    pub max: T,
    /// Why others make no sense, as the end of a help sentence; empty: llama-server
    /// refuses them.
    pub why: String,
}

/// The type of an option's value, with its sensible range.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ValueType {
    /// A whole number.
    Integer(Range<i64>),
    /// A number.
    Float(Range<f64>),
    /// JSON.
    Json,
}

/// The table's text.
const TABLE: &str = include_str!("value_types.txt");

/// Returns the table by canonical key. Lines of another shape are skipped; a test
/// makes sure that there are none.
pub(super) fn measured() -> HashMap<&'static str, ValueType> {
    lines().filter_map(row).collect()
}

/// The table's lines that are not comments.
fn lines() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// `key = int 0..100 ; why`.
fn row(line: &'static str) -> Option<(&'static str, ValueType)> {
    let (key, rest) = line.split_once(" = ")?;
    let (kind, why) = rest.split_once(" ; ").unwrap_or((rest, ""));
    let (name, range) = kind.split_once(' ').unwrap_or((kind, ".."));
    let (min, max) = range.split_once("..")?;
    let value_type = match name {
        // llama-server reads with stoi and stof: 32 bits each.
        "int" => ValueType::Integer(Range {
            min: end(min, i64::from(i32::MIN))?,
            max: end(max, i64::from(i32::MAX))?,
            why: why.to_owned(),
        }),
        "float" => ValueType::Float(Range {
            min: end(min, f64::from(f32::MIN))?,
            max: end(max, f64::from(f32::MAX))?,
            why: why.to_owned(),
        }),
        "json" => ValueType::Json,
        _ => return None,
    };
    Some((key, value_type))
}

/// One end of a range; left out, it is `default`.
fn end<T: std::str::FromStr>(text: &str, default: T) -> Option<T> {
    if text.is_empty() { Some(default) } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::super::Catalogue;
    use super::*;

    #[test]
    fn every_line_of_the_table_names_an_option_of_the_pinned_help() {
        let catalogue = Catalogue::embedded();
        for line in lines() {
            let row = row(line);
            assert!(row.is_some(), "not a row: {line}");
            assert!(row.is_some_and(|(key, _)| catalogue.get(key).is_some()), "no such option: {line}");
        }
        assert_eq!(measured().len(), lines().count(), "a key is there twice");
    }
}
