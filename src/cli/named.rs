//! Names of models: which exist, and what to say about one that does not.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::Path;
use std::str::FromStr;

use super::{Exit, Places, Refused};
use crate::database::{Database, DatabaseError};
use crate::definition::closest;
use crate::model::{ModelName, ModelRecord, NameError};

/// A model as people type it: by its name, or by one of its aliases.
#[derive(Clone, Debug)]
pub struct Named(String);

impl FromStr for Named {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl Named {
    /// Returns the name of the model, which need not exist: its command says so. An
    /// alias counts once a pass has recorded it, and goes before the name of a model
    /// that is gone.
    ///
    /// # Errors
    /// It can be no name, and is no alias.
    pub(super) fn resolve(&self, places: &Places) -> Result<ModelName, Refused> {
        let name = ModelName::parse(&self.0);
        if let Ok(name) = &name
            && places.models_dir.join(format!("{name}.toml")).exists()
        {
            return Ok(name.clone());
        }
        // A database that cannot be read has no aliases: the command itself reports it.
        let database = Database::open_read_only(&places.resolve().database).ok().flatten();
        let records = database.and_then(|database| database.records().ok()).unwrap_or_default();
        let is_row = || records.unmanaged.iter().any(|row| row.name == self.0);
        let has_alias = |record: &ModelRecord| record.config().is_ok_and(|config| config.aliases.contains(&self.0));
        if !records.models.contains_key(self.0.as_str()) && !is_row() {
            let mut owners = records.models.iter().filter(|(_, record)| has_alias(record)).map(|(name, _)| name);
            match (owners.next(), owners.next()) {
                (Some(owner), None) => return Ok(owner.clone()),
                (Some(one), Some(other)) => return Err(self.is_shared(one, other)),
                (None, _) => {}
            }
        }
        name.map_err(|error| self.not_a_name(&error))
    }

    fn is_shared(&self, one: &ModelName, other: &ModelName) -> Refused {
        let message = format!("{:?} is an alias of {one} and {other}\nhelp: use the name of one of them", self.0);
        Refused { exit: Exit::Usage, message }
    }

    fn not_a_name(&self, error: &NameError) -> Refused {
        let message = format!(
            "{:?} is no alias of a model, and cannot be a name: {error}\nhelp: `herdsman status` lists all models",
            self.0
        );
        Refused { exit: Exit::Usage, message }
    }
}

/// Returns every name that has a definition, a record, a row or a history.
/// A definition counts by the name of its file: it need not be readable.
pub(super) fn known(places: &Places, database: Option<&Database>) -> Result<BTreeSet<String>, DatabaseError> {
    let mut names = database.map(Database::names).transpose()?.unwrap_or_default();
    names.extend(stems(&places.models_dir, ".toml").filter(|name| !name.starts_with(['_', '.'])));
    Ok(names)
}

/// Returns the names of the files in a directory that end in `end`, without it;
/// none if the directory cannot be read.
pub(super) fn stems(dir: &Path, end: &'static str) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(move |entry| Some(entry.file_name().to_str()?.strip_suffix(end)?.to_owned()))
}

/// Says that the name does not exist, and which one was probably meant.
pub(super) fn unknown(name: &str, known: &BTreeSet<String>) -> Refused {
    let others = known.iter().map(String::as_str).filter(|other| *other != name);
    let next = match closest(name, others) {
        Some(near) => format!("did you mean {near}?"),
        None if known.contains(name) => "its definition is invalid; `herdsman validate` shows why".to_owned(),
        None if known.is_empty() => "there are no models yet".to_owned(),
        None => "`herdsman status` lists all models".to_owned(),
    };
    let message = format!("there is no model named {name}\nhelp: {next}");
    Refused { exit: Exit::Usage, message }
}
