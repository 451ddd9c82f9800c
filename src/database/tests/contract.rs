//! The five functions of database.md.

use super::*;
use crate::database::{ModelFilter, Problem};

fn named(model: &str) -> Fields {
    fields([("name", text(model))])
}

fn names(database: &Database, filter: ModelFilter) -> Vec<String> {
    database.get_models(&filter).unwrap().iter().map(|row| row.name().to_owned()).collect()
}

#[test]
fn a_saved_model_takes_the_defaults_of_the_contract() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let id = database.save_model(&fields([("name", text("a")), ("top_k", ColumnValue::Null)]), at(5)).unwrap();
    let row = database.get_model_by_id(id).unwrap().unwrap();
    assert_eq!(row.integer("batch_size"), Some(2048));
    assert_eq!(row.get("temperature"), Some(&ColumnValue::Real(0.8)));
    assert_eq!(row.get("top_k"), Some(&ColumnValue::Null), "null is not the default");
    assert_eq!((row.text("type"), row.text("status")), (Some("llama"), Some("stopped")));
    assert_eq!((row.created_at(), row.updated_at()), (Some(at(5)), Some(at(5))));
    // The table's own defaults, for other clients, are the same.
    scratch
        .client()
        .execute(
            "INSERT INTO models (name, type, status, created_at, updated_at) VALUES ('b', 'llama', 'stopped', 5, 5)",
            [],
        )
        .unwrap();
    let other = database.get_model_by_name("b").unwrap().unwrap();
    for (column, value) in other.columns().filter(|(column, _)| !["id", "name", "top_k"].contains(column)) {
        assert_eq!(row.get(column), Some(value), "{column}");
    }
    assert_eq!(other.columns().count(), 39);
}

#[test]
fn models_are_listed_newest_first_and_ties_by_id() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    for (model, created) in [("old", 1), ("tie-1", 7), ("tie-2", 7), ("mid", 3)] {
        database.save_model(&named(model), at(created)).unwrap();
    }
    assert_eq!(names(&database, ModelFilter::default()), ["tie-2", "tie-1", "mid", "old"]);
}

#[test]
fn filters_are_combined_and_take_wildcards_literally() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    for (model, kind, status) in [
        ("Qwen_3", "llama", "running"),
        ("qwen-3", "gpt", "running"),
        ("100%", "llama", "stopped"),
        ("Ärger", "llama", "error"),
    ] {
        let row = fields([("name", text(model)), ("type", text(kind)), ("status", text(status))]);
        database.save_model(&row, at(1)).unwrap();
    }
    let part = |part: &str| ModelFilter { name: Some(part.to_owned()), ..ModelFilter::default() };
    assert_eq!(names(&database, part("QWEN")), ["qwen-3", "Qwen_3"]);
    assert_eq!(names(&database, part("n_3")), ["Qwen_3"]);
    assert_eq!(names(&database, part("%")), ["100%"]);
    assert_eq!(names(&database, part("äRG")), ["Ärger"]);
    let both = ModelFilter { status: Some("running".into()), model_type: Some("llama".into()), name: Some("q".into()) };
    assert_eq!(names(&database, both), ["Qwen_3"]);
    assert!(names(&database, ModelFilter { status: Some("run".into()), ..ModelFilter::default() }).is_empty());
}

#[test]
fn names_match_exactly_and_values_are_bound() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let odd = "a'; DROP TABLE models; --";
    let id = database.save_model(&named(odd), at(1)).unwrap();
    assert_eq!(database.get_model_by_name(odd).unwrap().unwrap().id(), id);
    assert_eq!(database.get_model_by_name("A'; DROP TABLE models; --").unwrap(), None);
    assert_eq!(database.get_model_by_id(id + 1).unwrap(), None);
}

#[test]
fn an_update_changes_just_the_given_fields() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let id = database.save_model(&fields([("name", text("a")), ("threads", int(4))]), at(1)).unwrap();
    let before = database.get_model_by_id(id).unwrap().unwrap();
    database.update_model(id, &fields([("ctx_size", int(512)), ("top_k", ColumnValue::Null)]), at(9)).unwrap();
    let after = database.get_model_by_id(id).unwrap().unwrap();
    for (column, value) in after.columns() {
        match column {
            "ctx_size" => assert_eq!(value, &int(512)),
            "top_k" => assert_eq!(value, &ColumnValue::Null),
            "updated_at" => assert_eq!(value, &int(9)),
            _ => assert_eq!(Some(value), before.get(column), "{column}"),
        }
    }
}

#[test]
fn unknown_ids_and_fields_are_errors_that_name_them() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let id = database.save_model(&named("a"), at(1)).unwrap();
    let error = database.update_model(id, &fields([("ctx_sise", int(1))]), at(2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}: `models` has no column `ctx_sise`; did you mean `ctx_size`?", scratch.path().display())
    );
    let error = database.save_model(&fields([("name", text("b")), ("zzz", int(1))]), at(2)).unwrap_err();
    assert!(matches!(error.problem, Problem::UnknownField { nearest: None, .. }), "{error}");
    for error in [database.update_model(77, &Fields::new(), at(2)).unwrap_err(), database.delete_model(77).unwrap_err()]
    {
        assert!(matches!(error.problem, Problem::UnknownId { id: 77 }), "{error}");
    }
    assert_eq!(database.get_models(&ModelFilter::default()).unwrap().len(), 1);
}

#[test]
fn refuses_fields_that_cannot_be_set() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let id = database.save_model(&named("a"), at(1)).unwrap();
    for field in ["id", "created_at", "updated_at", "hf_token"] {
        let error = database.update_model(id, &fields([(field, int(3))]), at(2)).unwrap_err();
        assert!(matches!(error.problem, Problem::FixedField { .. }), "{error}");
    }
    for field in ["id", "hf_token"] {
        let error = database.save_model(&fields([("name", text("b")), (field, int(3))]), at(2)).unwrap_err();
        assert!(matches!(error.problem, Problem::FixedField { .. }), "{error}");
    }
    let error = database.save_model(&Fields::new(), at(2)).unwrap_err();
    assert!(matches!(error.problem, Problem::MissingField { field: "name" }), "{error}");
}

#[test]
fn values_a_column_does_not_take_are_refused() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let id = database.save_model(&named("a"), at(1)).unwrap();
    for (field, value) in [
        ("type", text("mistral")),
        ("status", text("idle")),
        ("status", ColumnValue::Null),
        ("name", text("")),
        ("ctx_size", text("many")),
        ("ctx_size", ColumnValue::Real(1.5)),
        ("model_path", int(1)),
        ("parameters", text("[1]")),
    ] {
        let error = database.update_model(id, &fields([(field, value)]), at(2)).unwrap_err();
        assert!(matches!(error.problem, Problem::InvalidValue { .. }), "{error}");
    }
    assert_eq!(database.get_model_by_id(id).unwrap().unwrap().updated_at(), Some(at(1)));
}

#[test]
fn refuses_a_taken_name() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let a = database.save_model(&named("a"), at(1)).unwrap();
    let b = database.save_model(&named("b"), at(1)).unwrap();
    for error in [
        database.save_model(&named("a"), at(2)).unwrap_err(),
        database.update_model(b, &named("a"), at(2)).unwrap_err(),
    ] {
        assert!(matches!(&error.problem, Problem::NameTaken { name, id } if name == "a" && *id == a), "{error}");
    }
    database.update_model(b, &named("b"), at(3)).unwrap();
}

#[test]
fn never_reuses_an_id() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let first = database.save_model(&named("a"), at(1)).unwrap();
    database.delete_model(first).unwrap();
    assert_eq!(database.get_model_by_id(first).unwrap(), None);
    assert!(database.save_model(&named("a"), at(1)).unwrap() > first);
}

#[test]
fn ids_stay_below_two_to_the_fifty_third() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let client = scratch.client();
    client.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('models', (1 << 53) - 2)", []).unwrap();
    database.save_model(&named("last"), at(1)).unwrap();
    let error = database.save_model(&named("beyond"), at(1)).unwrap_err();
    assert!(matches!(error.problem, Problem::IdTooLarge { .. }), "{error}");
    assert_eq!(names(&database, ModelFilter::default()), ["last"]);
}

#[test]
fn other_clients_commits_are_noticed_and_our_own_are_not() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let before = database.data_version().unwrap();
    database.save_model(&named("a"), at(1)).unwrap();
    assert_eq!(database.data_version().unwrap(), before);
    scratch.client().execute("UPDATE models SET threads = 2", []).unwrap();
    assert_ne!(database.data_version().unwrap(), before);
}
