//! What the first person who used herdsman stumbled over.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use crate::support::{World, eventually, llama_server};
use rusqlite::Connection;

fn database(world: &World) -> Connection {
    Connection::open(world.state_dir().join("herdsman.db")).unwrap()
}

#[test]
fn a_wrapper_that_does_not_exec_leaves_no_server_behind() {
    let world = World::new();
    world.tiny("a");
    let wrapper = world.path().join("wrapper");
    fs::write(&wrapper, format!("#!/bin/sh\n'{}' \"$@\"\nexit $?\n", llama_server().display())).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    world.write_definition("a", &format!("binary = \"../wrapper\"\n{}", World::tiny_toml("a")));
    world.run(&["reconcile"]).exits(1).says(&["failed to start: pid ", "answers instead of its parent, the wrapper"]);
    assert!(world.servers().is_empty(), "{:?}", world.servers());
}

#[test]
fn down_gives_requests_the_drain_time_of_their_definition() {
    let world = World::new();
    world.tiny("a");
    // Without /slots it cannot tell that it is idle: the whole time is waited.
    let toml = format!("{}slots = false\n[update]\ndrain = \"1s\"\n", World::tiny_toml("a"));
    world.write_definition("a", &toml);
    world.converges();
    let begun = Instant::now();
    let ran = world.run(&["down"]).exits(0);
    let took = begun.elapsed();
    assert!((Duration::from_secs(1)..Duration::from_secs(15)).contains(&took), "{took:?}");
    assert_eq!(ran.stderr.matches("a: stopped").count(), 1, "{ran}");
    ran.says(&["Stopped 1 server."]);
    assert!(world.instances().is_empty());
}

#[test]
fn usage_shows_no_option_that_only_the_environment_sets() {
    let ran = World::new().run(&["why"]).exits(64);
    assert!(ran.stderr.contains("Usage: herdsman why [OPTIONS] <NAME>\n"), "{ran}");
}

#[test]
fn down_without_a_state_directory_says_so_and_creates_none() {
    let world = World::new();
    world.run(&["down"]).exits(1).says(&["there is no state directory state"]);
    assert!(!world.state_dir().exists());
}

#[test]
fn an_adopted_row_is_not_also_shown_as_unmanaged() {
    let world = World::new();
    world.converges();
    let insert = "INSERT INTO models (name, type, status, created_at, updated_at) VALUES ('a', 'gpt', 'stopped', 1, 1)";
    assert_eq!(database(&world).execute(insert, []).unwrap(), 1);
    world.tiny("a");
    world.run(&["reconcile", "--dry-run"]).exits(0).says(&["adopting unmanaged row 1"]).does_not_say("ignore");
    world.converges();
    world.is_settled();
}

#[test]
fn recreates_deleted_records_around_the_running_server() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    let pid = world.pid("a");
    assert_eq!(database(&world).execute("DELETE FROM herdsman_models", []).unwrap(), 1);
    world.converges();
    world.is_settled();
    assert_eq!(world.pid("a"), pid);
}

#[test]
fn a_plan_shows_every_restart_with_its_reason_also_those_whose_turn_is_later() {
    let world = World::new();
    for name in ["a", "b"] {
        world.weights(name, name);
        world.write_definition(name, &format!("model = \"../weights/{name}.gguf\"\n"));
    }
    world.write_definition("_defaults", "[parameters]\nctx_size = 512\nthreads = 1\n");
    world.converges();
    world.write_definition("_defaults", "[parameters]\nctx_size = 1024\nthreads = 1\n");
    let ran = world.run(&["reconcile", "--dry-run"]).exits(0);
    assert_eq!(ran.stdout.matches("ctx_size 512 -> 1024   models.d/_defaults.toml:2").count(), 2, "{ran}");
    ran.says(&["Plan: 2 to restart (1 now)."]);
}

#[test]
fn a_secret_that_no_header_can_carry_is_refused_before_anything_stops() {
    let world = World::new();
    world.tiny("a");
    fs::write(world.path().join("key"), "good").unwrap();
    let toml = format!("{}[secrets]\napi_key = {{ file = \"../key\" }}\n", World::tiny_toml("a"));
    world.write_definition("a", &toml);
    world.converges();
    let pid = world.pid("a");
    fs::write(world.path().join("key"), "two\nlines").unwrap();
    world.run(&["reconcile"]).exits(65).says(&["models.d/a.toml:6", "is not one line of text"]);
    assert_eq!(world.pid("a"), pid);
}

#[test]
fn weights_are_checked_whatever_they_are_called() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    let pid = world.pid("a");
    fs::write(world.path().join("weights/blob"), "no weights at all").unwrap();
    world.write_definition("a", "model = \"../weights/blob\"\n");
    world.run(&["reconcile"]).exits(65).says(&["weights/blob", "GGUF", "models.d/a.toml:1"]);
    assert_eq!(world.pid("a"), pid);
}

#[test]
fn a_reconcile_that_only_waits_says_how_it_ended() {
    let world = World::new();
    world.tiny("a");
    // It serves on a signal, so that the next herdsman finds it loading.
    let wrapper = world.path().join("wrapper");
    let real = llama_server();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*|*--help*) ;; *) until [ -e '{}' ]; do sleep 0.01; done;; esac\nexec '{}' \"$@\"\n",
        world.path().join("go").display(),
        real.display()
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    world.write_definition("a", &format!("binary = \"../wrapper\"\n{}", World::tiny_toml("a")));
    let begun = world.run(&["reconcile", "--no-wait"]).exits(0);
    assert!(!begun.stdout.contains("waited"), "{begun}");
    world.run(&["reconcile", "--no-wait"]).exits(0).says(&["loading", "1 does not (yet)"]).does_not_say("Done");
    let mut waits = world.start(&["reconcile"]);
    let said = || fs::read_to_string(world.path().join("stdout.log")).unwrap();
    eventually("its plan", Duration::from_secs(20), || said().contains("1 does not (yet)"));
    fs::write(world.path().join("go"), "").unwrap();
    assert!(waits.child().wait().unwrap().success());
    assert!(said().ends_with("Done: nothing to change. 1 model matches its definition.\n"), "{}", said());
    world.is_settled();
}
