//! What there is, by what `/proc` and SQLite say, and how it differs from what
//! the definitions say.

use std::collections::BTreeMap;

use rusqlite::{Connection, OpenFlags};

use super::definition::Definition;
use super::directory::{Defaults, Directory};
use crate::support::{Process, World};

/// Begins the names of rows that are nobody's models: another program's.
pub const BY_HAND: &str = "by-hand-";

/// A row of `models` and what herdsman records beside it.
struct Row {
    status: String,
    seed: Option<u32>,
    description: Option<String>,
    /// The path of the weights.
    weights: Option<String>,
}

/// Servers and rows, by model.
pub struct Seen {
    servers: BTreeMap<String, Vec<Process>>,
    rows: BTreeMap<String, Row>,
}

impl Seen {
    /// What there is now.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn now(world: &World) -> rusqlite::Result<Self> {
        let mut servers: BTreeMap<String, Vec<Process>> = BTreeMap::new();
        for server in world.servers().into_iter().filter(|process| process.session == process.pid) {
            servers.entry(server.variable("HERDSMAN_MODEL").unwrap().to_owned()).or_default().push(server);
        }
        Ok(Self { servers, rows: rows(world)? })
    }

    /// Whether the watcher has begun to record.
    pub fn is_recorded(world: &World) -> bool {
        rows(world).is_ok()
    }

    /// The one server of a model.
    pub fn server(&self, name: &str) -> Option<&Process> {
        match self.servers.get(name).map(Vec::as_slice) {
            Some([server]) => Some(server),
            _ => None,
        }
    }

    /// Its pid.
    pub fn pid(&self, name: &str) -> Option<i32> {
        self.server(name).map(|server| server.pid)
    }

    /// Models with one server that was seen ready.
    pub fn ready(&self) -> Vec<&String> {
        let running = self.rows.iter().filter(|(_, row)| row.status == "running");
        running.map(|(name, _)| name).filter(|name| self.pid(name).is_some()).collect()
    }

    /// The port of a model's server.
    pub fn port(&self, name: &str) -> u16 {
        option(&self.servers[name][0], "--port").unwrap().parse().unwrap()
    }

    /// The first thing that is not as the definitions say. While one of them is
    /// broken, deletions may have to wait.
    pub fn differs_from(&self, directory: &Directory) -> Option<String> {
        let files = &directory.files;
        let doubled = self.servers.iter().find(|(_, servers)| servers.len() > 1);
        if let Some((name, servers)) = doubled {
            return Some(format!("{name} has more than one server: {servers:?}"));
        }
        let good = files.iter().filter_map(|(name, file)| Some((name, file.says.as_ref()?)));
        let wrong = good.filter_map(|(name, definition)| self.wrong(name, definition, directory.defaults)).next();
        let superfluous = || {
            let all_good = directory.is_good();
            let mut names = self.servers.keys().chain(self.rows.keys()).filter(|_| all_good);
            names
                .find(|name| !files.contains_key(*name) && !name.starts_with(BY_HAND))
                .map(|name| format!("{name} is there and has no definition"))
        };
        wrong.or_else(superfluous)
    }

    fn wrong(&self, name: &str, definition: &Definition, defaults: Defaults) -> Option<String> {
        let Some(row) = self.rows.get(name) else { return Some(format!("{name} has no row")) };
        let Definition { running, weights, seed, description, port } = definition;
        let has_weights = row.weights.as_deref().is_some_and(|path| path.ends_with(&format!("/{weights}.gguf")));
        let recorded = row.seed == Some(*seed) && row.description == Some(format!("number {description}"));
        if !recorded || !has_weights {
            let Row { seed, description, weights, .. } = row;
            return Some(format!("{name} is recorded with seed {seed:?}, {description:?}, {weights:?}"));
        }
        let status = if *running { "running" } else { "stopped" };
        if row.status != status {
            return Some(format!("{name} is recorded as {}, not {status}", row.status));
        }
        let server = self.servers.get(name).and_then(|servers| servers.first());
        let matches = match server {
            None => !running,
            Some(server) => {
                let model = option(server, "--model").is_some_and(|path| path.ends_with(&format!("/{weights}.gguf")));
                let says = |name: &str, value: &dyn ToString| option(server, name) == Some(&value.to_string());
                let batch_size = option(server, "--batch-size").map(str::to_owned);
                let has_defaults = batch_size == defaults.batch_size.map(|number| number.to_string());
                let declared = port.is_none_or(|port| says("--port", &port));
                *running && model && says("--seed", seed) && declared && has_defaults
            }
        };
        (!matches).then(|| format!("{name} is served by {server:?}, not as in {definition:?} with {defaults:?}"))
    }
}

/// The value of an option of a command line.
pub fn option<'p>(process: &'p Process, name: &str) -> Option<&'p str> {
    process.arguments.iter().skip_while(|argument| *argument != name).nth(1).map(String::as_str)
}

fn rows(world: &World) -> rusqlite::Result<BTreeMap<String, Row>> {
    let path = world.state_dir().join("herdsman.db");
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    database.busy_timeout(std::time::Duration::from_secs(5))?;
    let mut query = database.prepare(
        "SELECT models.name, models.status, json_extract(models.parameters, '$.seed'), json_extract(config, '$.description'),
             models.model_path
         FROM models LEFT JOIN herdsman_models USING (name)",
    )?;
    let row = |row: &rusqlite::Row<'_>| {
        Ok((
            row.get(0)?,
            Row { status: row.get(1)?, seed: row.get(2)?, description: row.get(3)?, weights: row.get(4)? },
        ))
    };
    query.query_map([], row)?.collect()
}
