//! What can be read.

use insta::assert_snapshot;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::client::{PATIENCE, database, get, post, send};
use crate::gateway::served::Served;
use crate::support::{World, eventually};

fn world() -> World {
    let world = World::new();
    world.tiny("alpha");
    world.write_definition("cold", &format!("state = \"on_demand\"\n{}", World::tiny_toml("alpha")));
    world
}

fn names(list: &Value) -> Vec<&str> {
    list["models"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect()
}

#[test]
fn models_are_in_the_store_form_with_what_herdsman_knows_of_them() {
    let mut served = Served::new(world());
    served.watcher().eventually_says("alpha is ready");
    let model = post(served.port, "/api/models/alpha/start?wait=30s", "").json()["model"].clone();
    assert_eq!(model["status"], "running");
    assert_eq!(model["type"], "llama");
    assert_eq!(
        (model["desired"].as_str(), model["generation"].as_u64(), model["serving"].as_u64()),
        (Some("running"), Some(1), Some(1))
    );
    assert_eq!(model["inSync"], true);
    assert_eq!(model["instance"]["isReady"], true);
    assert!(model["memory"].as_u64().unwrap() > 1 << 20);
    let at = model["createdAt"].as_str().unwrap();
    assert!(at.ends_with('Z') && at.len() == "2026-11-22T20:21:17.000Z".len(), "{at}");
    assert!(model["id"].as_str().unwrap().parse::<i64>().is_ok());

    // By name, by alias or by id, it is the same.
    served.world.write_definition(
        "cold",
        &format!("aliases = [\"frosty\"]\nstate = \"on_demand\"\n{}", World::tiny_toml("alpha")),
    );
    eventually("it has another name", PATIENCE, || get(served.port, "/api/models/frosty").status == 200);
    assert_eq!(get(served.port, "/api/models/frosty").json()["name"], "cold");
    let id = model["id"].as_str().unwrap();
    assert_eq!(get(served.port, &format!("/api/models/{id}")).json()["name"], "alpha");
    assert_eq!(get(served.port, "/api/models/cold").json()["status"], "idle");
    assert_snapshot!(get(served.port, "/api/models/alpah").body, @r#"{"code":"model_not_found","detail":"there is no model \"alpah\"; did you mean alpha?","status":404,"title":"Not Found","type":"about:blank"}"#);
    assert_eq!(get(served.port, "/api/models/alpah").header("content-type"), Some("application/problem+json"));
}

#[test]
fn lists_are_filtered_newest_first_and_tagged() {
    let mut served = Served::new(world());
    served.watcher().eventually_says("alpha is ready");
    eventually("it is shown", PATIENCE, || get(served.port, "/api/models/alpha").json()["status"] == "running");
    let list = get(served.port, "/api/models");
    let mut all = names(&list.json()).into_iter().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(all.len(), 2);
    for (query, expected) in [
        ("status=running", vec!["alpha"]),
        ("status=idle&type=llama", vec!["cold"]),
        ("type=mistral", vec![]),
        ("name=LPH", vec!["alpha"]),
        ("name=%25", vec![]),
    ] {
        assert_eq!(names(&get(served.port, &format!("/api/models?{query}")).json()), expected, "{query}");
    }
    let wrong = get(served.port, "/api/models?status=stopped");
    assert_eq!(
        (wrong.status, wrong.json()["detail"].as_str().unwrap()),
        (400, r#"status "stopped": expected one of idle, loading, running, error"#)
    );

    // The memory of a server that runs changes, so a tag does not last.
    crate::support::eventually("the list is as it was", super::client::PATIENCE, || {
        let list = get(served.port, "/api/models");
        let tag = format!("If-None-Match: {}", list.header("etag").unwrap());
        let again = send(served.port, "GET", "/api/models", &[&tag], "");
        (again.status, again.body.as_str()) == (304, "")
    });

    // A row of another program is shown, and nothing can be done with it.
    let database = Connection::open(database(&served.world)).unwrap();
    database
        .execute("INSERT INTO models (name, type, status, created_at, updated_at) VALUES ('their <own>', 'gpt', 'stopped', 9e12, 9e12)", [])
        .unwrap();
    all.insert(0, "their <own>".to_owned());
    crate::support::eventually("the row is shown", super::client::PATIENCE, || {
        names(&get(served.port, "/api/models").json()) == all
    });
    let theirs = get(served.port, "/api/models/their%20%3Cown%3E").json();
    assert_eq!((&theirs["managed"], &theirs["type"]), (&json!(false), &json!("other")));
    assert_eq!(post(served.port, "/api/models/their%20%3Cown%3E/start", "").status, 409);
}

#[test]
fn plan_why_history_logs_requests_and_machine_are_those_of_the_commands() {
    let mut served = Served::new(world());
    served.watcher().eventually_says("alpha is ready");
    assert_eq!(served.ask("alpha"), Ok("alpha alpha alpha ".to_owned()));
    let plan = get(served.port, "/api/plan").json();
    assert_eq!((&plan["dry_run"], &plan["actions"], &plan["matching"]), (&json!(true), &json!([]), &json!(2)));
    assert_eq!(get(served.port, "/api/models/alpha/why").json()["known"], "managed");
    assert_eq!(get(served.port, "/api/models/alpha/history").json()["generations"][0]["generation"], 1);
    let log = get(served.port, "/api/models/alpha/logs?lines=1000").body;
    assert!(log.starts_with("herdsman: instance "), "{log}");
    assert_eq!(get(served.port, "/api/models/alpha/logs?lines=many").status, 400);
    let requests = get(served.port, "/api/activity?model=alpha").json();
    assert_eq!(
        (&requests["requests"][0]["request"], &requests["requests"][0]["status"]),
        (&json!("POST /completion"), &json!(200))
    );
    let machine = get(served.port, "/api/machine").json();
    assert!(machine["memory"]["available"].as_u64().unwrap() <= machine["memory"]["total"].as_u64().unwrap());
    assert_eq!(machine["binaries"][0]["models"], json!(["alpha"]));
    let props = get(served.port, "/upstream/alpha/props").json();
    assert_eq!(machine["binaries"][0]["build"], props["build_info"]);
    assert!(!props["build_info"].as_str().unwrap().is_empty());
}

#[test]
fn a_definition_that_cannot_be_read_says_so() {
    let world = world();
    world.write_definition("broken", "model = 7\n");
    let mut served = Served::new(world);
    served.watcher().eventually_says("alpha is ready");
    let broken = get(served.port, "/api/models/broken").json();
    let problem = broken["problem"].as_str().unwrap();
    assert!(problem.starts_with("models.d/broken.toml:1: ") || problem.contains("broken.toml:1: "), "{problem}");
    assert_eq!(broken["isBlocked"], true);
    let refused = post(served.port, "/api/models/broken/start", "");
    assert_eq!(refused.status, 422, "{refused:?}");
}
