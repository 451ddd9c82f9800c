//! The outcome of one file: a definition, or what remains of one that cannot be
//! used.

use std::fmt;
use std::sync::Arc;

use crate::model::{Definition, Unresolved};

/// The outcome of one file.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Good(Arc<Definition>),
    /// Not usable. Its claims are kept, so that the same run reports its clashes
    /// with other files.
    Bad(Unresolved, Claims),
}

/// Something that only one model can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// A name or an alias: the server answers to both.
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
