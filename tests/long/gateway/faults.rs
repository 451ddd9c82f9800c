//! What happens to models and to herdsman while clients ask.

use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use rustix::process::{Pid, Signal, kill_process};

use super::client::Broken;
use super::texts::Texts;
use crate::edits::Seen;
use crate::support::{World, eventually};

/// How long herdsman may take for anything, on a machine that does much else besides.
const PATIENCE: Duration = Duration::from_secs(60);

/// Saves the next generation of a model, with `more` in front of its tables.
pub fn edit(world: &World, texts: &Texts, model: &str, more: &str) {
    let number = texts.save(model);
    world.weights(&format!("{model}-{number}"), &format!("{model}-{number} "));
    let toml =
        format!("model = \"../weights/{model}-{number}.gguf\"\n{more}[parameters]\nctx_size = 4096\nthreads = 1\n");
    world.write_definition(model, &toml);
}

/// The servers that the test killed.
#[derive(Default)]
pub struct Kills(Vec<(String, Instant)>);

impl Kills {
    /// Kills a server of one of the models, if one is ready: a death while it loads
    /// would be the failure of a generation. Whether it did.
    pub fn kill(&mut self, world: &World, texts: &Texts, model: &str) -> bool {
        let Ok(seen) = Seen::now(world) else { return false };
        let Some(server) = seen.server(model).filter(|_| seen.ready().iter().any(|name| *name == model)) else {
            return false;
        };
        // Clients have seen it ready, too.
        let weights = format!("/{model}-{}.gguf", texts.seen(model));
        if !server.arguments.iter().any(|argument| argument.ends_with(&weights)) {
            return false;
        }
        let Some(pid) = Pid::from_raw(server.pid) else { return false };
        self.0.push((model.to_owned(), Instant::now()));
        // It may be gone by now.
        let _ = kill_process(pid, Signal::KILL);
        true
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether a kill is why an answer broke off.
    pub fn explain(&self, broken: &Broken) -> bool {
        let at = broken.since..=broken.at;
        self.0.iter().any(|(model, killed)| *model == broken.model && at.contains(killed))
    }
}

/// Tells the watcher to start its successor, and waits until that serves.
pub fn upgrade(world: &World) {
    let old = watcher_of(world);
    kill_process(Pid::from_raw(old).unwrap(), Signal::USR2).unwrap();
    eventually("another watcher takes over", PATIENCE, || ![0, old].contains(&watcher_of(world)));
}

/// Ends the watcher and waits until it is gone.
pub fn end_watcher(world: &World) {
    let watcher = watcher_of(world);
    let is_alive = || crate::support::Process::read(watcher).is_some_and(|process| process.is_alive());
    kill_process(Pid::from_raw(watcher).unwrap(), Signal::TERM).unwrap();
    eventually("the watcher ends", PATIENCE, || !is_alive());
}

/// The pid of the watcher, by its own note.
pub fn watcher_of(world: &World) -> i32 {
    let note = std::fs::read(world.state_dir().join("watch.lock")).unwrap_or_default();
    let note: Option<serde_json::Value> = serde_json::from_slice(&note).ok();
    note.and_then(|note| note["pid"].as_i64()).and_then(|pid| i32::try_from(pid).ok()).unwrap_or(0)
}

/// Holds a write transaction for so long, on a thread of its own.
pub fn lock_database(world: &World, time: Duration) -> JoinHandle<()> {
    let mut database = Connection::open(world.state_dir().join("herdsman.db")).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    std::thread::spawn(move || {
        let transaction = database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        std::thread::sleep(time);
        transaction.rollback().unwrap();
    })
}

/// The first thing that is not recorded as it is, of models that run, or may.
pub fn wrong_record(world: &World, texts: &Texts) -> Option<String> {
    let records = records(&world.state_dir().join("herdsman.db")).map_err(|error| error.to_string());
    let records = match records {
        Ok(records) => records,
        Err(error) => return Some(error),
    };
    let servers: Vec<(i64, String)> =
        world.instances().into_iter().map(|(pid, model)| (i64::from(pid), model)).collect();
    if records.instances != servers {
        return Some(format!("recorded are {:?}, alive {servers:?}", records.instances));
    }
    records.models.into_iter().find_map(|(model, status, path)| {
        let runs = servers.iter().any(|(_, name)| *name == model);
        let weights = format!("/{model}-{}.gguf", texts.last(&model));
        let is_right = path.ends_with(&weights) && (status == "running") == runs;
        (!is_right).then(|| format!("{model} is {status}, of {path}; it runs: {runs}; its weights: {weights}"))
    })
}

struct Records {
    /// Name, status, path of the weights.
    models: Vec<(String, String, String)>,
    /// Pid and name.
    instances: Vec<(i64, String)>,
}

fn records(path: &Path) -> rusqlite::Result<Records> {
    let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    database.busy_timeout(PATIENCE)?;
    let mut models = database.prepare("SELECT name, status, model_path FROM models ORDER BY name")?;
    let models = models.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?;
    let mut instances = database.prepare("SELECT pid, name FROM herdsman_instances ORDER BY name")?;
    let instances = instances.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    Ok(Records { models, instances })
}
