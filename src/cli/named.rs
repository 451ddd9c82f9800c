//! Names that nothing has.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Exit, Places, Refused};
use crate::database::{Database, DatabaseError};
use crate::definition::closest;

/// Every name there is a definition, a record, a row or a history of.
/// A definition counts by its file's name: it need not be readable.
pub(super) fn known(places: &Places, database: Option<&Database>) -> Result<BTreeSet<String>, DatabaseError> {
    let mut names = database.map(Database::names).transpose()?.unwrap_or_default();
    names.extend(stems(&places.models_dir, ".toml").filter(|name| !name.starts_with(['_', '.'])));
    Ok(names)
}

/// The names of the files in a directory that end so, without that end. None,
/// if it cannot be read.
pub(super) fn stems(dir: &Path, end: &'static str) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(move |entry| Some(entry.file_name().to_str()?.strip_suffix(end)?.to_owned()))
}

/// That there is no such name, and which one was likely meant.
pub(super) fn unknown(name: &str, known: &BTreeSet<String>) -> Refused {
    let others = known.iter().map(String::as_str).filter(|other| *other != name);
    let next = match closest(name, others) {
        Some(near) => format!("did you mean {near}?"),
        None if known.contains(name) => "its definition cannot be used: see `herdsman validate`".to_owned(),
        None if known.is_empty() => "there are no models yet".to_owned(),
        None => "`herdsman status` lists all there are".to_owned(),
    };
    let message = format!("no definition, record, row or history is named {name}; {next}");
    Refused { exit: Exit::Usage, message }
}
