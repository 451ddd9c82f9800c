//! Names of models: which exist, and what to say about one that does not.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Exit, Places, Refused};
use crate::database::{Database, DatabaseError};
use crate::definition::closest;

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
