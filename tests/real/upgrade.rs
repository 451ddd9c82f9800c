//! An upgrade from a herdsman whose spec hashes are of the first recipe: real
//! servers with its marks, and the records it kept of them.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use herdsman::model::Spec;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use crate::support::{Background, Process, World, eventually, free_port, stop, try_ask};

const PATIENCE: Duration = Duration::from_secs(30);

/// A world as that herdsman left it, and the servers it started.
struct Former {
    world: World,
    _servers: Vec<Background>,
}

impl Former {
    /// `allotted` and `declared` run, `edited` is in its second generation, and
    /// `stopped` never ran.
    fn new() -> Self {
        let world = World::new();
        ["allotted", "declared", "edited", "stopped"].iter().for_each(|name| world.tiny(name));
        let declared = format!("port = {}\n{}", free_port(), World::tiny_toml("declared"));
        world.write_definition("declared", &declared);
        world.write_definition("stopped", &format!("state = \"stopped\"\n{}", World::tiny_toml("stopped")));
        world.converges();
        world.write_definition("edited", &World::tiny_toml("edited").replace("512", "1024"));
        world.converges();
        let before: Vec<Process> = world.servers();
        assert!(stop(&before));
        let database = database(&world);
        let hashes = hash_as_the_first_recipe_did(&database);
        let servers = before.iter().map(|server| start(&database, server, &hashes)).collect();
        ["allotted", "declared", "edited"].iter().for_each(|name| answers(&world, name));
        Self { world, _servers: servers }
    }

    /// The running servers, with their hashes.
    fn servers(&self) -> Vec<(i32, String, String)> {
        let of = |process: &Process, name: &str| process.variable(name).unwrap_or_default().to_owned();
        let servers = self.world.servers();
        servers.iter().map(|p| (p.pid, of(p, "HERDSMAN_MODEL"), of(p, "HERDSMAN_SPEC"))).collect()
    }

    fn hash_of(&self, model: &str) -> String {
        self.servers().into_iter().find(|(_, name, _)| name == model).map(|(_, _, hash)| hash).unwrap_or_default()
    }
}

fn database(world: &World) -> Connection {
    Connection::open(world.state_dir().join("herdsman.db")).unwrap()
}

fn answers(world: &World, model: &str) {
    let sql = "SELECT port FROM herdsman_models WHERE name = ?1";
    let port: u16 = database(world).query_row(sql, [model], |row| row.get(0)).unwrap();
    eventually(model, PATIENCE, || try_ask(port).is_ok_and(|answer| answer.starts_with(model)));
}

/// The former recipe had the port in hash and spec, declared or not. Returns the
/// hashes that changed, the present one first.
fn hash_as_the_first_recipe_did(database: &Connection) -> Vec<(String, String)> {
    let sql = "SELECT g.name, g.number, g.hash, g.spec, m.port FROM herdsman_generations g
               JOIN herdsman_models m ON m.name = g.name";
    let read = |row: &rusqlite::Row<'_>| {
        let key: (String, u32) = (row.get(0)?, row.get(1)?);
        let said: (String, String, Option<u16>) = (row.get(2)?, row.get(3)?, row.get(4)?);
        Ok((key, said))
    };
    let mut statement = database.prepare(sql).unwrap();
    let generations: Vec<_> = statement.query_map([], read).unwrap().map(Result::unwrap).collect();
    let hash = |((name, number), (present, spec, port)): ((String, u32), (String, String, Option<u16>))| {
        let mut spec: Spec = serde_json::from_str(&spec).unwrap();
        spec.port = spec.port.or(port);
        let former = spec.hash_v1(spec.port).0;
        let json = serde_json::to_string(&spec).unwrap();
        let sql = "UPDATE herdsman_generations SET hash = ?1, spec = ?2 WHERE name = ?3 AND number = ?4";
        assert_eq!(database.execute(sql, params![former, json, name, number]).unwrap(), 1);
        (present, former)
    };
    generations.into_iter().map(hash).collect()
}

/// Starts a server again as it was started, with its former hash, and records that.
fn start(database: &Connection, was: &Process, hashes: &[(String, String)]) -> Background {
    let present = was.variable("HERDSMAN_SPEC").unwrap();
    let (_, former) = hashes.iter().find(|(hash, _)| hash == present).unwrap();
    let word = |word: &String| word.replace(present, former);
    let environment = was.environment.iter().map(word);
    let environment: Vec<_> =
        environment.filter_map(|entry| entry.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
    // Not yet the leader of a group, so it becomes the server itself.
    let mut command = Command::new("setsid");
    command.args(was.arguments.iter().map(word)).env_clear().envs(environment).current_dir("/");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let server = || Process::read(pid).filter(|process| process.session == pid);
    eventually("a session of its own", PATIENCE, || server().is_some());
    let started_at = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let sql = "UPDATE herdsman_instances SET spec = ?1, pid = ?2, start_ticks = ?3, started_at = ?4 WHERE id = ?5";
    let id = was.variable("HERDSMAN_INSTANCE").unwrap();
    let ticks = i64::try_from(server().unwrap().start_ticks).unwrap();
    let values = params![former, pid, ticks, i64::try_from(started_at).unwrap(), id];
    assert_eq!(database.execute(sql, values).unwrap(), 1);
    Background::from(child)
}

/// Everything that is recorded of models, generations and instances.
fn records(world: &World) -> Vec<Vec<Value>> {
    let database = database(world);
    let rows = |table: &str| -> Vec<Vec<Value>> {
        let mut statement = database.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2")).unwrap();
        let columns = statement.column_count();
        let read = |row: &rusqlite::Row<'_>| (0..columns).map(|at| row.get(at)).collect();
        statement.query_map([], read).unwrap().map(Result::unwrap).collect()
    };
    let tables = ["models", "herdsman_models", "herdsman_generations", "herdsman_instances", "herdsman_events"];
    tables.iter().flat_map(|table| rows(table)).collect()
}

#[test]
fn restarts_nothing_writes_nothing_and_goes_on_from_there() {
    let former = Former::new();
    let world = &former.world;
    let (servers, recorded) = (former.servers(), records(world));
    assert!(servers.len() == 3 && servers.iter().all(|(_, _, hash)| hash.starts_with("v1:")), "{servers:?}");
    world.run(&["reconcile", "--dry-run"]).exits(0).says(&["No changes. 4 models match their definitions."]);
    world.run(&["reconcile"]).exits(0).says(&["No changes. 4 models match their definitions."]);
    assert_eq!((former.servers(), records(world)), (servers, recorded));

    // An edit tells what changed: not the port.
    let (pid, port) = (world.pid("allotted"), world.port("allotted"));
    world.write_definition("allotted", &World::tiny_toml("allotted").replace("512", "768"));
    world.converges().says(&["-/+ allotted  restart  ctx_size 512 -> 768   models.d/allotted.toml:3\n\nPlan"]);
    assert!(world.pid("allotted") != pid && world.port("allotted") == port);
    assert!(former.hash_of("allotted").starts_with("v2:"));

    // What fails gives way to a generation of the former herdsman.
    world.weights_that_die("bad");
    world.write_definition("edited", &World::tiny_toml("bad"));
    world.run(&["reconcile"]).exits(1).says(&["generation 3 failed", "generation 2 is serving"]);
    assert!(former.hash_of("edited").starts_with("v1:"));
    answers(world, "edited");
    world.write_definition("edited", &World::tiny_toml("edited").replace("512", "1024"));
    world.converges();

    // One that never ran gets its port, and no generation for it.
    world.write_definition("stopped", &World::tiny_toml("stopped"));
    world.converges();
    answers(world, "stopped");
    world.is_settled();
}

#[test]
fn adopts_what_runs_when_the_database_is_lost_on_the_way() {
    let former = Former::new();
    let world = &former.world;
    let servers = former.servers();
    for file in ["herdsman.db", "herdsman.db-wal", "herdsman.db-shm"] {
        // There is no -wal after the last connection closed.
        let _ = fs::remove_file(world.state_dir().join(file));
    }
    world.converges().says(&["< allotted  adopt"]);
    assert_eq!(former.servers(), servers);
    world.is_settled();
}
