//! The table `models` is shared: herdsman sees and reports what other programs do to
//! it, restores its own rows, and no server notices.

use crate::support::World;
use rusqlite::types::Value;
use rusqlite::{Connection, Params};
use serde_json::json;

/// Another program's connection.
struct Client(Connection);

impl Client {
    fn of(world: &World) -> Self {
        Self(Connection::open(world.state_dir().join("herdsman.db")).unwrap())
    }

    fn run(&self, sql: &str, values: impl Params) {
        assert_eq!(self.0.execute(sql, values).unwrap(), 1, "{sql}");
    }

    /// A column of the row of this name.
    fn get(&self, column: &str, name: &str) -> Value {
        let sql = format!("SELECT {column} FROM models WHERE name = ?1");
        self.0.query_row(&sql, [name], |row| row.get(0)).unwrap()
    }

    fn text(&self, column: &str, name: &str) -> String {
        match self.get(column, name) {
            Value::Text(text) => text,
            other => panic!("{column} of {name} is {other:?}"),
        }
    }

    fn number(&self, column: &str, name: &str) -> i64 {
        match self.get(column, name) {
            Value::Integer(number) => number,
            other => panic!("{column} of {name} is {other:?}"),
        }
    }

    /// Every column of a row, as text.
    fn row(&self, name: &str) -> Vec<String> {
        let mut statement = self.0.prepare("SELECT * FROM models WHERE name = ?1").unwrap();
        let columns = statement.column_count();
        let read = |row: &rusqlite::Row<'_>| (0..columns).map(|i| Ok(format!("{:?}", row.get_ref(i)?))).collect();
        statement.query_row([name], read).unwrap()
    }

    fn add_unmanaged(&self, name: &str) {
        let sql = "INSERT INTO models (name, type, status, ctx_size, created_at, updated_at)
                   VALUES (?1, 'gpt', 'running', 77, 1, 2)";
        self.run(sql, [name]);
    }
}

/// A world with one running model, and another program at its database.
fn world() -> (World, Client, i32) {
    let world = World::new();
    world.tiny("a");
    world.converges();
    let (client, pid) = (Client::of(&world), world.pid("a"));
    (world, client, pid)
}

#[test]
fn reports_an_edited_row_column_by_column_and_restores_it() {
    let (world, client, pid) = world();
    let before = client.row("a");
    client.run("UPDATE models SET ctx_size = 4096, type = 'custom', model_path = NULL WHERE name = 'a'", []);
    let says = [
        "~ a  update",
        "database drift: ctx_size changed from 512 to 4096",
        "database drift: type changed from llama to custom",
        "database drift: model_path changed from ",
    ];
    world.run(&["reconcile", "--dry-run", "--detailed-exitcode"]).exits(2).says(&says);
    assert_eq!(client.number("ctx_size", "a"), 4096, "a dry run writes nothing");
    world.converges().says(&says);
    let after = client.row("a");
    let bumped: Vec<_> = before.iter().zip(&after).filter(|(b, a)| b != a).collect();
    assert_eq!(bumped.len(), 1, "only updated_at: {bumped:?}");
    assert_eq!(world.pid("a"), pid);
    world.is_settled();
}

#[test]
fn a_deleted_row_returns_with_its_id() {
    let (world, client, pid) = world();
    let id = client.number("id", "a");
    client.run("DELETE FROM models WHERE name = 'a'", []);
    client.add_unmanaged("meanwhile");
    world.converges().says(&["~ a          update", &format!("another program deleted row {id}")]);
    assert_eq!(client.number("id", "a"), id);
    assert_eq!(client.text("status", "a"), "running");
    assert_eq!(world.pid("a"), pid);
    world.is_settled();
}

#[test]
fn a_renamed_row_gets_its_name_back() {
    let (world, client, pid) = world();
    let id = client.number("id", "a");
    client.run("UPDATE models SET name = 'stolen' WHERE name = 'a'", []);
    world.converges().says(&["database drift: name changed from a to stolen"]);
    assert_eq!(client.number("id", "a"), id);
    assert_eq!(world.pid("a"), pid);
    world.is_settled();
}

#[test]
fn a_row_of_another_program_is_shown_and_never_touched() {
    let (world, client, pid) = world();
    client.add_unmanaged("theirs");
    let before = client.row("theirs");
    world.converges().says(&[". theirs  ignore", "unmanaged row", "No changes. 1 model matches"]);
    world.write_definition("a", &World::tiny_toml("a").replace("512", "1024"));
    world.converges().says(&["-/+ a       restart", ". theirs  ignore"]);
    world.remove_definition("a");
    world.run(&["reconcile", "--max-deletes", "100%"]).exits(0);
    world.run(&["down"]).exits(0);
    assert_eq!(client.row("theirs"), before);
    assert!(world.instances().iter().all(|(other, _)| *other != pid));
    let status = world.status("theirs");
    assert_eq!((&status["managed"], &status["pid"]), (&json!(false), &json!(null)), "{status}");
}

#[test]
fn a_definition_takes_over_the_row_of_its_name_and_says_so() {
    let (world, client, _) = world();
    client.add_unmanaged("b");
    let id = client.number("id", "b");
    world.tiny("b");
    world.converges().says(&["+ b  create", &format!("adopting unmanaged row {id}")]);
    assert_eq!((client.number("id", "b"), client.number("created_at", "b")), (id, 1));
    assert_eq!((client.number("ctx_size", "b"), client.text("status", "b")), (512, "running".to_owned()));
    assert_eq!(world.answer("b"), "b b b ");
    world.is_settled();
}

#[test]
fn the_status_column_follows_what_is_seen() {
    let (world, client, pid) = world();
    assert_eq!(client.text("status", "a"), "running");
    // What a client writes there is no wish: the server is asked.
    client.run("UPDATE models SET status = 'stopped' WHERE name = 'a'", []);
    world.converges();
    assert_eq!(client.text("status", "a"), "running");
    assert_eq!(world.pid("a"), pid);

    let mut statuses = Vec::new();
    for _ in 0..6 {
        world.kill("a");
        if world.run(&["reconcile", "--no-wait"]).exits_with(&[0, 1]).code == 1 {
            statuses.push(client.text("status", "a"));
            break;
        }
        assert!(matches!(&*client.text("status", "a"), "loading" | "running"));
        world.converges();
    }
    assert_eq!(statuses, ["error"], "a crashed model that waits for its next try");
    world.run(&["reconcile", "--retry"]).exits(0);
    assert_eq!(client.text("status", "a"), "running");
    world.run(&["down"]).exits(0);
    assert_eq!(client.text("status", "a"), "stopped");
}

#[test]
fn both_views_show_the_same_rows_in_their_own_words() {
    let (world, client, _) = world();
    let stopped = format!("type = \"mistral\"\nstate = \"stopped\"\n{}", World::tiny_toml("a"));
    world.write_definition("b", &format!("{stopped}temperature = 0.25\n"));
    world.converges();
    client.add_unmanaged("100%_real");
    let names = |arguments: &[&str]| -> Vec<String> {
        let all = [&["models", "list", "--format", "json"], arguments].concat();
        let rows = world.run(&all).exits(0).json();
        rows["models"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&[]), ["b", "a", "100%_real"], "newest first");
    assert_eq!(names(&["--status", "idle"]), ["b"]);
    assert_eq!(names(&["--view", "database", "--status", "stopped"]), ["b"]);
    assert_eq!(names(&["--status", "running", "--type", "llama"]), ["a"]);
    assert_eq!(names(&["--type", "mistral"]), ["b"]);
    assert_eq!(names(&["--view", "database", "--type", "mistrall"]), ["b"]);
    assert_eq!(names(&["--view", "database", "--type", "gpt"]), ["100%_real"]);
    assert_eq!(names(&["--name", "%_R"]), ["100%_real"]);
    assert_eq!(names(&["--name", "_"]), ["100%_real"]);
    assert_eq!(names(&["--name", "x"]), Vec::<String>::new());
    world.run(&["models", "list", "--status", "stopped"]).exits(64).says(&["idle, loading, running, error"]);

    let get = |view: &str, key: &str| {
        let ran = world.run(&["models", "get", key, "--format", "json", "--view", view]).exits(0);
        ran.json()["model"].clone()
    };
    let (store, database) = (get("store", "b"), get("database", "b"));
    assert_eq!((&store["type"], &store["status"]), (&json!("mistral"), &json!("idle")));
    assert_eq!((&database["type"], &database["status"]), (&json!("mistrall"), &json!("stopped")));
    assert_eq!(store["parameters"]["temperature"], json!(0.25));
    assert_eq!((&database["temperature"], &database["ctx_size"]), (&json!(0.25), &json!(512)));
    let id = store["id"].as_str().unwrap().to_owned();
    assert_eq!(database["id"].to_string(), id);
    assert_eq!(get("store", &id), store);
    assert_eq!(
        (&get("store", "100%_real")["type"], &get("database", "100%_real")["type"]),
        (&json!("other"), &json!("gpt"))
    );
    world.run(&["models", "get", "nobody"]).exits(1).says(&["nobody", "models list"]);
}

#[test]
fn a_client_that_keeps_writing_disturbs_no_pass() {
    let (world, client, _) = world();
    client.add_unmanaged("theirs");
    for name in ["b", "c"] {
        world.tiny(name);
    }
    let done = std::sync::atomic::AtomicBool::new(false);
    let path = world.state_dir().join("herdsman.db");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let theirs = Client(Connection::open(&path).unwrap());
            let mut writes = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                theirs.run("UPDATE models SET updated_at = updated_at + 1 WHERE name = 'theirs'", []);
                writes += 1;
                // SQLite's lock is not fair: one who never lets go is not disturbed by waiting.
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            writes
        });
        let ran = world.run(&["reconcile"]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(writer.join().unwrap() > 10);
        ran.exits(0).says(&["Done: 2 created."]);
    });
    world.is_settled();
}
