//! What a new database keeps of a damaged one.
//!
//! | table | carried over | because |
//! |---|---|---|
//! | `models` | every row that can be read | other programs' rows have no other source, and a managed model keeps its id |
//! | `herdsman_events` | every row that can be read | part of a history is still useful |
//! | `herdsman_notifications` | every row that can be read | late delivery is better than none |
//! | `herdsman_applied_plans` | every row that can be read | each is a plan that must not be applied again |
//! | `herdsman_overrides` | every row that can be read | each is complete, and nothing else knows it |
//! | herdsman's other tables | whole, with a whole `models`, or not at all | half of them would be wrong; without them, the definitions and the running processes provide most of it |
//! | other programs' tables | no | herdsman does not know them |
//!
//! Rows are read one by one, from the first until one is unreadable, then from the
//! last. The constraints of the new table (NOT NULL, CHECK, keys) refuse invalid
//! rows.

use std::path::Path;

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ErrorCode, Row, Statement, Transaction, TransactionBehavior};

use super::table::{Table, quoted};
use super::{Problem, migrations};

/// The tables that are kept only together, and with `models`.
const RECORDS: [&str; 4] = ["herdsman_models", "herdsman_generations", "herdsman_instances", "herdsman_troubles"];

/// What was kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Salvaged {
    /// How many rows of `models`.
    pub rows: usize,
    /// Whether all of herdsman's records were kept.
    pub records: bool,
}

/// Copies everything readable from `damaged` to `new`, an empty database at `path`.
pub(super) fn salvage(damaged: &Connection, new: &Connection, path: &Path) -> Result<Salvaged, Problem> {
    create_models_like(damaged, new)?;
    migrations::migrate(new, path)?;
    let transaction = Transaction::new_unchecked(new, TransactionBehavior::Immediate)?;
    let models = copy(damaged, &transaction, "models")?;
    copy(damaged, &transaction, "herdsman_events")?;
    copy(damaged, &transaction, "herdsman_notifications")?;
    copy(damaged, &transaction, "herdsman_applied_plans")?;
    copy(damaged, &transaction, "herdsman_overrides")?;
    let records = models.whole && copy_records(damaged, &transaction)?;
    transaction.commit()?;
    Ok(Salvaged { rows: models.rows, records })
}

/// Creates the table with its old columns, if they can be read and follow the
/// contract; otherwise the migration creates it.
fn create_models_like(damaged: &Connection, new: &Connection) -> Result<(), Problem> {
    let sql = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'models'";
    let theirs: Option<String> = damaged.query_row(sql, [], |row| row.get(0)).ok();
    // SQLite stores these words itself; the rest is any program's.
    let Some(sql) = theirs.filter(|sql| sql.starts_with("CREATE TABLE ")) else { return Ok(()) };
    let made = new.prepare(&sql).is_ok_and(|mut create| create.execute([]).is_ok());
    if made && !matches!(Table::read(new), Ok(Some(_))) {
        new.execute_batch("DROP TABLE IF EXISTS models")?;
    }
    Ok(())
}

/// Copies all of them, or none.
fn copy_records(damaged: &Connection, new: &Connection) -> Result<bool, Problem> {
    let versions = (migrations::version(damaged), migrations::version(new)?);
    if !matches!(versions, (Ok(damaged), new) if damaged == new) {
        return Ok(false);
    }
    new.execute_batch("SAVEPOINT records")?;
    for table in RECORDS {
        if !copy(damaged, new, table)?.whole {
            new.execute_batch("ROLLBACK TO records")?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// What was copied of a table.
struct Copied {
    rows: usize,
    /// Whether it was copied to its end, and every row was accepted.
    whole: bool,
}

fn copy(damaged: &Connection, new: &Connection, table: &'static str) -> Result<Copied, Problem> {
    let mut columns = columns_of(new, table)?;
    // An older herdsman's table lacks some columns. If its columns are unreadable,
    // all are tried.
    if let Ok(theirs) = columns_of(damaged, table)
        && !theirs.is_empty()
    {
        columns.retain(|column| theirs.contains(column));
    }
    let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
    let (columns, marks) = (names.join(", "), vec!["?"; names.len()].join(", "));
    let insert = new.prepare(&format!("INSERT INTO {table} ({columns}) VALUES ({marks})"))?;
    let mut copying = Copying { insert, width: names.len(), reached: None, rows: 0, refused: false };
    let select = format!("SELECT rowid, {columns} FROM {table} NOT INDEXED ORDER BY rowid");
    let to_its_end = copying.run(damaged, &select, Direction::Up)?;
    if !to_its_end {
        copying.run(damaged, &format!("{select} DESC"), Direction::Down)?;
    }
    Ok(Copied { rows: copying.rows, whole: to_its_end && !copying.refused })
}

fn columns_of(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

struct Copying<'c> {
    insert: Statement<'c>,
    width: usize,
    /// The last row id on the way up.
    reached: Option<i64>,
    rows: usize,
    refused: bool,
}

impl Copying<'_> {
    /// Returns whether it reached the end of the table. It also stops where row ids
    /// repeat: pages of a damaged table may form a loop.
    fn run(&mut self, damaged: &Connection, select: &str, direction: Direction) -> Result<bool, Problem> {
        let Ok(mut statement) = damaged.prepare(select) else { return Ok(false) };
        let Ok(mut rows) = statement.query([]) else { return Ok(false) };
        let mut last = None;
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                end => return Ok(end.is_ok()),
            };
            let Ok(id) = row.get(0) else { return Ok(false) };
            let goes_on = match direction {
                Direction::Up => last.is_none_or(|last| id > last),
                Direction::Down => last.is_none_or(|last| id < last) && self.reached.is_none_or(|reached| id > reached),
            };
            if !goes_on {
                return Ok(false);
            }
            last = Some(id);
            if direction == Direction::Up {
                self.reached = last;
            }
            match self.copy(row) {
                Ok(_) => self.rows += 1,
                // Not a valid row of this table.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => self.refused = true,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Copies byte for byte: text need not be UTF-8.
    fn copy(&mut self, row: &Row<'_>) -> rusqlite::Result<usize> {
        for index in 1..=self.width {
            self.insert.raw_bind_parameter(index, ToSqlOutput::Borrowed(row.get_ref(index)?))?;
        }
        self.insert.raw_execute()
    }
}
