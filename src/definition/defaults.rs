//! `_defaults.toml`, and what it means to one llama-server.
//!
//! The file is parsed once. Its options are evaluated once per llama-server
//! that some definition runs on, because each knows its own options; every
//! definition then takes them over by canonical name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Catalogues;
use super::catalogue::Catalogue;
use super::draft::Draft;
use super::names::Names;
use super::options::{self, Options};
use super::source::Source;
use super::value::Reader;
use crate::model::Diagnostic;

/// The name of the defaults file.
pub(crate) const FILE_NAME: &str = "_defaults.toml";

/// What the defaults file states.
pub(super) struct Defaults<'v, 't> {
    pub source: &'v Source<'t>,
    pub draft: Draft<'v, 't>,
}

/// A llama-server's options and what the defaults mean to it.
pub(super) struct Binding {
    pub catalogue: Arc<Catalogue>,
    pub defaults: Options,
    problems: Vec<Diagnostic>,
}

impl Binding {
    /// Whether this llama-server does not understand the defaults.
    pub fn is_broken(&self) -> bool {
        self.problems.iter().any(Diagnostic::is_error)
    }
}

/// The bindings of one load, by the `binary` that definitions state.
pub(super) struct Bindings<'a> {
    catalogues: &'a dyn Catalogues,
    defaults: Option<&'a Defaults<'a, 'a>>,
    base: &'a str,
    known: Mutex<BTreeMap<Option<String>, Arc<Binding>>>,
}

impl<'a> Bindings<'a> {
    pub fn new(catalogues: &'a dyn Catalogues, defaults: Option<&'a Defaults<'a, 'a>>, base: &'a str) -> Self {
        Self { catalogues, defaults, base, known: Mutex::default() }
    }

    /// The binding of the llama-server at `binary`, or of the default one.
    pub fn of(&self, binary: Option<&str>) -> Arc<Binding> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let binding = known.entry(binary.map(str::to_owned)).or_insert_with(|| Arc::new(self.bind(binary)));
        Arc::clone(binding)
    }

    fn bind(&self, binary: Option<&str>) -> Binding {
        let catalogue = self.catalogues.catalogue(binary);
        let Some(defaults) = self.defaults else {
            return Binding { catalogue, defaults: Options::default(), problems: Vec::new() };
        };
        let mut names = Names::default();
        let mut reader = Reader::new(defaults.source, &mut names);
        let options = options::read(&mut reader, &defaults.draft, &catalogue, self.base);
        Binding { catalogue, defaults: options, problems: reader.problems }
    }

    /// The `binary` the defaults state.
    pub fn default_binary(&self) -> Option<&str> {
        Some(&self.defaults?.draft.common.binary.as_ref()?.value)
    }

    /// Every problem the defaults have with some llama-server in use; with
    /// the default one if none is in use.
    pub fn into_problems(self) -> Vec<Diagnostic> {
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.of(self.default_binary());
        }
        let known = self.known.into_inner().unwrap_or_else(PoisonError::into_inner);
        known.into_values().flat_map(|binding| binding.problems.clone()).collect()
    }
}
