//! Databases that other programs made, filled, edited and damaged. The memory
//! that is bounded here is herdsman's own: SQLite's is not counted.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use super::*;
use crate::database::{ModelFilter, convert};
use crate::hostile::{Target, survives};

/// Reads everything in both ways of opening, and writes everything. Any of it may
/// be refused, none of it may do harm.
fn use_all(path: &std::path::Path) {
    if let Ok(Some(database)) = Database::open_read_only(path) {
        read_all(&database);
    }
    let Ok(mut database) = Database::open(path) else { return };
    read_all(&database);
    let _ = database.commit(&create(&config("new")), at(1));
    let _ = database.commit(&[Change::UpdateModel { config: config("a") }], at(2));
    if let Ok(id) = database.save_model(&fields([("name", text("saved")), ("ctx_size", int(1))]), at(3)) {
        let _ = database.update_model(id, &fields([("temperature", ColumnValue::Real(0.5))]), at(4));
        let _ = database.delete_model(id);
    }
    read_all(&database);
    let _ = database.commit(&[Change::DeleteModel { model: name("a") }], at(5));
}

fn read_all(database: &Database) {
    if let Ok(records) = database.records() {
        for model in records.models.keys() {
            let _ = database.status_recorded_at(model);
            let _ = database.events(Some(model), 10);
        }
    }
    let _ = (
        database.applied_plan("1"),
        database.events(None, 100),
        database.restarts(),
        database.duplicate_names(),
        database.data_version(),
    );
    for row in database.get_models(&ModelFilter::default()).unwrap_or_default() {
        let store = convert::to_store(&row);
        let _ = (convert::to_database(&store, Some(&row)), row.to_json());
        let _ = database.get_model_by_name(row.name());
    }
}

#[test]
fn no_schema_and_no_row_of_another_program_does_harm() {
    let words: &[&[u8]] = &[
        b"models",
        b"herdsman_meta",
        b"herdsman_models",
        b"herdsman_instances",
        b"INTEGER PRIMARY KEY",
        b" NOT NULL",
        b" UNIQUE",
        b" CHECK (0)",
        b" COLLATE NOCASE",
        b" WITHOUT ROWID",
        b" STRICT",
        b" DEFAULT (random())",
        b" AS (1) STORED",
        b"x'ff'",
        b"NULL",
        b"9e999",
        b"'[[[['",
        b"'{}'",
        b"char(0)",
        b";\n",
        b"CREATE TABLE ",
        b"CREATE UNIQUE INDEX idx_models_name ON ",
        b"'-1'",
        b"DELETE FROM ",
        b"UPDATE models SET ",
    ];
    let scratch = Scratch::new();
    let count = AtomicI64::new(0);
    let target = Target {
        name: "schema",
        words,
        cases: 150,
        longest: 8 << 10,
        memory: 4 << 20,
        memory_per_byte: 256,
        ..Target::default()
    };
    survives(target, move |bytes| {
        let path = scratch.directory.path().join(format!("{}.db", count.fetch_add(1, Relaxed)));
        let client = Connection::open(&path).unwrap();
        for statement in String::from_utf8_lossy(bytes).split(";\n") {
            // Most mutations are not SQL.
            let _ = client.execute_batch(statement);
        }
        drop(client);
        use_all(&path);
        for entry in std::fs::read_dir(scratch.directory.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    });
}

#[test]
fn no_damage_to_the_file_does_harm() {
    let scratch = Scratch::new();
    let path = scratch.path();
    let target = Target {
        name: "database",
        words: &[b"\0\0\0\0", b"SQLite format 3\0"],
        cases: 150,
        longest: 256 << 10,
        memory: 4 << 20,
        ..Target::default()
    };
    survives(target, move |bytes| {
        for beside in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(scratch.directory.path().join(format!("herdsman.db{beside}")));
        }
        std::fs::write(&path, bytes).unwrap();
        use_all(&path);
    });
}
