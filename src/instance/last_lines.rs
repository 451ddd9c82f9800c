//! The last lines of a server's log, for people: of its last instance alone,
//! without herdsman's own, and with nothing in them that a terminal obeys.

use std::io;
use std::path::Path;

use super::death::{OWN_LINE, START_LINE, TAIL, last};
use crate::model::text::printable;

/// The last `count` lines that the last instance wrote to `log`, oldest first.
/// Empty ones do not count, long ones are cut; of a long log only the last few
/// KiB are read.
///
/// # Errors
/// The log cannot be read.
pub fn last_lines(log: &Path, count: usize) -> io::Result<Vec<String>> {
    let text = last(log, TAIL)?;
    let of_last_instance = text.split(['\n', '\r']).rev().take_while(|line| !line.starts_with(START_LINE));
    let mut lines: Vec<String> = of_last_instance
        .filter(|line| !line.starts_with(OWN_LINE))
        .map(|line| printable(anstream::adapter::strip_str(line).to_string().trim_end()))
        .filter(|line| !line.is_empty())
        .take(count)
        .collect();
    lines.reverse();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn lines_of(text: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("m.log");
        std::fs::write(&log, text).unwrap();
        last_lines(&log, 3).unwrap()
    }

    #[test]
    fn only_the_last_instance_speaks_and_herdsman_is_silent() {
        let former = "herdsman: instance 1 of spec v1:a starts llama-server\nold\n";
        let last = "herdsman: instance 2 of spec v1:a starts llama-server\none\n\nherdsman: something else\ntwo\n";
        assert_eq!(lines_of(&format!("{former}{last}")), ["one", "two"]);
        assert_eq!(lines_of(&format!("{former}{last}three\nfour\n")), ["two", "three", "four"]);
        assert_eq!(lines_of(former.trim_end_matches("old\n")), [""; 0]);
        assert_eq!(lines_of("one\ntwo, not ended"), ["one", "two, not ended"], "a log whose head was cut off");
    }

    #[test]
    fn strips_control_characters() {
        assert_eq!(lines_of("a\u{1b}[2Jb\u{7}c\td\u{9b}31m\n"), ["abc d 31m"]);
        let long = lines_of(&"x".repeat(9000));
        assert!(long[0].chars().count() <= 301 && long[0].ends_with('…'), "{long:?}");
    }

    #[test]
    fn a_missing_log_is_an_error() {
        assert_eq!(last_lines(Path::new("/nonexistent/m.log"), 3).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
