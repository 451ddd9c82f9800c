//! The llama-server that a source names: its own options are what count.
//!
//! An import runs `PROGRAM --help`, and nothing else, of a program that the
//! source names by its path: what its owner runs anyway, or what runs already.
//! Not one that the host's policy does not allow, and as root none that others
//! could change. Where it cannot be asked, the pinned llama-server stands in.

use std::sync::Arc;

use serde_json::Value as Json;

use super::model::Model;
use super::options::{Given, Options};
use super::remark::{Place, Why};
use crate::definition::{Catalogue, Catalogues, Embedded, Knowledge, Programs};
use crate::llama::catalogue::OptionSpec;

/// The llama-servers that sources name.
pub struct Servers(Box<dyn Programs>);

impl Servers {
    /// Those that `servers` can ask.
    #[must_use]
    pub fn new(servers: impl Programs + 'static) -> Self {
        Self(Box::new(servers))
    }

    /// The options of the llama-server at `path`, or why it does not tell them.
    fn ask(&self, path: &str) -> Result<Arc<Catalogue>, String> {
        for _ in 0..2 {
            match self.0.knowledge(Some(path)) {
                Knowledge::Its(catalogue) => return Ok(catalogue),
                Knowledge::Awaited(_) => self.0.wait_for_answers(),
                Knowledge::StandIn { .. } => break,
            }
        }
        Err(self.0.unusable(Some(path)).unwrap_or_default())
    }
}

impl Catalogues for Servers {
    fn catalogue(&self, binary: Option<&str>) -> Arc<Catalogue> {
        self.knowledge(binary).catalogue()
    }

    fn knowledge(&self, binary: Option<&str>) -> Knowledge {
        let asked = binary.filter(|binary| binary.starts_with('/')).map(|path| self.ask(path));
        match (asked, binary) {
            (Some(Ok(catalogue)), _) => Knowledge::Its(catalogue),
            // A remark already names each option kept unchecked, so the file is still written.
            (None | Some(Err(_)), binary) => Embedded.knowledge(binary),
        }
    }
}

impl<'a> Options<'a> {
    /// The same, as the llama-server at `binary` understands options.
    pub fn of(&self, binary: &str) -> Self {
        let Some(servers) = self.servers else { return self.clone() };
        match servers.ask(binary) {
            Ok(catalogue) => Self { catalogue, asked: Some(binary.to_owned()), ..self.clone() },
            Err(problem) => Self { unchecked: Some(problem), ..self.clone() },
        }
    }

    /// Keeps an option as it is written if only a llama-server that could not
    /// be asked knows it; `false`: it is not kept, for it may hold a secret, is
    /// stated twice, or has several values.
    pub fn keep_unknown(&self, model: &mut Model, word: &str, values: &[String], place: &Place) -> bool {
        let (Some(problem), Some(name)) = (&self.unchecked, word.strip_prefix("--")) else { return false };
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') && !name.is_empty();
        let json = match values {
            [] => Json::Bool(true),
            [value] => Json::from(value.as_str()),
            _ => return false,
        };
        let key = name.replace('-', "_");
        if !is_name
            || model.parameters.contains_key(&key)
            || super::names_a_secret(name)
            || values.iter().any(|value| value.contains('\0'))
        {
            return false;
        }
        model.parameters.insert(key, json);
        let what = [&[word.to_owned()], values].concat().join(" ");
        model.remark(place, what, Why::NotChecked(problem.clone()));
        true
    }

    /// Keeps a word that the pinned llama-server does not take for this option, if
    /// the model's own could not be asked; `false`: it is not kept.
    pub fn keep_choice(&self, model: &mut Model, option: &OptionSpec, given: &Given, place: &Place) -> bool {
        let (Some(problem), Given::Text(text)) = (&self.unchecked, given) else { return false };
        if option.choices.is_empty() || text.is_empty() || option.choices.iter().any(|choice| choice == text) {
            return false;
        }
        model.parameters.insert(option.key.clone(), Json::from(text.as_str()));
        model.remark(place, format!("{} {text}", option.argument), Why::NotChecked(problem.clone()));
        true
    }

    /// What became of an option that is not known.
    pub fn unknown(&self) -> Why {
        self.asked.clone().map_or(Why::UnknownOption, Why::UnknownTo)
    }
}
