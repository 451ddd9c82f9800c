//! Rows of a models database: another program's, or those of our own that herdsman
//! does not manage.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value as Json};

use super::given::Given;
use super::model::LeftOut;
use super::model::{Model, Secret};
use super::options::Options;
use super::remark::{Reason, SourceLocation, Why};
use super::secret::may_hold_one;
use super::source::{Read, SourceError};
use crate::database::{Database, DatabaseError, ModelFilter, ModelRow, Problem};
use crate::model::{DesiredState, ModelType, Status};

/// Reads the rows of the SQLite file `path`; messages call it `shown`.
pub(super) fn read(path: &Path, shown: &str, options: &Options<'_>) -> Result<Read, SourceError> {
    if let Err(error) = crate::sys::regular::open(path) {
        let help = "pass the path of an SQLite file with the table `models`";
        return Err(SourceError::Unreadable { shown: shown.to_owned(), cause: error.to_string(), help });
    }
    let empty = || SourceError::Wrong(format!("nothing to import: the table `models` of {shown} has no rows"));
    let database = Database::open_read_only(path).map_err(refused)?.ok_or_else(empty)?;
    let rows = database.get_models(&ModelFilter::default()).map_err(refused)?;
    let records = database.records().map_err(refused)?;
    let managed: BTreeMap<i64, &str> = records.models.values().map(|m| (m.id, m.source.as_str())).collect();
    let mut read = Read::default();
    // Oldest first, in the order they were created.
    for row in rows.iter().rev() {
        let place = SourceLocation::whole(&format!("{shown} row {}", row.id()));
        if let Some(source) = managed.get(&row.id()) {
            let why = Reason::Managed((*source).to_owned());
            read.left_out.push(LeftOut::new(row.name(), place, why));
            continue;
        }
        let stated = database.stated(row).map_err(refused)?;
        read.models.push(model(row, &stated, &place, options));
    }
    if rows.is_empty() { Err(empty()) } else { Ok(read) }
}

/// Classifies a database error: an unreadable database is not an invalid one.
fn refused(error: DatabaseError) -> SourceError {
    match error.problem {
        Problem::CannotOpen(_) | Problem::Locked { .. } | Problem::Io(_) | Problem::ReadOnly | Problem::UncleanLog => {
            SourceError::UnreadableDatabase(error)
        }
        _ => SourceError::Wrong(error.to_string()),
    }
}

fn model(row: &ModelRow, stated: &Map<String, Json>, place: &SourceLocation, options: &Options<'_>) -> Model {
    let state = match row.status() {
        Status::Running | Status::Loading => DesiredState::Running,
        Status::Idle | Status::Error => DesiredState::Stopped,
    };
    let mut model = Model::new(row.name(), place.clone(), state);
    model.model_type = Some(row.model_type()).filter(|model_type| *model_type != ModelType::Llama);
    if row.text("hf_token").is_some_and(|token| !token.is_empty()) {
        model.secret("hf_token", Secret::ToFill, place);
    }
    if row.text("parameters").is_some_and(|text| serde_json::from_str::<Map<String, Json>>(text).is_err()) {
        let why = Why::BadValue("it is not a JSON object".to_owned());
        model.remark(place, "the column `parameters`", why);
    }
    for (key, value) in stated.iter().filter(|(_, value)| !value.is_null()) {
        state_one(&mut model, key, value, place, options);
    }
    model
}

fn state_one(model: &mut Model, key: &str, value: &Json, place: &SourceLocation, options: &Options<'_>) {
    // Text that means nothing, as forms leave it behind.
    if value.as_str() == Some("") {
        return;
    }
    let catalogue = std::sync::Arc::clone(&options.catalogue);
    let shown = match may_hold_one(key, &value.to_string()) {
        true => key.to_owned(),
        false => format!("{key} = {value}"),
    };
    if key == "aliases"
        && let Some(names) = value.as_array()
    {
        names.iter().filter_map(Json::as_str).for_each(|name| model.alias(name));
        return;
    }
    match catalogue.argument(&format!("--{key}")) {
        Some((option, negated)) => options.set(model, option, negated, &Given::Json(value.clone()), key, place),
        None => model.remark(place, shown, Why::UnknownOption),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_locked_is_one_that_cannot_be_read() {
        let refused = |problem| refused(DatabaseError { path: "/d".into(), problem });
        let locked = Problem::Locked { waited: std::time::Duration::ZERO };
        assert!(matches!(refused(locked), SourceError::UnreadableDatabase(_)));
        assert!(matches!(refused(Problem::Io("disk".to_owned())), SourceError::UnreadableDatabase(_)));
        assert!(matches!(refused(Problem::NotADatabase), SourceError::Wrong(_)));
    }
}
