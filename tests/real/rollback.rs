//! A bad commit never leaves a working model down, and a good one cuts no
//! request short.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::support::gguf::TinyGguf;
use crate::support::{World, ask, eventually, get, llama_server, post};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

/// A model of so many layers of zeros: it takes its time.
fn slow_weights(world: &World, name: &str, layers: u32) {
    let path = world.path().join("weights").join(format!("{name}.gguf"));
    TinyGguf::new(format!("{name} ")).zero_layers(layers).write(&path).unwrap();
}

/// A llama-server that tells its version and options, and otherwise does as
/// `otherwise` says (sh; `$real` is the real one).
fn llama_server_that(world: &World, otherwise: &str) -> String {
    let path = world.path().join("some-llama-server");
    let real = llama_server();
    let script = format!(
        "#!/bin/sh\nreal='{}'\ncase \"$*\" in *--version|*--help) exec \"$real\" \"$@\";; esac\n{otherwise}\n",
        real.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn a_generation_that_dies_gives_way_to_the_last_good_one() {
    let world = World::new();
    world.tiny("a");
    world.tiny("b");
    world.converges();
    let (port, b) = (world.port("a"), world.pid("b"));
    world.weights_that_die("bad");
    world.write_definition("a", &World::tiny_toml("bad"));
    let ran = world.run(&["reconcile"]).exits(1);
    ran.says_why_it_died().says(&[
        "-/+ a  restart",
        "a: failed to start",
        "generation 2 failed",
        "generation 1 is serving",
    ]);
    assert_eq!(ask(port), "a a a ");
    assert_eq!(world.pid("b"), b);
    let status = world.status("a");
    assert_eq!((&status["generation"], &status["serving"]), (&json!(2), &json!(1)), "{status}");
    world.run(&["status"]).says_why_it_died();

    // It waits: nothing is tried again as it is.
    let pid = world.pid("a");
    world.run(&["reconcile"]).exits(1).says(&["No changes.", "waiting for an edit"]);
    assert_eq!(world.pid("a"), pid);

    world.weights("good", "good ");
    world.write_definition("a", &World::tiny_toml("good"));
    world.converges().says(&["-/+ a  restart"]);
    assert_eq!(ask(port), "good good good ");
    world.is_settled();
}

#[test]
fn going_back_to_what_is_served_restarts_nothing() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    world.weights_that_die("bad");
    world.write_definition("a", &World::tiny_toml("bad"));
    world.run(&["reconcile"]).exits(1);
    let pid = world.pid("a");
    world.write_definition("a", &World::tiny_toml("a"));
    world.converges();
    assert_eq!(world.pid("a"), pid);
    world.is_settled();
    assert_eq!(world.status("a")["waiting_for"], json!([]));
}

#[test]
fn retries_a_failed_generation_on_request() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    let binary = llama_server_that(
        &world,
        "[ -e /proc/self/cwd/fixed ] || { echo 'error: the cat sat on it' >&2; exit 1; }\nexec \"$real\" \"$@\"",
    );
    // The working directory of a server is /, so the mark goes by its full path.
    let script = fs::read_to_string(&binary).unwrap();
    let mark = world.path().join("fixed");
    fs::write(&binary, script.replace("/proc/self/cwd/fixed", mark.to_str().unwrap())).unwrap();
    world.write_definition("a", &format!("binary = \"{binary}\"\n{}", World::tiny_toml("a")));
    world.run(&["reconcile"]).exits(1).says(&["the cat sat on it", "generation 1 is serving"]);
    fs::write(&mark, "").unwrap();
    world.run(&["reconcile"]).exits(1).says(&["No changes.", "--retry"]);
    world.run(&["reconcile", "--retry"]).exits(0).says(&["-/+ a  restart", "retrying after an earlier failure"]);
    assert_eq!(world.answer("a"), "a a a ");
    assert_eq!(world.status("a")["serving"], 2);
    world.is_settled();
}

#[test]
fn on_failure_stop_stops_instead_of_rolling_back() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    world.weights_that_die("bad");
    world.write_definition("a", &format!("{}[update]\non_failure = \"stop\"\n", World::tiny_toml("bad")));
    world.run(&["reconcile"]).exits(1).says_why_it_died().says(&["waiting for an edit"]);
    assert_eq!(world.instances(), []);
    let status = world.status("a");
    assert_eq!((&status["status"], &status["pid"]), (&json!("error"), &json!(null)), "{status}");
    world.run(&["reconcile"]).exits(1).says(&["No changes."]);
    assert_eq!(world.instances(), []);
    world.write_definition("a", &World::tiny_toml("a"));
    world.converges();
    assert_eq!(world.answer("a"), "a a a ");
}

#[test]
fn retries_later_when_there_is_nothing_to_roll_back_to() {
    let world = World::new();
    world.weights_that_die("bad");
    world.write_definition("a", &World::tiny_toml("bad"));
    world.tiny("b");
    world.run(&["reconcile"]).exits(1).says_why_it_died().says(&["waiting to retry", "1 model matches"]);
    assert_eq!(world.answer("b"), "b b b ");
    assert_eq!(world.status("a")["status"], "error");
    eventually("it is tried again", PATIENCE, || {
        world.run(&["reconcile"]).exits(1);
        world.status("a")["crashes"].as_u64() >= Some(2)
    });
    world.weights("good", "good ");
    world.write_definition("a", &World::tiny_toml("good"));
    world.converges();
    assert_eq!(world.answer("a"), "good good good ");
}

#[test]
fn one_bad_edit_of_the_defaults_takes_down_no_second_model() {
    let world = World::new();
    let names = ["a", "b", "c"];
    for name in names {
        world.weights(name, &format!("{name} "));
        world.write_definition(name, &format!("model = \"../weights/{name}.gguf\"\n"));
    }
    world.write_definition("_defaults", "[parameters]\nthreads = 1\nctx_size = 512\n");
    world.converges();
    let (b, c) = (world.pid("b"), world.pid("c"));
    let binary = llama_server_that(&world, "echo 'error: no good' >&2; exit 1");
    world.write_definition("_defaults", &format!("binary = \"{binary}\"\n[parameters]\nthreads = 1\nctx_size = 512\n"));
    world.run(&["reconcile"]).exits(1).says(&["the same edit failed on a   models.d/_defaults.toml:1"]);
    assert_eq!((world.pid("b"), world.pid("c")), (b, c));
    assert_eq!(names.map(|name| world.answer(name)), ["a a a ", "b b b ", "c c c "]);
    world.write_definition("_defaults", "[parameters]\nthreads = 1\nctx_size = 512\n");
    world.converges();
    assert_eq!((world.pid("b"), world.pid("c")), (b, c));
}

#[test]
fn a_model_that_never_becomes_ready_is_given_up_and_the_old_one_serves() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    let binary = llama_server_that(&world, "exec sleep 1000");
    let never = format!("binary = \"{binary}\"\n{}[ready]\ntimeout = \"1s\"\n", World::tiny_toml("a"));
    world.write_definition("a", &never);
    world.run(&["reconcile"]).exits(1).says(&["generation 2 failed: not ready after", "generation 1 is serving"]);
    assert_eq!(world.answer("a"), "a a a ");
    assert_eq!(world.servers().len(), 1, "{:?}", world.servers());
}

#[test]
fn a_model_that_loads_too_slowly_is_given_up_and_leaves_no_process() {
    let world = World::new();
    slow_weights(&world, "slow", 40);
    let toml = format!("{}[ready]\ntimeout = \"100ms\"\n", World::tiny_toml("slow"));
    world.write_definition("slow", &toml);
    world.run(&["reconcile"]).exits(1).says(&["slow: failed to start: not ready after", "waiting to retry"]);
    assert_eq!(world.servers(), []);
    assert_eq!(world.status("slow")["status"], "error");
}

#[test]
fn the_timeout_ends_the_wait_and_models_go_on_loading() {
    let world = World::new();
    let binary = llama_server_that(&world, "exec sleep 1000");
    world.weights("a", "a ");
    world.write_definition("a", &format!("binary = \"{binary}\"\n{}", World::tiny_toml("a")));
    world.run(&["reconcile", "--timeout", "300ms"]).exits(1).says(&["a  wait", "loading (pid"]);
    world.pid("a");
    assert_eq!(world.status("a")["status"], "loading");
    world.run(&["down"]).exits(0);
    assert_eq!(world.servers(), []);
}

/// A slow model that has a long request in flight: the thread that waits for
/// its answer.
fn busy(world: &World, tokens: u32) -> std::thread::JoinHandle<Result<(u16, serde_json::Value), String>> {
    let port = world.port("slow");
    let body = json!({"prompt": "hi", "n_predict": tokens, "temperature": 0, "ignore_eos": true});
    let request = std::thread::spawn(move || post(port, "/completion", &body));
    eventually("the request is in flight", PATIENCE, || {
        get(port, "/slots").is_ok_and(|(_, slots)| slots.to_string().contains("\"is_processing\":true"))
    });
    request
}

#[test]
fn a_request_in_flight_is_answered_before_the_restart() {
    let world = World::new();
    slow_weights(&world, "slow", 5);
    // Longer than the request takes on a busy machine.
    let toml = format!("{}[update]\ndrain = \"5m\"\n", World::tiny_toml("slow"));
    world.write_definition("slow", &toml);
    world.converges();
    let old = world.pid("slow");
    let request = busy(&world, 80);
    world.write_definition("slow", &toml.replace("512", "1024"));
    world.converges().says(&["-/+ slow  restart", "draining (1 request in flight)"]);
    let (status, answer) = request.join().unwrap().unwrap();
    assert_eq!((status, &answer["tokens_predicted"]), (200, &json!(80)), "{answer}");
    assert_ne!(world.pid("slow"), old);
    world.is_settled();
}

#[test]
fn a_request_that_takes_too_long_is_cut_at_the_deadline() {
    let world = World::new();
    slow_weights(&world, "slow", 5);
    // A context that takes ten seconds to fill, where the answer would end.
    let toml = format!("{}[update]\ndrain = \"500ms\"\n", World::tiny_toml("slow").replace("512", "1024"));
    world.write_definition("slow", &toml);
    world.converges();
    let request = busy(&world, 100_000);
    world.write_definition("slow", &toml.replace("1024", "2048"));
    let begun = Instant::now();
    world.converges().says(&["-/+ slow  restart"]);
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
    let answer = request.join().unwrap();
    assert!(!matches!(answer, Ok((200, _))), "{answer:?}");
    assert_eq!(world.answer("slow"), "slow slow slow ");
    assert_eq!(world.instances().len(), 1);
}

#[test]
fn a_drain_that_is_no_longer_needed_is_called_off() {
    let world = World::new();
    slow_weights(&world, "slow", 5);
    world.write_definition("slow", &World::tiny_toml("slow"));
    world.converges();
    let pid = world.pid("slow");
    // Longer than the next two passes take, and shorter than the context.
    let request = busy(&world, 400);
    world.write_definition("slow", &World::tiny_toml("slow").replace("512", "1024"));
    world.run(&["reconcile", "--no-wait"]).exits(0);
    world.write_definition("slow", &World::tiny_toml("slow"));
    world.converges();
    assert_eq!(request.join().unwrap().unwrap().0, 200);
    world.is_settled();
    assert_eq!(world.pid("slow"), pid);
}
