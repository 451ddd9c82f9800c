//! The version of a Git repository that something came from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a Git commit: 40 hexadecimal digits, or 64 where the repository
/// uses SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Commit(Arc<str>);

/// The version of a repository that something was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The commit that was checked out.
    pub commit: Commit,
    /// Whether what was read differs from that commit.
    pub dirty: bool,
}

impl Provenance {
    /// The short hash, with a `+` if files had been edited.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}{}", self.commit.short(), if self.dirty { "+" } else { "" })
    }
}

/// A text that is not a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the full name of a commit: 40 (or 64) hexadecimal digits")]
pub struct InvalidCommit(String);

impl Commit {
    /// All of its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Enough digits to identify it, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.0[..10]
    }
}

impl FromStr for Commit {
    type Err = InvalidCommit;

    fn from_str(text: &str) -> Result<Self, InvalidCommit> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if matches!(text.len(), 40 | 64) && text.bytes().all(is_digit) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidCommit(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Commit {
    type Error = InvalidCommit;

    fn try_from(text: String) -> Result<Self, InvalidCommit> {
        text.parse()
    }
}

impl From<Commit> for String {
    fn from(commit: Commit) -> Self {
        commit.as_str().to_owned()
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_commit_is_its_whole_name() {
        let name = "0123456789abcdef0123456789abcdef01234567";
        let commit: Commit = name.parse().unwrap();
        assert_eq!((commit.as_str(), commit.short()), (name, "0123456789"));
        for wrong in ["", "HEAD", "0123456789", &name.to_uppercase(), &format!("{name}0"), &format!("-{}", &name[1..])]
        {
            assert_eq!(wrong.parse::<Commit>(), Err(InvalidCommit(wrong.to_owned())));
        }
    }
}
