//! Another program that writes to the table `models`, and knows what it wrote.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use crate::edits::BY_HAND;
use crate::support::World;

/// Its rows, each with every column, by name.
type Rows = BTreeMap<String, Vec<Value>>;

pub struct Client {
    database: PathBuf,
    own: Rows,
    made: u32,
}

impl Client {
    pub fn new(world: &World) -> Self {
        Self { database: world.state_dir().join("herdsman.db"), own: Rows::new(), made: 0 }
    }

    /// Makes a random edit: what it did, or how its rows had been touched.
    ///
    /// # Errors
    /// There is no database now, the disk is full, or another program holds
    /// it: then nothing was changed.
    pub fn edit(&mut self, rng: &mut Rng) -> rusqlite::Result<Result<String, String>> {
        let mut connection = self.open()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some(difference) = self.differs(&rows(&transaction)?) {
            return Ok(Err(difference));
        }
        let what = match rng.u8(..10) {
            0..3 => self.add(&transaction, rng)?,
            3 => drop_row(&transaction, &format!("name GLOB '{BY_HAND}*'"))?,
            4..8 => change(&transaction, rng)?,
            _ => drop_row(&transaction, &format!("name NOT GLOB '{BY_HAND}*'"))?,
        };
        let own = rows(&transaction)?;
        transaction.commit()?;
        self.own = own;
        Ok(Ok(what))
    }

    /// The database is about to be deleted, and its rows with it.
    pub fn forget(&mut self) {
        self.own.clear();
    }

    /// How its rows differ from what it wrote.
    ///
    /// # Errors
    /// The database cannot be read now.
    pub fn difference(&self) -> rusqlite::Result<Option<String>> {
        Ok(self.differs(&rows(&self.open()?)?))
    }

    fn differs(&self, found: &Rows) -> Option<String> {
        (*found != self.own).then(|| format!("unmanaged rows were {:?} and are {found:?}", self.own))
    }

    /// Never makes a database.
    fn open(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(Duration::from_secs(2))?;
        Ok(connection)
    }

    fn add(&mut self, connection: &Connection, rng: &mut Rng) -> rusqlite::Result<String> {
        self.made += 1;
        let name = format!("{BY_HAND}{}", self.made);
        let now = i64::from(rng.u32(..));
        connection.execute(
            "INSERT INTO models (name, type, status, ctx_size, created_at, updated_at) VALUES (?1, 'gpt', 'running', ?2, ?2, ?2)",
            (&name, now),
        )?;
        Ok(format!("row {name} is added"))
    }
}

/// Changes a column of a managed row.
fn change(connection: &Connection, rng: &mut Rng) -> rusqlite::Result<String> {
    const CHANGES: [&str; 7] = [
        "ctx_size = 4096",
        "status = 'error'",
        "status = 'stopped'",
        "temperature = 0.1",
        "model_path = '/elsewhere'",
        "parameters = '{}'",
        "type = 'gpt'",
    ];
    let change = CHANGES[rng.usize(..CHANGES.len())];
    let managed = format!("id = (SELECT id FROM models WHERE name NOT GLOB '{BY_HAND}*' ORDER BY random() LIMIT 1)");
    let changed = connection.execute(&format!("UPDATE models SET {change} WHERE {managed}"), [])?;
    Ok(format!("{change} in {changed} row"))
}

fn drop_row(connection: &Connection, which: &str) -> rusqlite::Result<String> {
    let sql = format!(
        "DELETE FROM models WHERE id = (SELECT id FROM models WHERE {which} ORDER BY random() LIMIT 1) RETURNING name"
    );
    let name: Option<String> = connection.query_row(&sql, [], |row| row.get(0)).optional()?;
    Ok(format!("row {name:?} is deleted"))
}

fn rows(connection: &Connection) -> rusqlite::Result<Rows> {
    let mut query = connection.prepare("SELECT name, * FROM models WHERE name GLOB ?1")?;
    let columns = query.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let values = (1..columns).map(|column| row.get(column)).collect::<rusqlite::Result<_>>()?;
        Ok((row.get(0)?, values))
    };
    query.query_map([format!("{BY_HAND}*")], row)?.collect()
}
