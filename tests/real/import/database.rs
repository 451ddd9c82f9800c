//! Rows of a models database.

use std::fs;

use rusqlite::Connection;

use super::{all_valid, whole};
use crate::support::World;

#[test]
fn rows_of_another_program_become_definitions_and_its_defaults_do_not() {
    let world = World::new();
    let path = world.path().join("models.db");
    let database = Connection::open(&path).unwrap();
    database
        .execute_batch(
            "CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, status TEXT NOT NULL,
                 model_path TEXT, hf_repo TEXT, hf_token TEXT, ctx_size INTEGER DEFAULT 0, gpu_layers INTEGER DEFAULT -1,
                 n_parallel INTEGER DEFAULT 4, cont_batching INTEGER DEFAULT 0, temperature REAL DEFAULT 0.8,
                 cache_type_k TEXT DEFAULT 'f16', mirostat INTEGER DEFAULT (0), color TEXT, parameters TEXT,
                 created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
             INSERT INTO models (name, type, status, model_path, created_at, updated_at)
                 VALUES ('plain', 'llama', 'stopped', '/models/plain.gguf', 1, 1);
             INSERT INTO models (name, type, status, model_path, hf_token, ctx_size, gpu_layers, n_parallel, cont_batching,
                                 cache_type_k, color, parameters, created_at, updated_at)
                 VALUES ('Chat 8B', 'mistrall', 'running', 'models/chat.gguf', 'hf_verysecret', 8192, -1, 2, 1, 'q8_0', 'red',
                         '{\"gpu_layers\": \"auto\", \"temp\": 0.5, \"api_key\": \"verysecret\", \"port\": 9001, \"frob\": {\"token\": \"verysecret\"}}', 2, 2);
             INSERT INTO models (name, type, status, parameters, created_at, updated_at)
                 VALUES ('broken', 'gpt', 'error', 'not json', 3, 3);",
        )
        .unwrap();
    drop(database);
    let before = fs::read(&path).unwrap();
    let ran = world.run(&["import", "database", "models.db", "--to", "out"]).exits(1);
    let text = whole(&world, &ran, "out");
    assert!(!text.contains("verysecret"), "{text}");
    insta::assert_snapshot!(text);
    all_valid(&world.path().join("out"), 2);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_database_that_cannot_be_read_as_it_is_is_66() {
    let world = World::new();
    let path = world.path().join("open.db");
    let database = Connection::open(&path).unwrap();
    database.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE models (id INTEGER PRIMARY KEY);").unwrap();
    // What it holds is in its log, which nobody can read without the index beside it.
    fs::copy(&path, world.path().join("models.db")).unwrap();
    fs::copy(world.path().join("open.db-wal"), world.path().join("models.db-wal")).unwrap();
    world.run(&["import", "database", "models.db", "--to", "out"]).exits(66).says(&["models.db", "write-ahead log"]);
}

#[test]
fn of_our_own_database_the_rows_that_are_not_managed_become_definitions() {
    let world = World::new();
    world.weights("mine", "mine ");
    world.write_definition(
        "mine",
        &(World::tiny_toml("mine").replace("[parameters]", "state = \"stopped\"\n[parameters]")),
    );
    world.converges();
    let database = Connection::open(world.state_dir().join("herdsman.db")).unwrap();
    let row = "INSERT INTO models (name, type, status, model_path, top_k, created_at, updated_at)
               VALUES ('theirs', 'llama', 'stopped', '/m.gguf', 20, 1, 1)";
    database.execute(row, []).unwrap();
    drop(database);
    let ran = world.run(&["import", "database", "state/herdsman.db", "--to", "models.d"]).exits(0);
    ran.says(&["mine: not imported: herdsman already manages it", "Wrote 1 definition, 1 model left out."]);
    let text = fs::read_to_string(world.models_dir().join("theirs.toml")).unwrap();
    assert!(text.contains("top_k = 20") && !text.contains("temperature") && text.contains("row 2"), "{text}");
    // The definition takes the row over.
    world.converges().says(&["theirs"]);
    world.is_settled();
}
