//! herdsman's own tables, and the steps that bring an older file up to date.
//!
//! None of herdsman's tables has a foreign key to `models`: when another client
//! deletes a row, no port, generation or ownership goes with it. The version is a
//! row of `herdsman_meta`; `user_version` and the table `metadata` belong to
//! others.
//!
//! Before a step changes tables that herdsman wrote, it copies the whole file
//! (`backup`). All steps are one transaction: if one fails, the file stays as it
//! was.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::{Problem, backup, table};
use crate::sys::failpoint::{Point, reach};

/// Step `n` leads from version `n` to `n + 1`. Steps are never edited, only added.
pub(super) const STEPS: [&str; 3] = [V1, V2, V3];

/// A generation never changes once written, except for `outcome`, `death` and
/// `accepted_by`.
const V1: &str = "
CREATE TABLE herdsman_models (
    name TEXT NOT NULL PRIMARY KEY,
    model_id INTEGER NOT NULL,          -- its row in models
    row_created_at,                     -- that row's created_at, to know it from another with the same id
    row_digest BLOB NOT NULL,           -- of the columns herdsman owns, as written
    source TEXT NOT NULL,               -- the definition's path
    state TEXT NOT NULL,
    config TEXT NOT NULL,               -- model::ModelConfig as JSON: description, labels, aliases, parameters
    config_digest TEXT NOT NULL,
    generation INTEGER,                 -- the wanted one
    status TEXT NOT NULL,               -- as last written to models.status
    status_at INTEGER NOT NULL,
    status_message TEXT,
    crash_count INTEGER NOT NULL DEFAULT 0,
    last_start INTEGER,
    port INTEGER,
    port_proven INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX herdsman_models_port ON herdsman_models (port);
CREATE TABLE herdsman_generations (
    name TEXT NOT NULL,
    number INTEGER NOT NULL,
    hash TEXT NOT NULL,
    spec TEXT NOT NULL,                 -- model::Spec as JSON
    source TEXT NOT NULL,
    git_commit TEXT,
    origins TEXT NOT NULL,              -- JSON
    accepted_by TEXT,
    outcome TEXT NOT NULL,              -- pending, ready, failed
    death TEXT,                         -- model::Death as JSON, when failed
    created_at INTEGER NOT NULL,
    PRIMARY KEY (name, number)
);
CREATE INDEX herdsman_generations_ready ON herdsman_generations (name, number) WHERE outcome = 'ready';
CREATE TABLE herdsman_instances (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    spec TEXT NOT NULL,
    host TEXT NOT NULL,
    port INTEGER,
    state TEXT NOT NULL,                -- intent, loading, ready, draining, stopping
    drain_deadline INTEGER,
    pid INTEGER,                        -- these four together or not at all
    start_ticks INTEGER,
    boot_id TEXT,
    pid_namespace INTEGER,
    started_at INTEGER NOT NULL,
    progress INTEGER NOT NULL,
    progress_at INTEGER NOT NULL,
    first_ready_at INTEGER,
    last_ready_at INTEGER,
    unanswered_since INTEGER,
    log_offset INTEGER NOT NULL,
    binary TEXT
);
CREATE INDEX herdsman_instances_name ON herdsman_instances (name);
CREATE TABLE herdsman_events (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    name TEXT NOT NULL,
    action TEXT NOT NULL,
    cause TEXT NOT NULL,
    reasons TEXT NOT NULL,              -- JSON
    failure TEXT,                       -- why it failed; NULL: done
    duration_ms INTEGER NOT NULL
);
CREATE INDEX herdsman_events_name ON herdsman_events (name, id);
";

/// The commits of generations and events; notifications sent and pending.
const V2: &str = "
CREATE TABLE herdsman_troubles (
    name TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- failed, rolled_back, crash_looping, drifted
    about TEXT NOT NULL,                -- tells it from another of its kind
    told INTEGER NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (name, kind)
);
CREATE TABLE herdsman_notifications (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL,                   -- the same on every try, and for both channels
    channel TEXT NOT NULL,              -- command, webhook
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    body TEXT NOT NULL,                 -- the payload, JSON
    failures INTEGER NOT NULL DEFAULT 0,
    next_try INTEGER NOT NULL,
    error TEXT,                         -- of the last try
    given_up_at INTEGER,
    UNIQUE (id, channel)
);
ALTER TABLE herdsman_generations ADD COLUMN git_dirty INTEGER;  -- with git_commit: whether the files were otherwise
ALTER TABLE herdsman_generations ADD COLUMN lines TEXT;         -- JSON: model::Origin by field
ALTER TABLE herdsman_events ADD COLUMN generation INTEGER;
ALTER TABLE herdsman_events ADD COLUMN git_commit TEXT;
ALTER TABLE herdsman_events ADD COLUMN git_dirty INTEGER;
";

/// Applied saved plans; overrides by hand.
const V3: &str = "
CREATE TABLE herdsman_applied_plans (
    id TEXT NOT NULL PRIMARY KEY,       -- the saved plan's
    begun_at INTEGER NOT NULL,          -- written before its first effect
    ended_at INTEGER                    -- NULL: under way, or herdsman died
);
CREATE TABLE herdsman_overrides (
    name TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- suspended, state, restart
    given_by TEXT NOT NULL,             -- the user
    given_at INTEGER NOT NULL,
    reason TEXT,
    until INTEGER,                      -- suspended: NULL is until resumed
    state TEXT,                         -- state: running or stopped
    definition TEXT,                    -- state: model::meaning of the definition it was given for
    instance TEXT,                      -- restart: the instance to replace
    PRIMARY KEY (name, kind)
);
";

/// The version that `steps` lead to.
fn latest(steps: &[&str]) -> i64 {
    i64::try_from(steps.len()).unwrap_or(i64::MAX)
}

/// Returns the version of the file; 0 if herdsman has never written to it.
pub(super) fn version(connection: &Connection) -> Result<i64, Problem> {
    // Asked in SQL, because rusqlite's `table_exists` may answer from a schema
    // older than the transaction.
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'herdsman_meta')";
    if !connection.query_row(sql, [], |row| row.get(0))? {
        return Ok(0);
    }
    let version: Option<String> = connection
        .query_row("SELECT value FROM herdsman_meta WHERE key = 'schema_version'", [], |row| row.get(0))
        .optional()?;
    let Some(text) = version else { return Ok(0) };
    text.parse().map_err(|_| Problem::Unreadable {
        table: "herdsman_meta",
        key: "schema_version".to_owned(),
        reason: format!("`{text}` is not a number"),
    })
}

/// Selects columns that `V2` added to a table; NULLs in a file that is only read
/// and still has an older schema.
pub(super) fn since_v2(connection: &Connection, columns: &str) -> Result<String, Problem> {
    Ok(match version(connection)? {
        ..2 => columns.split(", ").map(|column| format!("NULL AS {column}")).collect::<Vec<_>>().join(", "),
        _ => columns.to_owned(),
    })
}

/// Refuses a newer herdsman's file.
pub(super) fn check_version(found: i64) -> Result<(), Problem> {
    check_known(found, latest(&STEPS))
}

fn check_known(found: i64, known: i64) -> Result<(), Problem> {
    if found > known { Err(Problem::NewerSchema { found, known }) } else { Ok(()) }
}

/// Upgrades the file at `path`; writes nothing if it is up to date.
pub(super) fn migrate(connection: &Connection, path: &Path) -> Result<(), Problem> {
    migrate_by(&STEPS, connection, path)
}

/// [`migrate`] with other steps than this herdsman's.
pub(super) fn migrate_by(steps: &[&str], connection: &Connection, path: &Path) -> Result<(), Problem> {
    let found = version(connection)?;
    check_known(found, latest(steps))?;
    if found == latest(steps) && table::is_complete(connection)? {
        return Ok(());
    }
    if found == 0 || found == latest(steps) {
        // Tables are only added, so nothing in the file can be lost.
        return run(steps, connection);
    }
    let backup = backup::make(connection, path, found)?;
    run(steps, connection).map_err(|problem| {
        backup::discard(&backup);
        Problem::Migration { found, to: latest(steps), problem: Box::new(problem) }
    })?;
    backup::prune(path)
}

/// Runs all missing steps, in one transaction.
fn run(steps: &[&str], connection: &Connection) -> Result<(), Problem> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    reach(Point::MigrationBegun);
    // Checked again: another herdsman may have been faster.
    let found = version(&transaction)?;
    check_known(found, latest(steps))?;
    table::complete(&transaction)?;
    reach(Point::MigrationStep);
    for step in steps.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step)?;
        reach(Point::MigrationStep);
    }
    transaction.execute_batch(
        "CREATE TABLE IF NOT EXISTS herdsman_meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
    )?;
    transaction.execute(
        "INSERT INTO herdsman_meta (key, value) VALUES ('schema_version', ?1)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [latest(steps).to_string()],
    )?;
    reach(Point::MigrationCommit);
    transaction.commit()?;
    reach(Point::Migrated);
    Ok(())
}
