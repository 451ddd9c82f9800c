//! Names with `*`, which matches any text.

use std::fmt;

/// A name, or a pattern of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern(String);

impl Pattern {
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether it matches only that name.
    pub fn is_exactly(&self, name: &str) -> bool {
        self.0 == name
    }

    /// Whether it matches all of `name`.
    pub fn fits(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut left) = name.strip_prefix(first) else { return false };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        // The leftmost match of each part leaves the most for the following parts.
        for part in middle.split('*') {
            let Some(at) = left.find(part) else { return false };
            left = &left[at + part.len()..];
        }
        left.len() >= last.len() && left.ends_with(last)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_star_matches_any_text_and_everything_else_itself() {
        let fits = |pattern, name| Pattern::new(pattern).fits(name);
        for (pattern, name) in
            [("A", "A"), ("*", ""), ("*", "x"), ("A_*", "A_"), ("A_*", "A_B"), ("*_B", "A_B"), ("A*B*C", "AxBBC")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("A", "AB"), ("A_*", "B_A_"), ("*_B", "_BC"), ("A*A", "A"), ("A*B*C", "ACB"), ("", "x")]
        {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
