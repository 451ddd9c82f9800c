//! What SQLite holds, read without herdsman, from a copy: opening the file
//! itself would recover it, which is the next herdsman's to do.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, Result};

use crate::support::World;

/// The recorded facts that are looked at.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Rows of `models`.
    pub rows: Vec<Row>,
    /// herdsman's instances.
    pub instances: Vec<Instance>,
    /// What cannot be: half-written records.
    pub broken: Vec<String>,
    /// The sum of all crash counts.
    pub crashes: i64,
}

/// A row of the shared table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub id: i64,
    pub name: String,
    pub status: String,
    /// Every column, as text.
    pub all: String,
    /// Whether herdsman has a record of it.
    pub managed: bool,
}

/// A recorded instance.
#[derive(Debug)]
pub struct Instance {
    pub id: String,
    pub model: String,
    pub process: Option<(i32, u64)>,
}

/// What must never be there, not even at the moment of a death: a name, and a
/// query that gives one line for each.
const BROKEN: [(&str, &str); 8] = [
    (
        "a started instance without its process",
        "SELECT id FROM herdsman_instances WHERE state <> 'intent' AND pid IS NULL",
    ),
    (
        "half an identity",
        "SELECT id FROM herdsman_instances WHERE (pid IS NULL) + (start_ticks IS NULL) + (boot_id IS NULL)
             + (pid_namespace IS NULL) NOT IN (0, 4)",
    ),
    (
        "an instance that nobody owns",
        "SELECT id FROM herdsman_instances WHERE name NOT IN (SELECT name FROM herdsman_models)",
    ),
    (
        "an instance of no generation",
        // 0: adopted, and of a spec that is known no more.
        "SELECT id FROM herdsman_instances i WHERE i.generation > 0 AND NOT EXISTS
             (SELECT 1 FROM herdsman_generations g WHERE g.name = i.name AND g.number = i.generation)",
    ),
    (
        "a model without its row",
        "SELECT name FROM herdsman_models h WHERE NOT EXISTS
             (SELECT 1 FROM models m WHERE m.id = h.model_id AND m.name = h.name)",
    ),
    (
        "a model without its generation",
        "SELECT name FROM herdsman_models h WHERE NOT EXISTS
             (SELECT 1 FROM herdsman_generations g WHERE g.name = h.name AND g.number = h.generation)",
    ),
    (
        "a status that is not the row's",
        "SELECT h.name FROM herdsman_models h JOIN models m ON m.id = h.model_id
             WHERE m.status <> CASE h.status WHEN 'idle' THEN 'stopped' ELSE h.status END",
    ),
    (
        "a port of two models",
        "SELECT port FROM herdsman_models WHERE port IS NOT NULL GROUP BY port HAVING count(*) > 1",
    ),
];

/// The files of a world's database.
pub fn files(world: &World) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| world.state_dir().join(format!("herdsman.db{suffix}")))
}

/// What the database of `world` holds; nothing, if there is none.
pub fn read(world: &World) -> Recorded {
    let copy = tempfile::tempdir_in(world.path()).unwrap();
    let [database, wal, _] = files(world);
    if !database.exists() {
        return Recorded::default();
    }
    for file in [&database, &wal].into_iter().filter(|file| file.exists()) {
        fs::copy(file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    let connection = Connection::open(copy.path().join("herdsman.db")).unwrap();
    match read_from(&connection) {
        Ok(recorded) => recorded,
        Err(error) => Recorded { broken: vec![format!("the database cannot be read: {error}")], ..Recorded::default() },
    }
}

fn read_from(connection: &Connection) -> Result<Recorded> {
    let mut recorded = Recorded::default();
    let check: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if check != "ok" {
        recorded.broken.push(format!("integrity_check: {check}"));
    }
    let (ours, theirs) = (has_table(connection, "herdsman_models")?, has_table(connection, "models")?);
    if ours != has_table(connection, "herdsman_meta")? || ours && !theirs {
        recorded.broken.push("half a migration".to_owned());
    } else if theirs {
        recorded.rows = rows(connection, ours)?;
    }
    if ours {
        recorded.instances = instances(connection)?;
        recorded.crashes = connection.query_row("SELECT total(crash_count) FROM herdsman_models", [], |row| {
            row.get::<_, f64>(0).map(|total| total as i64)
        })?;
        for (what, sql) in BROKEN {
            let mut statement = connection.prepare(sql)?;
            let found: Result<Vec<String>> =
                statement.query_map([], |row| Ok(format!("{:?}", row.get::<_, Value>(0)?)))?.collect();
            recorded.broken.extend(found?.into_iter().map(|one| format!("{what}: {one}")));
        }
    }
    Ok(recorded)
}

fn has_table(connection: &Connection, name: &str) -> Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)", [name], |row| row.get(0))
}

fn rows(connection: &Connection, ours: bool) -> Result<Vec<Row>> {
    let managed = if ours { "id IN (SELECT model_id FROM herdsman_models)" } else { "FALSE" };
    let mut statement =
        connection.prepare(&format!("SELECT id, name, status, {managed}, * FROM models ORDER BY id"))?;
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let all: Result<Vec<String>> =
            (4..columns).map(|index| Ok(format!("{:?}", row.get::<_, Value>(index)?))).collect();
        Ok(Row { id: row.get(0)?, name: row.get(1)?, status: row.get(2)?, managed: row.get(3)?, all: all?.join(" ") })
    })?;
    rows.collect()
}

fn instances(connection: &Connection) -> Result<Vec<Instance>> {
    let mut statement = connection.prepare("SELECT id, name, pid, start_ticks FROM herdsman_instances")?;
    let instances = statement.query_map([], |row| {
        let process = row.get::<_, Option<i32>>(2)?.zip(row.get::<_, Option<i64>>(3)?.map(i64::cast_unsigned));
        Ok(Instance { id: row.get(0)?, model: row.get(1)?, process })
    })?;
    instances.collect()
}

/// Another program at the database: runs `sql`, and leaves no `-wal` behind.
pub fn as_another_program(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}
