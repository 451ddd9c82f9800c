//! DESIRED: definition files, and the options llama-server knows.
//!
//! ```text
//!   directory, snapshot  which files, of the disk or a commit   load, reading
//!   git                  whether they are at rest               |
//!        |                                                       |
//!   text, source         one file's text, its lines              |
//!        |                                                       |
//!   syntax | draft       what it states, key by key (keys)       |
//!        |                                                       |
//!   options, defaults    what that means to its llama-server     |
//!        |                                                       |
//!   assemble             the definition, defaults merged in      |
//!        |                                                       |
//!   claims               clashes between files                   v
//!                                                             Desired
//! ```
//!
//! Invariants:
//! - Every problem of every file is found in one load, each with its place,
//!   and nothing is written anywhere.
//! - A file with a problem gives no [`Definition`](crate::model::Definition),
//!   only an [`Unresolved`](crate::model::Unresolved) that protects its model.
//! - No secret's value is kept, and none reaches a diagnostic.

mod assemble;
mod claims;
mod defaults;
mod directory;
pub(crate) mod draft;
mod duration;
mod error;
pub(crate) mod files;
mod git;
mod host;
mod host_checks;
mod keys;
mod load;
pub(crate) mod names;
mod options;
mod paths;
mod reading;
mod render;
mod schema;
mod secret;
mod snapshot;
pub(crate) mod source;
pub(crate) mod suggest;
pub(crate) mod syntax;
#[cfg(test)]
mod tests;
mod text;
pub(crate) mod typed;
mod unchecked;
pub(crate) mod value;

use std::path::Path;
use std::sync::Arc;

pub use crate::llama::catalogue::Catalogue;
pub use crate::llama::gguf::{GgufProblem, check_gguf};
pub(crate) use defaults::FILE_NAME as DEFAULTS_FILE;
pub use directory::{Glance, is_part};
pub use draft::FileKind;
pub use duration::{DurationError, parse as parse_duration};
pub use error::LoadError;
pub use files::identity_now;
pub(crate) use host::parse as parse_host;
pub(crate) use host_checks::{Refused, problem_at, refuse};
pub use host_checks::{binary_checks, host_checks, port_checks, weights_checks};
pub use keys::{Purpose, purposes};
pub use load::Loader;
pub(crate) use options::malformed as malformed_weights;
pub use paths::lexical as absolute;
pub use render::render;
pub use schema::schema;
pub use secret::{SecretError, read_secret};
pub use snapshot::Snapshot;
pub(crate) use suggest::closest;

use crate::model::{Diagnostic, Unusable};

/// What a load needs to know.
#[derive(Clone, Copy)]
pub struct LoadOptions<'a> {
    /// The directory of definitions.
    pub dir: &'a Path,
    /// Where the files that lie there are read.
    pub from: ReadFrom<'a>,
    /// The working directory, absolute: `dir` is relative to it, and paths
    /// below it are shown so.
    pub cwd: &'a Path,
    /// Keys the digests of secrets; from the state id.
    pub state_key: [u8; 32],
    /// The options each llama-server knows.
    pub catalogues: &'a dyn Catalogues,
}

/// Where the files of a directory of definitions are read. Paths in them are
/// relative to that directory wherever it is.
#[derive(Clone, Copy, Debug, Default)]
pub enum ReadFrom<'a> {
    /// In the directory itself.
    #[default]
    Itself,
    /// In another directory.
    Directory(&'a Path),
    /// In a commit.
    Commit(&'a Snapshot),
}

/// What is known without asking any llama-server: the options of the pinned
/// one, which stand in for those of a llama-server that a definition names.
#[derive(Clone, Copy, Debug)]
pub struct Embedded;

impl Catalogues for Embedded {
    fn catalogue(&self, _: Option<&str>) -> Arc<Catalogue> {
        Catalogue::embedded()
    }

    fn knowledge(&self, binary: Option<&str>) -> Knowledge {
        let catalogue = self.catalogue(binary);
        match binary {
            Some(_) => Knowledge::StandIn { catalogue, because: None },
            None => Knowledge::Its(catalogue),
        }
    }
}

/// Finds the catalogue of a llama-server.
pub trait Catalogues: Sync {
    /// The catalogue of the llama-server a definition names (an absolute path
    /// or a command's name), or of the default one. Where there is none, the
    /// embedded one: a load does not need a llama-server.
    fn catalogue(&self, binary: Option<&str>) -> Arc<Catalogue>;

    /// How much that catalogue says of this llama-server.
    fn knowledge(&self, binary: Option<&str>) -> Knowledge {
        Knowledge::Its(self.catalogue(binary))
    }
}

/// What is known of the options of a llama-server.
#[derive(Clone, Debug)]
pub enum Knowledge {
    /// They are these: what is not among them is an error.
    Its(Arc<Catalogue>),
    /// Those of another llama-server stand in for them. What a definition
    /// states beyond these cannot be checked: with a reason the definition
    /// waits, without one it counts as valid, with a warning.
    StandIn {
        /// The options of that other one.
        catalogue: Arc<Catalogue>,
        /// Why its own are not known.
        because: Option<Unusable>,
    },
    /// It was asked for them just now: its definitions wait for the answer.
    Awaited(Unusable),
}

impl Knowledge {
    /// The options to go by.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        match self {
            Self::Its(catalogue) | Self::StandIn { catalogue, .. } => Arc::clone(catalogue),
            Self::Awaited(_) => Catalogue::embedded(),
        }
    }
}

/// The order people read problems in: by file, from top to bottom, each once.
pub(crate) fn in_order(mut problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let place = |problem: &Diagnostic| problem.snippet.as_ref().map(|(_, span)| span.start);
    problems.sort_by(|a, b| a.file.cmp(&b.file).then_with(|| place(a).cmp(&place(b))));
    problems.dedup();
    problems
}
