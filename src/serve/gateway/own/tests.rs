#![allow(clippy::unwrap_used, reason = "tests")]

mod loading;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::Request;
use insta::assert_snapshot;
use serde_json::Value;

use super::*;
use crate::model::{Address, InstanceId, Timestamp};
use crate::owner::settings::serve::Serve;
use crate::serve::body::{Body, full};
use crate::serve::gateway::Backend;
use crate::serve::gateway::routes::{About, Route, Routes, Standing};
use crate::sys::runtime::runtime;

/// A watcher that notes what it is asked to start.
struct Noted {
    state: StateDir,
    started: Mutex<Vec<String>>,
}

impl Host for Noted {
    fn start(&self, model: &ModelName, by: Option<&str>) -> Result<(), String> {
        if model.as_str() == "broken" {
            return Err("broken cannot start: its definition is invalid".to_owned());
        }
        self.started.lock().unwrap().push(format!("{model} by {}", by.unwrap_or("nobody")));
        Ok(())
    }

    fn llama_server(&self) -> Option<PathBuf> {
        None
    }

    fn state(&self) -> &StateDir {
        &self.state
    }

    fn metrics(&self) -> Result<String, String> {
        Ok("herdsman_build_info 1\n".to_owned())
    }
}

fn route(name: &str, on_demand: bool, standing: Standing) -> Route {
    let args = ["/opt/llama-server", "--port", "8101", "--alias", name].map(str::to_owned).to_vec();
    let about = About { created: 1_700_000_000, command: args, ..About::default() };
    Route { model: name.parse().unwrap(), aliases: Vec::new(), listed: true, on_demand, standing, about }
}

fn ready(name: &str) -> Standing {
    let address = Address { host: "127.0.0.1".to_owned(), port: Some(8101), ..Address::default() };
    Standing::Ready(Arc::new(Backend {
        instance: InstanceId(name.to_owned()),
        generation: 1,
        address,
        max_in_flight: None,
        api_key: None,
    }))
}

fn unavailable() -> Standing {
    Standing::Unavailable("stopped by hand".to_owned())
}

/// One model of each standing.
fn routes() -> Routes {
    let mut chat = route("chat", true, ready("chat"));
    chat.aliases = vec!["gpt-4o".to_owned(), "org/chat".to_owned()];
    chat.about.description = Some("general chat".to_owned());
    let mut eyes = route("eyes", true, Standing::OnDemand);
    eyes.about.command.extend(["--mmproj".to_owned(), "eyes.gguf".to_owned()]);
    let mut hidden = route("hidden", false, ready("hidden"));
    hidden.listed = false;
    let all = vec![
        route("stopped", false, unavailable()),
        route("always", false, ready("always")),
        chat,
        eyes,
        hidden,
        route("loads", true, Standing::Coming),
        route("broken", false, unavailable()),
    ];
    Routes::new(Instant::now(), all)
}

struct Scene {
    gateway: Gateway,
    host: Arc<Noted>,
    rings: Arc<AtomicUsize>,
    runtime: tokio::runtime::Runtime,
    _state: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let rings = Arc::<AtomicUsize>::default();
        let rung = Arc::clone(&rings);
        let gateway = Gateway::new(Serve::default(), move || {
            rung.fetch_add(1, Ordering::Relaxed);
        });
        gateway.publish(routes());
        let said = serde_json::json!({"n_ctx": 8192, "ftype": "F16", "long": "x".repeat(101), "list": [1]});
        gateway.0.own.metas.keep(&InstanceId("chat".to_owned()), said.as_object().cloned());
        let state = tempfile::tempdir().unwrap();
        let host = Arc::new(Noted { state: StateDir::new(state.path().to_owned()), started: Mutex::default() });
        gateway.attach(Arc::clone(&host) as Arc<dyn Host>);
        Self { gateway, host, rings, runtime: runtime().unwrap(), _state: state }
    }

    fn own(&self, caller: &Caller, request: &str, body: &str) -> Own<Body> {
        let (method, uri) = request.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        let body = full(body.to_owned());
        let _entered = self.runtime.enter();
        self.runtime.block_on(answer(&self.gateway, caller, &mut parts, body))
    }

    fn ask_as(&self, caller: &Caller, request: &str, body: &str) -> (u16, String) {
        match self.own(caller, request, body) {
            Own::Answer(answer) => {
                let status = answer.status().as_u16();
                let body = self.runtime.block_on(answer.into_body().collect()).unwrap().to_bytes();
                (status, String::from_utf8(body.to_vec()).unwrap())
            }
            Own::To(lease, _) => (0, format!("to {}", lease.backend().instance.0)),
            Own::NotOurs(_) => (0, "not ours".to_owned()),
        }
    }

    fn ask(&self, request: &str, body: &str) -> (u16, String) {
        self.ask_as(&Caller::anyone(), request, body)
    }

    /// Asks, and writes the answer in one line.
    fn line(&self, request: &str, body: &str) -> String {
        let (status, answer) = self.ask(request, body);
        format!("{request} {body} -> {status} {}\n", answer.trim_end())
    }
}

/// May use only what begins with `c`, and change nothing.
fn guest() -> Caller {
    Caller { name: Some("ann".into()), models: Arc::from(["c*".to_owned()]), admin: false }
}

fn ids(list: &str) -> Vec<String> {
    let list: Value = serde_json::from_str(list).unwrap();
    list["data"].as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn lists_show_what_the_caller_may_use_in_order_of_name() {
    let scene = Scene::new();
    let (status, list) = scene.ask("GET /v1/models", "");
    assert_eq!(status, 200);
    assert_eq!(ids(&list), ["always", "broken", "chat", "eyes", "loads", "stopped"]);
    assert_eq!(scene.ask("GET /models", "").1, list);
    assert_eq!(ids(&scene.ask_as(&guest(), "GET /v1/models", "").1), ["chat"]);
    let props: Value = serde_json::from_str(&scene.ask_as(&guest(), "GET /props", "").1).unwrap();
    assert_eq!(props["max_instances"], 1, "what it says is no more than the list");
    assert_eq!(scene.rings.load(Ordering::Relaxed), 0, "a list starts nothing");
}

#[test]
fn an_entry_has_the_fields_of_openai_the_router_and_llama_swap() {
    let scene = Scene::new();
    let (_, one) = scene.ask("GET /v1/models/org%2Fchat", "");
    let one: Value = serde_json::from_str(&one).unwrap();
    assert_snapshot!(serde_json::to_string_pretty(&one).unwrap());
    let status = |name: &str| {
        let entry: Value = serde_json::from_str(&scene.ask(&format!("GET /v1/models/{name}"), "").1).unwrap();
        entry["status"]["value"].as_str().unwrap().to_owned()
    };
    assert_eq!(["hidden", "loads", "eyes", "stopped"].map(status), ["loaded", "loading", "unloaded", "unloaded"]);
    let (_, eyes) = scene.ask("GET /v1/models/eyes", "");
    assert!(eyes.contains(r#""input_modalities":["text","image"]"#), "{eyes}");
    assert_eq!(scene.ask_as(&guest(), "GET /v1/models/always", "").0, 404);
}

#[test]
fn a_model_that_runs_says_how_until_it_has_stopped() {
    let scene = Scene::new();
    let routed = |name: &str, standing, is_stopping| {
        let mut route = route(name, true, standing);
        (route.about.is_stopping, route.about.ttl) = (is_stopping, 600);
        route
    };
    let all = vec![
        routed("ready", ready("ready"), false),
        routed("starts", Standing::Coming, false),
        routed("stops", unavailable(), true),
        routed("restarts", Standing::Coming, true),
        routed("cold", Standing::OnDemand, false),
    ];
    scene.gateway.publish(Routes::new(Instant::now(), all));
    let running: Value = serde_json::from_str(&scene.ask("GET /running", "").1).unwrap();
    let said = running["running"].as_array().unwrap().iter().map(|entry| {
        format!("{} {} {} {} {}\n", entry["name"], entry["state"], entry["ttl"], entry["proxy"], entry["cmd"])
    });
    assert_snapshot!(said.collect::<String>(), @r#"
    "ready" "ready" 600 "http://127.0.0.1:8101" "/opt/llama-server --port 8101 --alias ready"
    "restarts" "stopping" 600 "" "/opt/llama-server --port 8101 --alias restarts"
    "starts" "starting" 600 "" "/opt/llama-server --port 8101 --alias starts"
    "stops" "stopping" 600 "" "/opt/llama-server --port 8101 --alias stops"
    "#);
}

#[test]
fn everything_else_answers_in_the_words_of_router_and_llama_swap() {
    let scene = Scene::new();
    let asked = [
        ("GET /health", ""),
        ("GET /v1/health", ""),
        ("GET /props", ""),
        ("GET /props?autoload=false", ""),
        ("GET /props?model=chat", ""),
        ("POST /props", "{}"),
        ("POST /props?model=chat", "{}"),
        ("GET /tools", ""),
        ("POST /tools", "{}"),
        ("GET /metrics", ""),
        ("GET /metrics?model=chat", ""),
        ("GET /slots", ""),
        ("GET /running", ""),
        ("POST /models/load", r#"{"model": "chat"}"#),
        ("POST /models/load", r#"{"model": "loads"}"#),
        ("POST /models/load", r#"{"model": "nope"}"#),
        ("POST /models/load", "{}"),
        ("POST /models/load", "x"),
        ("POST /models/load", r#"{"model": "broken"}"#),
        ("POST /models/unload", r#"{"model": "eyes"}"#),
        ("POST /models/unload", r#"{"model": "always"}"#),
        ("POST /models/unload", r#"{"model": "nope"}"#),
        ("POST /api/models/unload/always", ""),
        ("POST /api/models/unload/nope", ""),
        ("POST /api/models/unload/stopped", ""),
        ("POST /api/models/unload/org%2Fchat", ""),
        ("POST /api/models/unload", ""),
        ("POST /unload", ""),
        ("GET /unload", ""),
        ("GET /models/load", ""),
        ("GET /api/models/unload", ""),
        ("GET /api/models/unload/chat", ""),
        ("POST /v1/models", "{}"),
        ("DELETE /models", ""),
        ("GET /v1/stream", ""),
        ("GET /v1/stream?conv_id=c", ""),
        ("DELETE /v1/stream?conv_id=c", ""),
        ("POST /v1/streams/lookup", r#"{"conversation_ids": ["c"]}"#),
        ("POST /v1/streams/lookup", "x"),
        ("GET /logs", ""),
        ("GET /logs/stream/nope", ""),
        ("POST /v1/chat/completions", "{}"),
        ("GET /upstream/chat/props", ""),
        ("GET /chat", ""),
    ];
    let answers: String = asked.iter().map(|(request, body)| scene.line(request, body)).collect();
    assert_snapshot!(answers);
}

#[test]
fn a_key_without_admin_changes_nothing_and_reads_no_log() {
    let scene = Scene::new();
    scene.gateway.publish(Routes::new(
        Instant::now(),
        vec![
            route("chat", true, ready("chat")),
            route("cold", true, Standing::OnDemand),
            route("cannot", true, unavailable()),
            route("cut", false, unavailable()),
        ],
    ));
    let status = |request: &str, body: &str| scene.ask_as(&guest(), request, body).0;
    assert_eq!(status("POST /models/load", r#"{"model": "cold"}"#), 200, "as a request for it would");
    assert_eq!(status("POST /models/load", r#"{"model": "cannot"}"#), 503, "as a request for it would");
    let refused = [
        ("POST /models/load", r#"{"model": "cut"}"#),
        ("POST /models/unload", r#"{"model": "chat"}"#),
        ("POST /unload", ""),
        ("POST /api/models/unload", ""),
        ("POST /api/models/unload/chat", ""),
        ("GET /logs", ""),
        ("GET /logs/stream/chat", ""),
        ("GET /metrics", ""),
    ];
    for (request, body) in refused {
        assert_eq!(status(request, body), 403, "{request}");
    }
}

#[test]
fn a_key_without_admin_reads_no_command_line() {
    let scene = Scene::new();
    for request in ["GET /running", "GET /v1/models", "GET /v1/models/chat"] {
        let said = [Caller::anyone(), guest()].map(|caller| scene.ask_as(&caller, request, "").1);
        assert!(said[0].contains("--port") && !said[1].contains("--port"), "{request}: {said:?}");
        assert!(said[1].contains("chat"), "{request}: {said:?}");
    }
}

#[test]
fn a_start_by_hand_is_unloaded_and_no_model_that_always_runs() {
    let scene = Scene::new();
    let mut by_hand = route("by-hand", false, ready("by-hand"));
    by_hand.about.is_by_hand = true;
    let unload = |request: &str, body: &str| {
        scene
            .gateway
            .publish(Routes::new(Instant::now(), vec![by_hand.clone(), route("always", false, ready("always"))]));
        let status = scene.ask(request, body).0;
        let demand = scene.gateway.demand(Timestamp(0)).models;
        let unloaded: Vec<_> =
            demand.iter().filter(|(_, traffic)| traffic.unload.is_some()).map(|(model, _)| model.to_string()).collect();
        (status, unloaded.join(" "))
    };
    assert_eq!(unload("POST /models/unload", r#"{"model": "always"}"#), (400, String::new()));
    for (request, body) in [
        ("POST /models/unload", r#"{"model": "by-hand"}"#),
        ("POST /api/models/unload/by-hand", ""),
        ("POST /unload", ""),
    ] {
        assert_eq!(unload(request, body), (200, "by-hand".to_owned()), "{request}");
    }
}

#[test]
fn a_name_that_nothing_has_is_answered_with_those_that_are_near() {
    let scene = Scene::new();
    let said = |caller: &Caller, request: &str, body: &str| {
        let (status, answer) = scene.ask_as(caller, request, body);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        format!("{status} {}", answer["error"]["message"].as_str().unwrap())
    };
    let near = "404 there is no model \"chatt\"; did you mean chat?";
    assert_eq!(said(&guest(), "GET /v1/models/chatt", ""), near);
    assert_eq!(said(&guest(), "POST /models/load", r#"{"model": "chatt"}"#), near);
    let none = "404 there is no model \"alwayz\"; GET /v1/models lists the models";
    assert_eq!(said(&guest(), "GET /v1/models/alwayz", ""), none, "this key does not learn of it");
}

#[test]
fn events_say_what_loads_and_what_is_loaded() {
    let scene = Scene::new();
    let Own::Answer(answer) = scene.own(&Caller::anyone(), "GET /models/sse", "") else { panic!("not ours") };
    let mut body = answer.into_body();
    let mut next = || {
        let frame = scene.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), body.frame()).await });
        let frame = frame.expect("an event within 5 s").unwrap().unwrap().into_data().unwrap();
        String::from_utf8(frame.to_vec()).unwrap()
    };
    assert!(next().starts_with(':'));
    let publish = |standing: Standing| {
        let mut all: Vec<Route> = routes().all().map(|route| (**route).clone()).collect();
        all.iter_mut().find(|route| route.model.as_str() == "eyes").unwrap().standing = standing;
        scene.gateway.publish(Routes::new(Instant::now(), all));
    };
    publish(Standing::Coming);
    assert_snapshot!(next(), @r#"data: {"data":{"status":"loading"},"event":"status_change","model":"eyes"}"#);
    publish(ready("eyes"));
    let loaded = next();
    assert!(loaded.contains(r#""status":"loaded""#) && loaded.contains(r#""info":{"#), "{loaded}");
    publish(Standing::OnDemand);
    assert_snapshot!(next(), @r#"data: {"data":{"exit_code":0,"status":"unloaded"},"event":"status_change","model":"eyes"}"#);
    scene.gateway.publish(Routes::default());
    assert_snapshot!(next(), @r#"data: {"data":{},"event":"models_reload","model":"*"}"#);
    // Before the server ends, the stream does.
    scene.gateway.end_streams();
    let end = scene.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), body.frame()).await });
    assert!(end.expect("an end within 5 s").is_none());
}

#[test]
fn events_end_in_the_middle_of_what_a_client_does_not_read() {
    let scene = Scene::new();
    let Own::Answer(answer) = scene.own(&Caller::anyone(), "GET /models/sse", "") else { panic!("not ours") };
    // The stream's task goes on until it waits.
    let lets_others_run = || {
        scene.runtime.block_on(async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        });
    };
    let publish = |standing: Standing| {
        let all = (0..100).map(|number| route(&format!("m{number}"), true, standing.clone())).collect();
        scene.gateway.publish(Routes::new(Instant::now(), all));
        lets_others_run();
    };
    publish(Standing::Coming);
    publish(Standing::OnDemand);
    scene.gateway.end_streams();
    lets_others_run();
    let body = answer.into_body().collect();
    let body = scene.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(5), body).await });
    let text = String::from_utf8(body.unwrap().unwrap().to_bytes().to_vec()).unwrap();
    assert!(text.matches("data: ").count() < 10, "{text}");
}

#[test]
fn below_chat_the_api_is_the_gateways_own() {
    let scene = Scene::new();
    assert_eq!(scene.ask("GET /chat/v1/models", ""), scene.ask("GET /v1/models", ""));
    assert_eq!(scene.ask("GET /chat/props?autoload=false", ""), scene.ask("GET /props", ""));
    assert_eq!(scene.ask("GET /chat/v1/models/a.b", "").0, 404, "a name with a dot is no file of the page");
    let request = Request::builder().method("POST").uri("/chat/v1/chat/completions?x=1").body(()).unwrap();
    let (mut parts, ()) = request.into_parts();
    let own = scene.runtime.block_on(answer(&scene.gateway, &Caller::anyone(), &mut parts, full("{}")));
    assert!(matches!(own, Own::NotOurs(_)));
    assert_eq!(parts.uri, "/v1/chat/completions?x=1");
    // Clients without gzip, and writes.
    assert_eq!(scene.ask("GET /chat/", "").0, 415);
    assert_eq!(scene.ask("POST /chat/", "").0, 405);
}

#[test]
fn a_body_for_the_gateway_itself_is_small() {
    let scene = Scene::new();
    assert_eq!(scene.ask("POST /models/load", &" ".repeat(SMALL + 1)).0, 413);
}

#[test]
fn what_a_browser_asks_for_at_the_root_is_no_models() {
    let scene = Scene::new();
    for path in ["/favicon.ico", "/favicon.svg", "/robots.txt", "/_app/immutable/bundle.js", "/api", "/api/nothing"] {
        assert_eq!(scene.ask(&format!("GET {path}"), "").0, 404, "{path}");
    }
    assert_eq!(scene.ask("GET /", "").0, 307);
    assert_eq!(["TRACE /", "POST /", "DELETE /"].map(|request| scene.ask(request, "").0), [405; 3]);
    assert_eq!(["GET /upstream", "GET /upstream/"].map(|request| scene.ask(request, "").0), [404; 2]);
    for path in ["/lora-adapters", "/completion", "/v1/nothing.new"] {
        assert_eq!(scene.ask(&format!("GET {path}"), "").1, "not ours", "{path}");
    }
}
