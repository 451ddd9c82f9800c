//! What other clients do to managed rows.

use super::*;
use crate::model::{ColumnDrift, Row, Status};

fn managed(scratch: &Scratch) -> Database {
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    database
}

fn drifted(database: &Database) -> Vec<(String, String, String)> {
    match record(database, "a").row {
        Row::Present(drift) => {
            drift.into_iter().map(|ColumnDrift { column, recorded, found }| (column, recorded, found)).collect()
        }
        Row::Missing => panic!("the row is missing"),
    }
}

fn put_back(database: &mut Database) {
    database.commit(&[Change::UpdateModel { config: config("a") }], at(20)).unwrap();
    assert_eq!(record(database, "a").row, Row::Present(Vec::new()));
}

#[test]
fn reports_and_restores_a_changed_column() {
    let scratch = Scratch::new();
    let mut database = managed(&scratch);
    scratch.client().execute("UPDATE models SET ctx_size = 1, model_path = NULL, type = 'gpt'", []).unwrap();
    let expected = [("type", "llama", "gpt"), ("model_path", "/w/m.gguf", "NULL"), ("ctx_size", "8192", "1")];
    let found = drifted(&database);
    assert_eq!(found, expected.map(|(column, was, is)| (column.to_owned(), was.to_owned(), is.to_owned())));
    put_back(&mut database);
    assert_eq!(database.get_model_by_name("a").unwrap().unwrap().integer("ctx_size"), Some(8192));
}

#[test]
fn columns_herdsman_does_not_own_never_drift() {
    let scratch = Scratch::new();
    let mut database = managed(&scratch);
    let client = scratch.client();
    client.execute_batch("ALTER TABLE models ADD COLUMN rating INTEGER").unwrap();
    client
        .execute(
            "UPDATE models SET status = 'running', updated_at = 9, created_at = 9, hf_token = 'x', rating = 5,
                 fit_params_available = 1, last_fit_params_check = 7",
            [],
        )
        .unwrap();
    assert_eq!(drifted(&database), []);
    assert_eq!(record(&database, "a").status, Status::Running, "the row's own status is what is shown");
    put_back(&mut database);
    let row = database.get_model_by_name("a").unwrap().unwrap();
    assert_eq!(
        (row.integer("rating"), row.text("hf_token"), row.integer("fit_params_available")),
        (Some(5), Some("x"), Some(1))
    );
}

#[test]
fn reformatting_json_or_numbers_is_not_drift() {
    let scratch = Scratch::new();
    let database = managed(&scratch);
    let client = scratch.client();
    let mut json = config("a").parameters;
    json.insert("ctx_size".to_owned(), json!(8192.0));
    let pretty = serde_json::to_string_pretty(&json).unwrap();
    client.execute("UPDATE models SET parameters = ?1, ctx_size = 8192.0", [&pretty]).unwrap();
    assert_eq!(drifted(&database), []);
    client.execute("UPDATE models SET parameters = json_set(parameters, '$.rope_scale', 2)", []).unwrap();
    assert_eq!(drifted(&database)[0].0, "parameters");
    client.execute("UPDATE models SET parameters = 'no json'", []).unwrap();
    assert_eq!(drifted(&database)[0].2, "no json");
}

#[test]
fn a_deleted_row_returns_with_its_id_and_status() {
    let scratch = Scratch::new();
    let mut database = managed(&scratch);
    database.commit(&[Change::SetStatus { model: name("a"), status: Status::Running, message: None }], at(2)).unwrap();
    let id = record(&database, "a").id;
    scratch.client().execute("DELETE FROM models", []).unwrap();
    let record_now = record(&database, "a");
    assert_eq!((record_now.row, record_now.id, record_now.status), (Row::Missing, id, Status::Running));
    // Observed facts can still be recorded meanwhile.
    database.commit(&[Change::SetStatus { model: name("a"), status: Status::Error, message: None }], at(3)).unwrap();
    put_back(&mut database);
    assert_eq!((record(&database, "a").id, record(&database, "a").status), (id, Status::Error));
}

#[test]
fn a_recreated_row_with_the_name_belongs_to_the_model() {
    let scratch = Scratch::new();
    let mut database = managed(&scratch);
    let client = scratch.client();
    client.execute("DELETE FROM models", []).unwrap();
    client
        .execute("INSERT INTO models (id, name, type, status, created_at, updated_at) VALUES (40, 'a', 'gpt', 'loading', 5, 5)", [])
        .unwrap();
    let records = database.records().unwrap();
    assert_eq!((records.models["a"].id, records.models["a"].status), (40, Status::Loading));
    assert!(records.unmanaged.is_empty());
    assert!(drifted(&database).iter().any(|(column, ..)| column == "ctx_size"));
    put_back(&mut database);
    assert_eq!(record(&database, "a").id, 40);
}

#[test]
fn a_renamed_row_is_drift_of_its_name() {
    let scratch = Scratch::new();
    let mut database = managed(&scratch);
    let id = record(&database, "a").id;
    scratch.client().execute("UPDATE models SET name = 'z'", []).unwrap();
    let records = database.records().unwrap();
    assert!(records.unmanaged.is_empty(), "it is not somebody else's");
    assert_eq!(drifted(&database), [("name".to_owned(), "a".to_owned(), "z".to_owned())]);
    put_back(&mut database);
    assert_eq!(record(&database, "a").id, id);
}

#[test]
fn swapped_names_do_not_wedge_the_database() {
    let scratch = Scratch::new();
    let mut database = managed(&scratch);
    database.commit(&create(&config("b")), at(1)).unwrap();
    let client = scratch.client();
    client.execute_batch("UPDATE models SET name = 't' WHERE name = 'a'; UPDATE models SET name = 'a' WHERE name = 'b'; UPDATE models SET name = 'b' WHERE name = 't'").unwrap();
    let both = ["a", "b"].map(|model| Change::UpdateModel { config: config(model) });
    database.commit(&both, at(2)).unwrap();
    let records = database.records().unwrap();
    assert!(records.unmanaged.is_empty());
    assert!(records.models.values().all(|model| model.row == Row::Present(Vec::new())));
}

#[test]
fn a_new_row_with_our_id_is_not_ours() {
    let scratch = Scratch::new();
    let mut database = managed(&scratch);
    let id = record(&database, "a").id;
    let client = scratch.client();
    client.execute("UPDATE models SET name = 'stranger', created_at = 77", []).unwrap();
    let records = database.records().unwrap();
    assert_eq!(records.models["a"].row, Row::Missing);
    assert_eq!(records.unmanaged.iter().map(|row| row.id).collect::<Vec<_>>(), [id]);
    put_back(&mut database);
    assert_ne!(record(&database, "a").id, id);
    assert_eq!(database.get_model_by_id(id).unwrap().unwrap().name(), "stranger");
    database.commit(&[Change::DeleteModel { model: name("a") }], at(3)).unwrap();
    assert!(database.get_model_by_id(id).unwrap().is_some());
}

#[test]
fn an_adopted_row_keeps_what_herdsman_does_not_own() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    scratch
        .client()
        .execute("INSERT INTO models (id, name, type, status, hf_token, ctx_size, created_at, updated_at) VALUES (9, 'a', 'gpt', 'running', 's', 3, 4, 4)", [])
        .unwrap();
    assert_eq!(database.records().unwrap().unmanaged.len(), 1);
    let mut wanted = config("a");
    wanted.model_type = ModelType::Other;
    database.commit(&adopt(&wanted, 9), at(8)).unwrap();
    let now = record(&database, "a");
    assert_eq!((now.id, now.status, now.row), (9, Status::Running, Row::Present(Vec::new())));
    let row = database.get_model_by_id(9).unwrap().unwrap();
    assert_eq!((row.text("type"), row.text("hf_token")), (Some("gpt"), Some("s")));
    assert_eq!((row.integer("ctx_size"), row.created_at(), row.updated_at()), (Some(8192), Some(at(4)), Some(at(8))));
    assert!(database.records().unwrap().unmanaged.is_empty());
}

#[test]
fn recreates_a_row_that_vanished_before_adoption() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&adopt(&config("a"), 123), at(8)).unwrap();
    assert_eq!(record(&database, "a").row, Row::Present(Vec::new()));
}

#[test]
fn shows_foreign_text_short_and_without_terminal_escapes() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    let hostile = format!("\u{1b}[2J\r\n{}", "x".repeat(1 << 20));
    scratch.client().execute("UPDATE models SET chat_template = ?1", [hostile]).unwrap();
    let Row::Present(drift) = record(&database, "a").row else { panic!("missing") };
    assert_eq!((drift.len(), drift[0].column.as_str()), (1, "chat_template"));
    assert!(drift[0].found.chars().count() < 400 && !drift[0].found.chars().any(char::is_control), "{drift:?}");
}
