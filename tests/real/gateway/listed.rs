//! What lists say of a model is what its server says and was started with.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::served::{PATIENCE, Served, Stream, ask, slow_toml};
use crate::support::{World, eventually, get};

fn running(served: &Served) -> Value {
    get(served.port, "/running").unwrap().1["running"].as_array().unwrap().first().cloned().unwrap_or_default()
}

#[test]
fn lists_show_how_a_server_runs_and_when_it_stops() {
    let world = World::new();
    let toml = slow_toml(&world, "a");
    world.write_definition("a", &format!("state = \"on_demand\"\n{toml}[idle]\nstop_after = \"90s\"\n"));
    let served = Served::new(world);
    let entry = || get(served.port, "/v1/models/a").unwrap().1;
    assert_eq!(ask(served.port, "a"), Ok("a a a ".to_owned()));
    eventually("its server has said it", PATIENCE, || entry()["meta"]["n_ctx"] == 4096);
    let database = Connection::open(served.world.state_dir().join("herdsman.db")).unwrap();
    let row: i64 = database.query_row("SELECT created_at FROM models WHERE name = 'a'", [], |row| row.get(0)).unwrap();
    assert_eq!(entry()["created"], row / 1000);

    let (pid, _) = served.world.instances()[0];
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let words: Vec<_> =
        line.split(|byte| *byte == 0).map(String::from_utf8_lossy).filter(|is| !is.is_empty()).collect();
    let seen = running(&served);
    assert_eq!(shlex::split(seen["cmd"].as_str().unwrap()).unwrap(), words);
    assert_eq!(entry()["status"]["args"], json!(words));
    assert_eq!((&seen["state"], &seen["ttl"], &seen["name"]), (&json!("ready"), &json!(90), &json!("a")));

    // Its last request is waited for.
    let stream = Stream::begin(served.port, "a", 800);
    served.world.write_definition("a", &format!("state = \"stopped\"\n{toml}"));
    eventually("it drains", PATIENCE, || running(&served)["state"] == "stopping");
    assert_eq!(running(&served)["cmd"], seen["cmd"]);
    assert_eq!(stream.end(), 800);
    eventually("it has stopped", PATIENCE, || running(&served).is_null());
    assert_eq!(entry()["meta"], Value::Null);
}
