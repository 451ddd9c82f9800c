//! `_defaults.toml`, and what it means for one llama-server.
//!
//! The file is parsed once. Its options are evaluated once per llama-server in use,
//! because each has its own options; every definition then inherits them by
//! canonical name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::draft::Draft;
use super::names::Names;
use super::options::{self, Options};
use super::source::Source;
use super::value::Reader;
use super::{Catalogues, Knowledge};
use crate::llama::catalogue::Catalogue;
use crate::model::{Diagnostic, Unusable};

/// The name of the defaults file.
pub(crate) const FILE_NAME: &str = "_defaults.toml";

/// What the defaults file sets.
pub(super) struct Defaults<'v, 't> {
    pub source: &'v Source<'t>,
    pub draft: Draft<'v, 't>,
}

/// A llama-server's options, and what the defaults mean for it.
pub(super) struct Binding {
    pub knowledge: Knowledge,
    pub catalogue: Arc<Catalogue>,
    pub defaults: Options,
    problems: Vec<Diagnostic>,
    /// Defaults that only this llama-server can check.
    unchecked: Vec<Diagnostic>,
}

impl Binding {
    /// Whether the defaults are invalid for this llama-server.
    pub fn is_broken(&self) -> bool {
        self.problems.iter().any(Diagnostic::is_error)
    }

    /// Why a definition waits for this llama-server. `is_unchecked`: it sets
    /// something that only this llama-server understands.
    pub fn awaits(&self, is_unchecked: bool) -> Option<&Unusable> {
        match &self.knowledge {
            Knowledge::Its(_) => None,
            Knowledge::StandIn { because, .. } => {
                because.as_ref().filter(|_| is_unchecked || !self.unchecked.is_empty())
            }
            Knowledge::Awaited(unusable) => Some(unusable),
        }
    }
}

/// The bindings of one load, by the `binary` that definitions set.
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

    /// Returns the binding of the llama-server at `binary`, or of the default one.
    pub fn of(&self, binary: Option<&str>) -> Arc<Binding> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let binding = known.entry(binary.map(str::to_owned)).or_insert_with(|| Arc::new(self.bind(binary)));
        Arc::clone(binding)
    }

    fn bind(&self, binary: Option<&str>) -> Binding {
        let knowledge = self.catalogues.knowledge(binary);
        let mut binding = Binding {
            catalogue: knowledge.catalogue(),
            knowledge,
            defaults: Options::default(),
            problems: Vec::new(),
            unchecked: Vec::new(),
        };
        if let (Some(defaults), false) = (self.defaults, matches!(binding.knowledge, Knowledge::Awaited(_))) {
            let mut names = Names::default();
            let mut reader = Reader::new(defaults.source, &mut names);
            binding.defaults = options::read(&mut reader, &defaults.draft, &binding.knowledge, self.base);
            (binding.problems, binding.unchecked) = (reader.problems, reader.unchecked);
        }
        binding
    }

    /// The `binary` that the defaults set.
    pub fn default_binary(&self) -> Option<&str> {
        Some(&self.defaults?.draft.common.binary.as_ref()?.value)
    }

    /// Every problem of the defaults with a llama-server in use, and everything
    /// that could not be checked; with the default one if none is in use.
    pub fn into_problems(self) -> Vec<Diagnostic> {
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.of(self.default_binary());
        }
        let known = self.known.into_inner().unwrap_or_else(PoisonError::into_inner);
        let problems = |binding: Arc<Binding>| {
            // The plan says which definitions wait for it.
            let unchecked = binding.unchecked.iter().filter(|_| binding.awaits(true).is_none());
            binding.problems.iter().chain(unchecked).cloned().collect::<Vec<_>>()
        };
        known.into_values().flat_map(problems).collect()
    }
}
