//! The two vocabularies, by example and by property.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::database::convert::{StoreModel, parse_id, to_database, to_store, type_from_word, word_of_type};
use crate::model::Status;

fn raw_row(database: &Database, scratch: &Scratch, columns: &str) -> crate::database::ModelRow {
    scratch.client().execute_batch(&format!("DELETE FROM models; INSERT INTO models {columns}")).unwrap();
    database.get_models(&Default::default()).unwrap().pop().unwrap()
}

#[test]
fn ids_are_read_strictly() {
    assert_eq!((parse_id("7"), parse_id("0"), parse_id("9007199254740991")), (Ok(7), Ok(0), Ok((1 << 53) - 1)));
    for text in
        ["", "7b-chat", " 7", "7 ", "+7", "-7", "07", "7.0", "0x7", "٧", "9007199254740992", "99999999999999999999"]
    {
        assert!(parse_id(text).is_err(), "{text:?}");
    }
}

#[test]
fn types_keep_their_words() {
    for model_type in ModelType::ALL {
        assert_eq!(type_from_word(word_of_type(model_type)), model_type);
    }
    assert_eq!(type_from_word("mistral"), ModelType::Mistral);
    assert_eq!(type_from_word("gpt"), ModelType::Other);
    assert_eq!(type_from_word("Llama"), ModelType::Other);
}

#[test]
fn the_store_form_is_what_the_contract_says() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1_700_000_000_123)).unwrap();
    let store = to_store(&database.get_model_by_name("a").unwrap().unwrap());
    assert_eq!(
        serde_json::to_value(&store).unwrap(),
        json!({
            "id": "1", "name": "a", "type": "llama", "status": "idle", "template": null,
            "createdAt": "2023-11-14T22:13:20.123Z", "updatedAt": "2023-11-14T22:13:20.123Z",
            "parameters": {
                "ctx_size": 8192, "batch_size": 2048, "threads": -1, "gpu_layers": "auto", "temperature": 0.7,
                "top_k": 40, "top_p": 0.9, "model_path": "/w/m.gguf", "model": "/w/m.gguf",
                "parallel": 4, "cont_batching": true, "prio": 2, "rope_scale": 1.5,
            },
        })
    );
    assert_eq!(serde_json::from_value::<StoreModel>(serde_json::to_value(&store).unwrap()).unwrap(), store);
}

#[test]
fn a_column_another_client_changed_shows_over_the_json() {
    let scratch = Scratch::new();
    let database = scratch.open();
    let row = raw_row(&database, &scratch, "(name, type, status, ctx_size, gpu_layers, n_parallel, parameters, created_at, updated_at) VALUES ('a', 'gpt', 'paused', 5, 33, 2, '{\"ctx_size\": 9, \"gpu_layers\": \"auto\"}', 1, 1)".replace("paused", "stopped").as_str());
    let store = to_store(&row);
    let shown = ["ctx_size", "gpu_layers", "n_parallel"].map(|key| store.parameters[key].clone());
    assert_eq!(shown, [json!(5), json!(33), json!(2)]);
}

#[test]
fn an_edit_of_the_store_form_writes_only_what_it_changed() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let row = raw_row(
        &database,
        &scratch,
        "(name, type, status, n_parallel, parameters, created_at, updated_at) VALUES ('a', 'gpt', 'stopped', 4, '{\"parallel\": 4, \"seed\": 1}', 1, 1)",
    );
    let mut store = to_store(&row);
    assert_eq!(to_database(&store, Some(&row)), Fields::new());
    store.parameters.insert("parallel".to_owned(), json!(8));
    store.parameters.insert("gpu_layers".to_owned(), json!("all"));
    store.template = Some("t".to_owned());
    let updates = to_database(&store, Some(&row));
    let columns: Vec<&str> = updates.keys().map(String::as_str).collect();
    assert_eq!(columns, ["chat_template", "gpu_layers", "n_parallel", "parameters"]);
    database.update_model(row.id(), &updates, at(5)).unwrap();
    let after = database.get_model_by_id(row.id()).unwrap().unwrap();
    assert_eq!((after.text("type"), after.integer("n_parallel")), (Some("gpt"), Some(8)));
    assert_eq!(after.parameters(), object(json!({ "parallel": 8, "seed": 1, "gpu_layers": "all" })));
    let again = to_store(&after);
    assert_eq!((&again.parameters, &again.template), (&store.parameters, &store.template));
}

/// JSON that survives being printed and read: decimal fractions, no NaN.
fn json_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<i32>().prop_map(|number| Json::from(f64::from(number) / 1000.0)),
        "\\PC{0,8}".prop_map(Json::from),
        (0..99_i32).prop_map(|number| Json::from(number.to_string())),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..3)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

fn parameter_name() -> impl Strategy<Value = String> {
    let known = [
        "ctx_size",
        "gpu_layers",
        "temperature",
        "temp",
        "model",
        "model_path",
        "parallel",
        "n_parallel",
        "cont_batching",
        "chat_template",
        "hf_repo",
        "prio",
        "file_size_bytes",
        "hf_token",
        "parameters",
    ];
    prop_oneof![prop::sample::select(known.to_vec()).prop_map(str::to_owned), "[a-z_]{1,8}"]
}

fn store_model() -> impl Strategy<Value = StoreModel> {
    (
        "\\PC{1,12}",
        prop::sample::select(ModelType::ALL.to_vec()),
        prop::sample::select(Status::ALL.to_vec()),
        prop::option::of("\\PC{0,9}"),
        prop::collection::btree_map(parameter_name(), json_value(), 0..8),
        (0..4_000_000_000_000_i64, 0..4_000_000_000_000_i64),
    )
        .prop_map(|(name, model_type, status, template, parameters, (created, updated))| StoreModel {
            id: None,
            name,
            model_type,
            status,
            template,
            parameters: parameters.into_iter().collect(),
            created_at: Some(at(created)),
            updated_at: Some(at(updated)),
        })
}

/// A column's value as some other client may have left it.
fn column_value() -> impl Strategy<Value = ColumnValue> {
    prop_oneof![
        Just(ColumnValue::Null),
        any::<i64>().prop_map(ColumnValue::Integer),
        any::<f64>().prop_map(ColumnValue::Real),
        "\\PC{0,8}".prop_map(ColumnValue::Text),
        prop::collection::btree_map(parameter_name(), json_value(), 0..4)
            .prop_map(|map| ColumnValue::Text(Json::Object(map.into_iter().collect()).to_string())),
    ]
}

/// The cases of a property share one database: making one takes far longer
/// than a case does.
fn check<S: Strategy>(strategy: S, test: impl Fn(&mut Database, &Connection, S::Value) -> Result<(), TestCaseError>) {
    let scratch = Scratch::new();
    let database = std::cell::RefCell::new(scratch.open());
    let client = scratch.client();
    client.pragma_update(None, "synchronous", "OFF").unwrap();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) };
    let outcome = TestRunner::new(config).run(&strategy, |value| {
        client.execute("DELETE FROM models", []).unwrap();
        test(&mut database.borrow_mut(), &client, value)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn store_to_database_to_store_loses_nothing() {
    check(store_model(), |database, _, store| {
        let id = database.save_model(&to_database(&store, None), at(1)).unwrap();
        let back = to_store(&database.get_model_by_id(id).unwrap().unwrap());
        for (key, value) in &store.parameters {
            prop_assert_eq!(back.parameters.get(key), Some(value), "{}", key);
        }
        prop_assert_eq!(parse_id(back.id.as_deref().unwrap()), Ok(id));
        let expected = StoreModel { id: back.id.clone(), parameters: back.parameters.clone(), ..store };
        prop_assert_eq!(back, expected);
        Ok(())
    });
}

#[test]
fn database_to_store_to_database_changes_nothing() {
    let words = ("llama|gpt|mistral|mistrall|custom|\\PC{0,5}", "running|stopped|loading|error");
    check((prop::collection::vec(column_value(), 35), words), |database, client, (values, (kind, status))| {
        let sql = "INSERT INTO models (name, type, status, created_at, updated_at) VALUES ('a', ?1, ?2, 1, 1)";
        client.execute(sql, [&kind, &status]).unwrap();
        let row = database.get_model_by_name("a").unwrap().unwrap();
        let free = row.columns().filter(|(column, _)| !["id", "name", "type", "status"].contains(column));
        let mut set = Vec::new();
        let mut bound = Vec::new();
        for ((column, _), value) in free.zip(&values) {
            // SQLite stores no NaN, and two of the columns take no null.
            let nothing =
                matches!(value, ColumnValue::Null) || matches!(value, ColumnValue::Real(real) if real.is_nan());
            if !(nothing && column.ends_with("_at")) {
                set.push(format!("{column} = ?"));
                bound.push(value);
            }
        }
        client.execute(&format!("UPDATE models SET {}", set.join(", ")), rusqlite::params_from_iter(bound)).unwrap();
        let row = database.get_model_by_name("a").unwrap().unwrap();
        prop_assert_eq!(to_database(&to_store(&row), Some(&row)), Fields::new());
        // Neither does a way through JSON text.
        let text = serde_json::to_string(&to_store(&row)).unwrap();
        let parsed: StoreModel = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(to_database(&parsed, Some(&row)), Fields::new());
        Ok(())
    });
}
