//! What of a damaged database is carried over into the new one: the table
//! `models`, for other programs' rows have no other source, and with it a
//! managed model keeps its id.
//!
//! Every row is read by itself, from the first on until one cannot be read,
//! then from the last on. The rules of the new table (NOT NULL, CHECK, unique
//! names) refuse what is no row of it. herdsman's own tables are not carried
//! over: half of them would be a lie, and they follow from the definitions
//! and the living processes.

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ErrorCode, Row, Statement, Transaction, TransactionBehavior};

use super::Problem;
use super::table::{self, Table, quoted};

/// Copies what can be read of `models` from `damaged` into `new`, an empty
/// database; how many rows.
pub(super) fn models(damaged: &Connection, new: &Connection) -> Result<usize, Problem> {
    let transaction = Transaction::new_unchecked(new, TransactionBehavior::Immediate)?;
    let columns = create_table(damaged, &transaction)?;
    let mut salvage = Salvage::new(&transaction, &columns)?;
    salvage.read(damaged, "ASC")?;
    salvage.read(damaged, "DESC")?;
    let count = salvage.count;
    drop(salvage);
    transaction.commit()?;
    Ok(count)
}

/// The table with the columns it had, if they can be read and are those of
/// the contract, else with the contract's.
fn create_table(damaged: &Connection, new: &Connection) -> Result<Vec<String>, Problem> {
    let sql = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'models'";
    let theirs: Option<String> = damaged.query_row(sql, [], |row| row.get(0)).ok();
    // SQLite stores these words itself; the rest is any program's.
    if let Some(sql) = theirs.filter(|sql| sql.starts_with("CREATE TABLE "))
        && new.prepare(&sql).is_ok_and(|mut create| create.execute([]).is_ok())
    {
        match Table::read(new) {
            Ok(Some(table)) => return Ok(table.columns().to_vec()),
            _ => new.execute_batch("DROP TABLE IF EXISTS models")?,
        }
    }
    table::complete(new)?;
    Ok(Table::require(new)?.columns().to_vec())
}

struct Salvage<'c> {
    insert: Statement<'c>,
    columns: String,
    width: usize,
    /// The last id that was read from the first row on.
    reached: Option<i64>,
    count: usize,
}

impl<'c> Salvage<'c> {
    fn new(new: &'c Connection, columns: &[String]) -> Result<Self, Problem> {
        let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
        let (columns, marks) = (names.join(", "), vec!["?"; names.len()].join(", "));
        let insert = new.prepare(&format!("INSERT INTO models ({columns}) VALUES ({marks})"))?;
        Ok(Self { insert, columns, width: names.len(), reached: None, count: 0 })
    }

    /// Reads on until a row cannot be read, or is one that was read before:
    /// pages of a damaged table may lead in a circle, and then ids repeat.
    fn read(&mut self, damaged: &Connection, order: &str) -> Result<(), Problem> {
        let sql = format!("SELECT id, {} FROM models NOT INDEXED ORDER BY id {order}", self.columns);
        let Ok(mut statement) = damaged.prepare(&sql) else { return Ok(()) };
        let Ok(mut rows) = statement.query([]) else { return Ok(()) };
        let mut last = None;
        while let Ok(Some(row)) = rows.next() {
            let Ok(id) = row.get(0) else { return Ok(()) };
            let goes_on = last.is_none_or(|last| if order == "ASC" { id > last } else { id < last });
            if !goes_on || (order == "DESC" && self.reached.is_some_and(|reached| id <= reached)) {
                return Ok(());
            }
            last = Some(id);
            if order == "ASC" {
                self.reached = last;
            }
            match self.copy(row) {
                Ok(_) => self.count += 1,
                // No row of this table.
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Byte for byte: text need not be UTF-8.
    fn copy(&mut self, row: &Row<'_>) -> rusqlite::Result<usize> {
        for index in 1..=self.width {
            self.insert.raw_bind_parameter(index, ToSqlOutput::Borrowed(row.get_ref(index)?))?;
        }
        self.insert.raw_execute()
    }
}
