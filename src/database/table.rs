//! The table `models` as it is: herdsman's, or another program's.

use rusqlite::{Connection, OptionalExtension};

use super::Problem;

/// The table that herdsman creates (database.md).
pub(super) const CREATE: &str = "
CREATE TABLE models (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('running', 'stopped', 'loading', 'error')),
    model_path TEXT,
    model_url TEXT,
    docker_repo TEXT,
    hf_repo TEXT,
    hf_repo_draft TEXT,
    hf_file TEXT,
    hf_file_v TEXT,
    hf_token TEXT,
    ctx_size INTEGER DEFAULT 0,
    predict INTEGER DEFAULT -1,
    batch_size INTEGER DEFAULT 2048,
    ubatch_size INTEGER DEFAULT 512,
    n_parallel INTEGER DEFAULT -1,
    cont_batching INTEGER DEFAULT 0,
    threads INTEGER DEFAULT -1,
    threads_batch INTEGER,
    cpu_mask TEXT,
    cpu_range TEXT,
    cpu_strict INTEGER DEFAULT 0,
    cpu_mask_batch TEXT,
    cpu_range_batch TEXT,
    cpu_strict_batch INTEGER DEFAULT 0,
    priority INTEGER DEFAULT 0,
    priority_batch INTEGER,
    gpu_layers INTEGER DEFAULT -1,
    temperature REAL DEFAULT 0.8,
    top_k INTEGER DEFAULT 40,
    top_p REAL DEFAULT 0.9,
    chat_template TEXT,
    file_size_bytes INTEGER,
    fit_params_available INTEGER DEFAULT 0,
    last_fit_params_check INTEGER,
    parameters TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
)";

/// The contract's indexes except the one on `name`, which may not be unique in
/// another program's database.
const INDEXES: [(&str, &str); 3] =
    [("idx_models_status", "status"), ("idx_models_type", "type"), ("idx_models_created", "created_at")];
const NAME_INDEX: &str = "idx_models_name";

/// The columns that the contract requires.
const REQUIRED: [&str; 6] = ["id", "name", "type", "status", "created_at", "updated_at"];

/// The current columns of the table. Other clients may add some while herdsman
/// runs, so every operation reads them again.
#[derive(Debug)]
pub(super) struct Table {
    /// In the table's order, in lower case, because SQLite ignores case.
    columns: Vec<String>,
}

impl Table {
    /// Reads the columns and checks the contract; `None`: there is no such table.
    pub(super) fn read(connection: &Connection) -> Result<Option<Self>, Problem> {
        let shape = connection
            .query_row("SELECT type, wr FROM pragma_table_list('models') WHERE schema = 'main'", [], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?))
            })
            .optional()?;
        match shape {
            None => return Ok(None),
            Some((kind, _)) if kind != "table" => return Err(Problem::NotATable { kind: format!("{kind} of SQLite") }),
            Some((_, true)) => return Err(Problem::NotATable { kind: "table WITHOUT ROWID".to_owned() }),
            Some(_) => {}
        }
        let mut columns = Vec::new();
        let mut keys = Vec::new();
        let mut statement =
            connection.prepare("SELECT name, type, pk FROM pragma_table_info('models') ORDER BY cid")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let name = row.get::<_, String>(0)?.to_ascii_lowercase();
            if row.get::<_, i64>(2)? > 0 {
                keys.push(name.clone());
            }
            if name == "id" {
                require_integer_key(&row.get::<_, String>(1)?)?;
            }
            columns.push(name);
        }
        let table = Self { columns };
        let missing: Vec<String> =
            REQUIRED.iter().filter(|name| !table.has(name)).map(|name| (*name).to_owned()).collect();
        if !missing.is_empty() {
            return Err(Problem::MissingColumns(missing));
        }
        if keys != ["id"] {
            return Err(Problem::IdType { found: "not the PRIMARY KEY".to_owned() });
        }
        Ok(Some(table))
    }

    /// [`Table::read`] for a table that must exist.
    pub(super) fn require(connection: &Connection) -> Result<Self, Problem> {
        Self::read(connection)?.ok_or(Problem::NoModelsTable)
    }

    /// Its columns, in its order.
    pub(super) fn columns(&self) -> &[String] {
        &self.columns
    }

    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known == column)
    }
}

/// Only this exact type makes the key SQLite's row id.
fn require_integer_key(declared: &str) -> Result<(), Problem> {
    if declared.eq_ignore_ascii_case("INTEGER") {
        return Ok(());
    }
    Err(Problem::IdType { found: if declared.is_empty() { "untyped".to_owned() } else { declared.to_owned() } })
}

/// Whether the table and all its indexes exist.
pub(super) fn is_complete(connection: &Connection) -> Result<bool, Problem> {
    let [(status, _), (kind, _), (created, _)] = INDEXES;
    let sql = "SELECT count(*) = 4 FROM sqlite_schema WHERE type = 'index' AND name IN (?1, ?2, ?3, ?4)";
    let has_indexes = connection.query_row(sql, [NAME_INDEX, status, kind, created], |row| row.get(0))?;
    Ok(Table::read(connection)?.is_some() && has_indexes)
}

/// Creates the table and its indexes if they are missing.
pub(super) fn complete(connection: &Connection) -> Result<(), Problem> {
    if Table::read(connection)?.is_none() {
        connection.execute_batch(CREATE)?;
    }
    for (name, column) in INDEXES {
        connection.execute_batch(&format!("CREATE INDEX IF NOT EXISTS {name} ON models ({column})"))?;
    }
    if !has_index(connection, NAME_INDEX)? {
        let unique = if has_duplicate_names(connection)? { "" } else { "UNIQUE" };
        connection.execute_batch(&format!("CREATE {unique} INDEX {NAME_INDEX} ON models (name)"))?;
    }
    Ok(())
}

fn has_index(connection: &Connection, name: &str) -> Result<bool, Problem> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = ?1)";
    Ok(connection.query_row(sql, [name], |row| row.get(0))?)
}

fn has_duplicate_names(connection: &Connection) -> Result<bool, Problem> {
    let sql = "SELECT EXISTS (SELECT 1 FROM models GROUP BY name HAVING count(*) > 1)";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// Quotes a name for SQL, so that any column of any table can be named.
pub(super) fn quoted(name: &str) -> String {
    ["\"", &name.replace('"', "\"\""), "\""].concat()
}
