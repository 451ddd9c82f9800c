//! Passes with limits, asked for over the API.

use serde_json::{Value, json};

use super::client::{PATIENCE, get, post};
use crate::gateway::served::Served;
use crate::support::{World, eventually};

fn served(names: &[&str], more: &str) -> Served {
    let world = World::new();
    for name in names {
        world.weights(name, "word ");
        world.write_definition(name, &format!("{more}{}", World::tiny_toml(name)));
    }
    Served::new(world)
}

fn plan(served: &Served) -> Value {
    get(served.port, "/api/plan").json()
}

#[test]
fn what_the_guard_holds_back_is_done_with_permission_and_only_that() {
    let served = served(&["a", "b", "c", "d"], "");
    let is_ready = |name: &str| get(served.port, &format!("/api/models/{name}")).json()["status"] == "running";
    eventually("all run", PATIENCE, || ["a", "b", "c", "d"].iter().all(|name| is_ready(name)));
    for name in ["a", "b", "c"] {
        served.world.remove_definition(name);
    }
    eventually("it is held back", PATIENCE, || plan(&served)["guard"].is_object());
    let few = post(served.port, "/api/reconcile?wait=30s", r#"{"max_deletes": 2}"#);
    assert_eq!((few.status, few.json()["exit_code"].clone()), (200, json!(3)), "{few:?}");
    assert_eq!(few.json()["guard"]["deletions"], json!(["a", "b", "c"]), "{few:?}");
    assert_eq!(served.running(), ["a", "b", "c", "d"]);

    let done = post(served.port, "/api/reconcile?wait=60s", r#"{"max_deletes": 3}"#);
    assert_eq!(done.status, 200, "{done:?}");
    let done = done.json();
    assert_eq!((&done["exit_code"], &done["dry_run"], &done["guard"]), (&json!(0), &json!(false), &Value::Null));
    let actions = done["actions"].as_array().unwrap().iter();
    let deleted = actions.filter(|action| action["action"] == "delete" && action["outcome"] == "done");
    assert_eq!(deleted.map(|action| action["model"].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b", "c"], "{done}");
    assert_eq!(served.running(), ["d"]);
    let history = get(served.port, "/api/models/d/history").body;
    assert!(!history.contains("delete"), "{history}");
}

#[test]
fn nothing_to_do_is_done_at_once_and_nonsense_is_refused() {
    let served = served(&["a"], "state = \"on_demand\"\n");
    assert_eq!(get(served.port, "/api/models/a").status, 200);
    for body in ["", "{}", r#"{"retry": true, "max_deletes": "20%", "parallel": 2, "max_restarting": 2}"#] {
        let done = post(served.port, "/api/reconcile", body);
        assert_eq!((done.status, done.json()["exit_code"].clone()), (200, json!(0)), "{done:?}");
        assert!(done.json()["words"].is_object() && done.json()["format_version"] == 1);
    }
    for body in ["[]", "{\"max_delets\": 3}", "{\"max_deletes\": -1}", "{\"max_deletes\": \"x%\"}", "{\"parallel\": 0}"]
    {
        let answer = post(served.port, "/api/reconcile", body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
    }
    assert_eq!(post(served.port, "/api/reconcile?wait=soon", "").status, 400);
    assert_eq!(get(served.port, "/api/reconcile").status, 405);
}

#[test]
fn a_model_that_waits_for_its_next_try_is_tried_at_once() {
    let world = World::new();
    world.weights_that_die("a");
    world.write_definition("a", &World::tiny_toml("a"));
    let served = Served::new(world);
    let model = || get(served.port, "/api/models/a").json();
    // The third one is four seconds away.
    eventually("it has failed", PATIENCE, || model()["crashes"].as_u64() >= Some(3) && model()["nextTry"].is_string());
    let next_try = model()["nextTry"].as_str().unwrap().to_owned();
    let done = post(served.port, "/api/reconcile", r#"{"retry": true}"#).json();
    assert_eq!(done["actions"][0]["action"], "start", "{done}");
    let history = get(served.port, "/api/models/a/history").json();
    let starts = history["events"].as_array().unwrap().iter().filter(|event| event["event"] == "start");
    let asked = starts.filter(|event| event["cause"].as_str().unwrap_or_default().ends_with("reconcile by the API"));
    let at: Vec<&str> = asked.map(|event| event["at"].as_str().unwrap()).collect();
    assert!(at.len() == 1 && at[0] < next_try.as_str(), "{next_try}: {history}");
}
