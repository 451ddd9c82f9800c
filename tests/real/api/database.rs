//! The database locked, deleted, replaced while clients read: they hear what is wrong,
//! the live state wins meanwhile, and all recovers without another watcher.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use super::client::{Events, PATIENCE, database, get, post};
use crate::gateway::served::Served;
use crate::support::{World, eventually};

/// A watcher with a model that runs and one that is cold, and readers of its events.
struct Scene {
    served: Served,
    pid: i32,
    readers: [(&'static str, Events); 4],
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        world.tiny("alpha");
        world.weights("cold", "cold ");
        world.write_definition("cold", &format!("state = \"on_demand\"\n{}", World::tiny_toml("cold")));
        let mut served = Served::new(world);
        served.watcher().eventually_says("alpha is ready");
        let is_shown = || get(served.port, "/api/models/alpha").json()["inSync"] == true;
        eventually("it is shown", PATIENCE, || {
            is_shown() && get(served.port, "/api/models/alpha").json()["status"] == "running"
        });
        let port = served.port;
        let readers = [
            ("socket, changes", Events::connect(port, "?changes=true")),
            ("socket", Events::connect(port, "")),
            ("SSE, changes", Events::by_sse(port, "?changes=true", None)),
            ("SSE", Events::by_sse(port, "", None)),
        ];
        let pid = served.world.pid("alpha");
        Self { served, pid, readers }
    }

    fn database(&self) -> std::path::PathBuf {
        database(&self.served.world)
    }

    /// Has every reader read until a message `is_it`. Each message about `alpha` must
    /// show it as it is: it runs, with the server that it has.
    #[track_caller]
    fn all_hear(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) {
        for (name, reader) in &mut self.readers {
            let begun = Instant::now();
            for message in reader.until(|message| is_it(message)) {
                for model in models(&message).filter(|model| model["name"] == "alpha") {
                    assert_eq!(
                        (model["status"].as_str(), model["instance"]["pid"].as_i64()),
                        (Some("running"), Some(self.pid.into())),
                        "{name}: {message}"
                    );
                }
                let whole = message["type"] == "models";
                assert!(!whole || models(&message).any(|model| model["name"] == "alpha"), "{name}: {message}");
            }
            assert!(begun.elapsed() < PATIENCE, "{name} heard {what} late");
        }
    }

    /// Has every reader hear a problem of the database: which file, and what to do.
    #[track_caller]
    fn all_hear_a_problem(&mut self, words: &[&str]) {
        let file = self.database().file_name().unwrap().to_str().unwrap().to_owned();
        self.all_hear("the problem", |message| {
            let problem = message["problem"].as_str().unwrap_or_default();
            problem.contains(&file) && words.iter().all(|word| problem.contains(word))
        });
    }

    /// Has every reader hear that the problem is over and the next change after it, and
    /// finds that nothing was lost.
    #[track_caller]
    fn all_recover(&mut self) {
        self.all_hear("the end of the problem", |message| message.get("problem").is_some_and(Value::is_null));
        self.goes_on();
    }

    /// A command works, and every reader sees what it does.
    #[track_caller]
    fn goes_on(&mut self) {
        let started = post(self.served.port, "/api/models/cold/start?wait=60s", "");
        assert_eq!((started.status, started.json()["outcome"].as_str()), (200, Some("done")), "{started:?}");
        self.all_hear("a start", |message| {
            models(message).any(|model| model["name"] == "cold" && model["status"] == "running")
        });
        let pids: Vec<_> = self.served.world.instances();
        assert!(pids.contains(&(self.pid, "alpha".to_owned())), "{pids:?}");
        assert_eq!(self.served.watcher().log().matches("serving at").count(), 1, "the same watcher");
    }
}

/// The models in a message: all of them, the one that changed, or none.
fn models(message: &Value) -> impl Iterator<Item = &Value> {
    let all = message["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().chain((message["type"] == "model").then_some(&message["data"]))
}

/// Puts a file in the place of the database, at once, with its log gone.
fn replace(path: &Path, write: impl FnOnce(&Path)) {
    let new = path.with_extension("new");
    write(&new);
    for suffix in ["-wal", "-shm"] {
        // There may be none.
        let _ = fs::remove_file(format!("{}{suffix}", path.display()));
    }
    fs::rename(new, path).unwrap();
}

#[test]
fn a_lock_of_five_seconds_delays_commands_and_fails_none() {
    let mut scene = Scene::new();
    let lock = Connection::open(scene.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let (port, commands) = (scene.served.port, ["start", "stop", "suspend", "resume"]);
    let asked = commands.map(|verb| thread::spawn(move || post(port, &format!("/api/models/cold/{verb}"), "")));
    // Reading goes on meanwhile.
    while begun.elapsed() < Duration::from_secs(5) {
        let asked = Instant::now();
        assert_eq!(get(port, "/api/models/alpha").json()["status"], "running");
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        thread::sleep(Duration::from_millis(100));
    }
    drop(lock);
    for (verb, asked) in commands.iter().zip(asked) {
        let answer = asked.join().unwrap();
        // Whatever the order they came in: a suspended model is neither started nor stopped.
        let is_refused = answer.status == 409 && ["start", "stop"].contains(verb);
        assert!(answer.status == 202 || is_refused, "{verb}: {answer:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(post(port, "/api/models/cold/resume", "").status, 202);
    scene.goes_on();
}

#[test]
fn a_lock_that_lasts_is_said_and_refuses_commands_until_it_is_over() {
    let mut scene = Scene::new();
    let lock = Connection::open(scene.database()).unwrap();
    // What the row says now is wrong, and nobody can correct it.
    lock.execute_batch("UPDATE models SET status = 'error' WHERE name = 'alpha'; BEGIN IMMEDIATE").unwrap();
    let begun = Instant::now();
    let refused = post(scene.served.port, "/api/models/cold/start", "");
    assert_eq!(refused.status, 503, "{refused:?}");
    let detail = refused.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("the command was not recorded") && detail.contains("herdsman.db"), "{detail}");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    scene.all_hear_a_problem(&["locked", "end its transaction"]);
    let row = lock.query_row("SELECT status FROM models WHERE name = 'alpha'", [], |row| row.get::<_, String>(0));
    assert_eq!(row.as_deref(), Ok("error"));
    assert_eq!(get(scene.served.port, "/api/models/alpha").json()["status"], "running", "what lives wins");
    assert_eq!(get(scene.served.port, "/api/models/none").status, 503, "nobody knows now");
    drop(lock);
    scene.all_recover();
    assert_eq!(get(scene.served.port, "/api/models/none").status, 404);
}

#[test]
fn a_reader_that_was_away_hears_that_a_problem_is_over() {
    let mut scene = Scene::new();
    let lock = Connection::open(scene.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(post(scene.served.port, "/api/models/cold/start", "").status, 503);
    let (_, reader) = &mut scene.readers[0];
    let heard = reader.until(|message| message["problem"].is_string());
    let since = heard.last().unwrap()["seq"].as_u64().unwrap();
    drop(lock);
    scene.all_recover();
    let mut again = Events::connect(scene.served.port, &format!("?changes=true&since={since}"));
    again.until(|message| message["type"] == "problem" && message["problem"].is_null());
}

#[test]
fn a_deleted_database_is_made_anew_while_readers_see_what_lives() {
    let mut scene = Scene::new();
    let row = |scene: &Scene| {
        Connection::open(scene.database())
            .unwrap()
            .query_row("SELECT count(*) FROM models", [], |row| row.get::<_, i64>(0))
    };
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", scene.database().display()));
    }
    scene.served.watcher().eventually_says("herdsman.db was deleted; herdsman created a new one");
    scene.goes_on();
    assert_eq!(row(&scene).unwrap(), 2);
    let list = get(scene.served.port, "/api/models").json();
    assert!(list["problem"].is_null() && list["models"].as_array().unwrap().len() == 2, "{list}");
}

#[test]
fn garbage_in_its_place_is_set_aside_while_readers_see_what_lives() {
    let mut scene = Scene::new();
    replace(&scene.database(), |new| fs::write(new, b"garbage ".repeat(10_000)).unwrap());
    scene.served.watcher().eventually_says("was damaged");
    scene.goes_on();
}

#[test]
fn an_older_copy_in_its_place_changes_nothing_that_runs() {
    let mut scene = Scene::new();
    // From before the model is started by hand: as a backup that somebody restores.
    let copy = scene.served.world.path().join("copy.db");
    let source = Connection::open(scene.database()).unwrap();
    source.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    drop(source);
    let started = post(scene.served.port, "/api/models/cold/start?wait=60s", "").json();
    assert_eq!(started["outcome"], "done", "{started}");
    let pids = scene.served.world.instances();
    replace(&scene.database(), |new| drop(fs::rename(&copy, new)));
    // It has forgotten that server, and it finds it.
    scene.served.watcher().eventually_says("cold adopt: ");
    assert_eq!(scene.served.world.instances(), pids);
    scene.goes_on();
    assert_eq!(scene.served.world.instances(), pids);
}

#[test]
fn another_programs_file_in_its_place_is_refused_in_words_until_it_is_gone() {
    let mut scene = Scene::new();
    let aside = scene.served.world.path().join("aside.db");
    Connection::open(scene.database()).unwrap().execute("VACUUM INTO ?1", [aside.to_str().unwrap()]).unwrap();
    replace(&scene.database(), |new| {
        Connection::open(new)
            .unwrap()
            .execute_batch("CREATE TABLE models (id INTEGER PRIMARY KEY, title TEXT)")
            .unwrap();
    });
    scene.all_hear_a_problem(&["lacks the columns", "use another database"]);
    let begun = Instant::now();
    let refused = post(scene.served.port, "/api/models/cold/start", "");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().contains("lacks the columns"), "{refused:?}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(get(scene.served.port, "/api/models/alpha").json()["status"], "running");
    replace(&scene.database(), |new| drop(fs::rename(&aside, new)));
    scene.all_recover();
}

#[test]
fn while_the_first_pass_cannot_succeed_the_page_and_the_api_say_why() {
    let Scene { mut served, pid, readers } = Scene::new();
    drop((served.watcher.take(), readers));
    let lock = Connection::open(database(&served.world)).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Something to record.
    served.world.write_definition("third", &format!("state = \"on_demand\"\n{}", World::tiny_toml("cold")));
    served.start();
    let begun = Instant::now();
    assert_eq!(get(served.port, "/").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let list = get(served.port, "/api/models").json();
    assert!(list["problem"].as_str().unwrap().contains("herdsman.db"), "{list}");
    assert_eq!(get(served.port, "/api/models/third").status, 503);
    let mut events = Events::connect(served.port, "?changes=true");
    assert!(events.next().unwrap()["problem"].is_string());
    drop(lock);
    events.until(|message| message.get("problem").is_some_and(Value::is_null));
    eventually("all is known", PATIENCE, || get(served.port, "/api/models/third").status == 200);
    assert_eq!(served.world.pid("alpha"), pid);
}
