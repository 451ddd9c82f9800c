//! What became of one file: a definition, or what is left of one that cannot
//! be used.

use std::fmt;
use std::sync::Arc;

use crate::model::{Definition, Unresolved};

/// What became of one file.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Good(Arc<Definition>),
    /// Not usable; what it claims all the same, so that a clash with another
    /// file is told in the same run.
    Bad(Unresolved, Claims),
}

/// Something one model alone can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// A name or an alias: both are what the server answers to.
    Served(Arc<str>),
    Port(u16),
    Socket(Arc<str>),
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served(text) | Self::Socket(text) => f.write_str(text),
            Self::Port(port) => write!(f, "{port}"),
        }
    }
}

/// The claims of one file, each with its line (0: the file as a whole).
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(pub Vec<(Claim, u32)>);

impl Claims {
    pub fn add(&mut self, claims: impl Iterator<Item = (Claim, u32)>) {
        self.0.extend(claims);
    }
}
