//! DESIRED: definition files, and the options of llama-server.
//!
//! ```text
//!   directory, snapshot  which files, of the disk or a commit   load, reading
//!   edit                 one of them as somebody wants it       |
//!   git                  whether they are at rest               |
//!        |                                                       |
//!   text, source         one file's text, its lines              |
//!        |                                                       |
//!   syntax | draft       what it sets, key by key (keys)         |
//!        |                                                       |
//!   options, defaults    what that means to its llama-server     |
//!   groups               whom it shares room with                |
//!        |                                                       |
//!   assemble             the definition, defaults merged in      |
//!        |                                                       |
//!   claims               clashes between files                   v
//!                                                             Desired
//! ```
//!
//! Invariants:
//! - One load finds every problem of every file, each with its place, and writes
//!   nothing.
//! - A file with a problem gives no [`Definition`](crate::model::Definition),
//!   only an [`Unresolved`](crate::model::Unresolved) that protects its model.
//! - No secret's value is kept, and none reaches a diagnostic.

mod assemble;
mod claims;
mod defaults;
mod directory;
pub(crate) mod draft;
mod duration;
mod edit;
mod error;
pub(crate) mod files;
mod git;
mod groups;
mod host;
mod host_checks;
mod keys;
mod load;
pub(crate) mod names;
mod options;
mod outcome;
mod paths;
mod policies;
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
pub use edit::Edit;
pub use error::LoadError;
pub use files::identity_now;
pub(crate) use groups::FILE_NAME as GROUPS_FILE;
pub(crate) use host::parse as parse_host;
pub(crate) use host_checks::{Refused, problem_at, refuse};
pub use host_checks::{binary_checks, host_checks, port_checks, weights_checks};
pub use keys::{Purpose, purposes};
pub use load::Loader;
pub(crate) use options::malformed as malformed_weights;
pub use paths::lexical as absolute;
pub use render::render;
pub use schema::{groups_schema, schema};
pub use secret::{SecretError, read_secret};
pub use snapshot::Snapshot;
pub(crate) use suggest::closest;

use crate::model::{Diagnostic, Unusable};

/// What a load needs.
#[derive(Clone, Copy)]
pub struct LoadOptions<'a> {
    /// The directory of definitions.
    pub dir: &'a Path,
    /// Where to read the files of that directory.
    pub from: ReadFrom<'a>,
    /// The working directory, absolute: `dir` is relative to it, and paths below it
    /// are shown relative.
    pub cwd: &'a Path,
    /// Keys the digests of secrets; from the state id.
    pub state_key: [u8; 32],
    /// The options of each llama-server.
    pub catalogues: &'a dyn Catalogues,
}

/// Where to read the files of a directory of definitions. Paths in them are
/// relative to that directory in any case.
#[derive(Clone, Copy, Debug, Default)]
pub enum ReadFrom<'a> {
    /// In the directory itself.
    #[default]
    Itself,
    /// In another directory.
    Directory(&'a Path),
    /// In a commit.
    Commit(&'a Snapshot),
    /// In the directory itself, but for one file that is to change.
    Edited(&'a Edit),
}

/// Uses only the options of the pinned llama-server, which stand in for those of a
/// llama-server that a definition names.
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
    /// Returns the catalogue of the llama-server that a definition names (an
    /// absolute path or a command name), or of the default one. If there is none,
    /// returns the embedded one, because a load needs no llama-server.
    fn catalogue(&self, binary: Option<&str>) -> Arc<Catalogue>;

    /// Returns how far that catalogue describes this llama-server.
    fn knowledge(&self, binary: Option<&str>) -> Knowledge {
        Knowledge::Its(self.catalogue(binary))
    }
}

/// Programs that can be asked for their options.
pub trait Programs: Catalogues {
    /// Returns why the llama-server that `binary` names cannot be used.
    fn unusable(&self, binary: Option<&str>) -> Option<String>;

    /// Waits until those have answered that were asked.
    fn wait_for_answers(&self);
}

/// What herdsman knows about the options of a llama-server.
#[derive(Clone, Debug)]
pub enum Knowledge {
    /// These are its options: any other is an error.
    Its(Arc<Catalogue>),
    /// Another llama-server's options stand in for its own. What a definition sets
    /// beyond them cannot be checked: with a reason the definition waits, without
    /// one it is valid, with a warning.
    StandIn {
        /// The options of that other one.
        catalogue: Arc<Catalogue>,
        /// Why its own options are unknown.
        because: Option<Unusable>,
    },
    /// It was asked just now: its definitions wait for the answer.
    Awaited(Unusable),
}

impl Knowledge {
    /// The options to use.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        match self {
            Self::Its(catalogue) | Self::StandIn { catalogue, .. } => Arc::clone(catalogue),
            Self::Awaited(_) => Catalogue::embedded(),
        }
    }
}

/// Sorts problems as people read them: by file, from top to bottom, each once.
pub(crate) fn in_order(mut problems: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let place = |problem: &Diagnostic| problem.snippet.as_ref().map(|(_, span)| span.start);
    problems.sort_by(|a, b| a.file.cmp(&b.file).then_with(|| place(a).cmp(&place(b))));
    problems.dedup();
    problems
}
