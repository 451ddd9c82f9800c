//! Databases other programs made.

use super::*;
use crate::database::{ModelFilter, Problem};
use crate::model::Row;

/// The required columns, a few of the contract's, and `extra`.
fn foreign(scratch: &Scratch, columns: &str) -> Connection {
    let client = scratch.client();
    client.execute_batch(&format!("CREATE TABLE models ({columns})")).unwrap();
    client
}

const REQUIRED: &str = "id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL,
    created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL";

fn refusal(columns: &str) -> Problem {
    let scratch = Scratch::new();
    foreign(&scratch, columns);
    let written = Database::open(&scratch.path()).unwrap_err();
    let read = Database::open_read_only(&scratch.path()).unwrap_err();
    assert_eq!(written.to_string(), read.to_string());
    assert!(written.to_string().contains("herdsman.db: "), "{written}");
    written.problem
}

#[test]
fn fewer_columns_are_enough_and_those_that_exist_are_written() {
    let scratch = Scratch::new();
    foreign(&scratch, &format!("{REQUIRED}, ctx_size INTEGER, \"Odd \"\"Name\" TEXT DEFAULT 'kept'"));
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    let row = database.get_model_by_name("a").unwrap().unwrap();
    assert_eq!((row.integer("ctx_size"), row.get("threads"), row.text("odd \"name")), (Some(8192), None, Some("kept")));
    assert_eq!(record(&database, "a").row, Row::Present(Vec::new()));
    let id = database.save_model(&fields([("name", text("b")), ("ctx_size", int(1))]), at(2)).unwrap();
    database.update_model(id, &fields([("odd \"name", text("new"))]), at(3)).unwrap();
    assert_eq!(database.get_model_by_id(id).unwrap().unwrap().text("odd \"name"), Some("new"));
    let error = database.update_model(id, &fields([("threads", int(1))]), at(3)).unwrap_err();
    assert!(matches!(error.problem, Problem::UnknownField { .. }), "{error}");
}

#[test]
fn many_more_columns_are_left_alone() {
    let scratch = Scratch::new();
    let extra: String = (0..169).map(|number| format!(", extra_{number} INTEGER DEFAULT {number}")).collect();
    let client = foreign(&scratch, &format!("{REQUIRED}{extra}"));
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    client.execute("UPDATE models SET extra_7 = 70", []).unwrap();
    database.commit(&[Change::UpdateModel { config: config("a") }], at(2)).unwrap();
    let row = database.get_model_by_name("a").unwrap().unwrap();
    assert_eq!((row.columns().count(), row.integer("extra_7"), row.integer("extra_168")), (175, Some(70), Some(168)));
}

#[test]
fn columns_another_client_adds_while_we_run_are_filled() {
    let scratch = Scratch::new();
    let client = foreign(&scratch, REQUIRED);
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    client.execute_batch("ALTER TABLE models ADD COLUMN ctx_size INTEGER").unwrap();
    let Row::Present(drift) = record(&database, "a").row else { panic!("missing") };
    assert_eq!(drift.iter().map(|one| one.column.as_str()).collect::<Vec<_>>(), ["ctx_size"]);
    database.commit(&[Change::UpdateModel { config: config("a") }], at(2)).unwrap();
    assert_eq!(record(&database, "a").row, Row::Present(Vec::new()));
}

#[test]
fn refuses_a_table_against_the_contract_with_the_difference() {
    let rest = "name TEXT, type TEXT, status TEXT, created_at INTEGER, updated_at INTEGER";
    for (id, word) in [("id TEXT PRIMARY KEY", "TEXT"), ("id INT PRIMARY KEY", "INT"), ("id PRIMARY KEY", "untyped")] {
        let problem = refusal(&format!("{id}, {rest}"));
        assert!(matches!(&problem, Problem::IdType { found } if found == word), "{problem}");
    }
    assert!(matches!(refusal(&format!("id INTEGER, {rest}")), Problem::IdType { .. }));
    let problem = refusal("id INTEGER PRIMARY KEY, name TEXT, status TEXT, created_at INTEGER");
    assert!(problem.to_string().contains("lacks the columns `type`, `updated_at`"), "{problem}");
    let scratch = Scratch::new();
    scratch
        .client()
        .execute_batch(
            "CREATE TABLE real_models (id INTEGER PRIMARY KEY); CREATE VIEW models AS SELECT * FROM real_models",
        )
        .unwrap();
    let error = Database::open(&scratch.path()).unwrap_err();
    assert!(matches!(&error.problem, Problem::NotATable { kind } if kind.contains("view")), "{error}");
}

#[test]
fn the_indexes_exist_and_names_are_unique() {
    let scratch = Scratch::new();
    let client = foreign(&scratch, REQUIRED);
    scratch.open();
    let sql = "SELECT name, \"unique\" FROM pragma_index_list('models') ORDER BY name";
    let mut statement = client.prepare(sql).unwrap();
    let indexes: Vec<(String, bool)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    let expected = [
        ("idx_models_created", false),
        ("idx_models_name", true),
        ("idx_models_status", false),
        ("idx_models_type", false),
    ];
    assert_eq!(indexes, expected.map(|(name, unique)| (name.to_owned(), unique)));
}

#[test]
fn duplicate_names_are_reported_and_never_picked_from() {
    let scratch = Scratch::new();
    let client = foreign(&scratch, REQUIRED);
    client
        .execute_batch("INSERT INTO models VALUES (1, 'x', 'gpt', 'stopped', 1, 1), (2, 'x', 'gpt', 'stopped', 1, 1), (3, 'y', 'gpt', 'stopped', 1, 1)")
        .unwrap();
    let mut database = scratch.open();
    assert_eq!(database.duplicate_names().unwrap(), [("x".to_owned(), vec![1, 2])]);
    assert_eq!(database.records().unwrap().unmanaged.len(), 3);
    let error = database.get_model_by_name("x").unwrap_err();
    assert!(matches!(&error.problem, Problem::DuplicateName { ids, .. } if *ids == [1, 2]), "{error}");
    let error = database.commit(&create(&config("x")), at(1)).unwrap_err();
    assert!(matches!(error.problem, Problem::NameTaken { .. }), "{error}");
    // Ours is identified by its id, and returns although its name is ambiguous.
    database.commit(&adopt(&config("x"), 2), at(1)).unwrap();
    assert_eq!(record(&database, "x").id, 2);
    client
        .execute_batch("DELETE FROM models WHERE id = 2; INSERT INTO models VALUES (8, 'x', 'gpt', 'stopped', 9, 9)")
        .unwrap();
    assert_eq!(record(&database, "x").row, Row::Missing);
    database.commit(&[Change::UpdateModel { config: config("x") }], at(2)).unwrap();
    assert_eq!((record(&database, "x").id, database.records().unwrap().unmanaged.len()), (2, 3));
}

#[test]
fn odd_values_in_foreign_rows_hide_no_others() {
    let scratch = Scratch::new();
    let client = foreign(&scratch, &format!("{REQUIRED}, parameters TEXT"));
    client
        .execute_batch("INSERT INTO models VALUES (1, CAST(x'ff41' AS TEXT), x'00', 'paused', 'today', 1.5, '[')")
        .unwrap();
    let database = scratch.open();
    assert_eq!(database.records().unwrap().unmanaged[0].name, "\u{fffd}A");
    let rows = database.get_models(&ModelFilter::default()).unwrap();
    assert_eq!((rows[0].name(), rows[0].created_at()), ("\u{fffd}A", None));
    let store = crate::database::convert::to_store(&rows[0]);
    assert_eq!((store.model_type, store.status.as_str()), (ModelType::Other, "idle"));
    assert!(store.parameters.is_empty());
}

#[test]
fn names_a_trigger_that_forbids_a_write() {
    let scratch = Scratch::new();
    let client = foreign(&scratch, &format!("{REQUIRED}, owner TEXT NOT NULL"));
    let mut database = scratch.open();
    let error = database.commit(&create(&config("a")), at(1)).unwrap_err();
    assert!(error.to_string().contains("models.owner"), "{error}");
    client.execute_batch("ALTER TABLE models DROP COLUMN owner").unwrap();
    database.commit(&create(&config("a")), at(1)).unwrap();
}
