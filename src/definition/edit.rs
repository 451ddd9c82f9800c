//! A change of one file of a directory that is not made yet.

use std::ffi::{OsStr, OsString};

use super::directory::Stamp;
use super::text::{self, TextProblem};

/// What one file of a directory would be.
#[derive(Clone, Debug)]
pub struct Edit {
    name: OsString,
    /// `None`: the file is to be deleted.
    content: Option<Vec<u8>>,
}

impl Edit {
    /// The largest file that can be a definition, bytes.
    pub const LARGEST: usize = text::LARGEST as usize;

    /// Returns the edit that gives the file `name` this content, or deletes it.
    #[must_use]
    pub fn new(name: impl Into<OsString>, content: Option<Vec<u8>>) -> Self {
        Self { name: name.into(), content }
    }

    /// The name of the file in its directory.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// What the file would hold; `None`: it would be gone.
    #[must_use]
    pub fn content(&self) -> Option<&[u8]> {
        self.content.as_deref()
    }

    /// Identifies the content.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.content().map(|content| Stamp::Content(*blake3::hash(content).as_bytes()))
    }

    /// Returns the content as text.
    pub(super) fn text(&self) -> Result<&str, TextProblem> {
        let gone = TextProblem { message: "the file does not exist".to_owned(), help: "create it" };
        self.content().map_or(Err(gone), text::checked)
    }
}
