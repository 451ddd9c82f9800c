//! A plan is saved, looked at, and applied: exactly it, once, and only while
//! everything it rests on is as it was.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::support::{Ran, World, eventually, is_as_schema, llama_server};
use rusqlite::Connection;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A world of running models.
fn running(models: &[&str]) -> World {
    let world = World::new();
    models.iter().for_each(|name| world.tiny(name));
    world.converges();
    world
}

fn edit(world: &World, model: &str, ctx_size: u32) {
    world.write_definition(model, &World::tiny_toml(model).replace("512", &ctx_size.to_string()));
}

#[track_caller]
fn save(world: &World) -> Ran {
    world.run(&["reconcile", "--dry-run", "--out", "plan.json"]).exits(0).says(&["saved the plan to plan.json"])
}

fn apply(world: &World) -> Ran {
    world.run(&["reconcile", "--plan", "plan.json"])
}

/// Asserts that the plan is refused, for this reason, and nothing was done.
#[track_caller]
fn is_refused(world: &World, says: &[&str]) {
    let before = world.instances();
    world.run(&["reconcile", "--plan", "plan.json", "--dry-run"]).exits(3).says(says);
    apply(world).exits(3).says(says).says(&["Nothing was changed."]);
    assert_eq!(world.instances(), before);
}

#[test]
fn a_saved_plan_is_applied_once_and_is_all_that_is_done() {
    let world = World::new();
    world.tiny("a");
    let saved = save(&world);
    assert!(saved.stdout.contains("+ a  create") && !world.state_dir().exists(), "{saved}");
    let mode = fs::metadata(world.path().join("plan.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    world
        .run(&["reconcile", "--plan", "plan.json", "--dry-run", "--detailed-exitcode"])
        .exits(2)
        .says(&["+ a  create"]);
    assert!(!world.state_dir().exists(), "a look makes nothing");
    apply(&world).exits(0).says(&["Done: 1 created."]);
    is_refused(&world, &["was already applied at", "applied only once"]);
    world.is_settled();

    edit(&world, "a", 1024);
    save(&world);
    let pid = world.pid("a");
    apply(&world).exits(0).says(&["ctx_size 512 -> 1024", "Done: 1 restarted."]);
    assert_ne!(world.pid("a"), pid);
    world.is_settled();
}

#[test]
fn a_saved_plan_matches_its_schema() {
    let world = running(&["a", "b"]);
    edit(&world, "a", 1024);
    world.write_definition("wrong", "model = 7\n");
    world.run(&["reconcile", "--dry-run", "--out", "plan.json"]).exits(65);
    let text = fs::read_to_string(world.path().join("plan.json")).unwrap();
    let state_id = fs::read_to_string(world.state_dir().join("id")).unwrap();
    assert!(!text.contains(state_id.trim()), "it keys the digests of secrets");
    is_as_schema("plan", &serde_json::from_str(&text).unwrap());
    apply(&world).exits(65).says(&["Done: 1 restarted."]);
}

#[test]
fn reports_an_edit_since_the_plan_with_its_line() {
    let world = running(&["a", "b"]);
    edit(&world, "a", 1024);
    save(&world);
    edit(&world, "a", 2048);
    is_refused(&world, &["a: its definition changed: ctx_size 1024 -> 2048   models.d/a.toml:3"]);
    edit(&world, "a", 1024);
    edit(&world, "b", 1024);
    is_refused(&world, &["b: its definition changed: ctx_size 512 -> 1024   models.d/b.toml:3"]);
    // A comment is no change.
    let toml = World::tiny_toml("b");
    world.write_definition("b", &format!("# new\n{toml}"));
    world.tiny("c");
    is_refused(&world, &["c: models.d/c.toml now defines it"]);
    world.remove_definition("c");
    apply(&world).exits(0).says(&["Done: 1 restarted."]);
}

#[test]
fn reports_that_a_group_has_room_for_more_since_the_plan() {
    let world = running(&["a"]);
    let member =
        |name: &str| world.write_definition(name, &("group = \"chat\"\n".to_owned() + &World::tiny_toml(name)));
    world.write_definition("_groups", "[chat]\nmax_running = 1\n[other]\nmax_running = 1\n");
    member("a");
    world.converges();
    world.tiny("b");
    save(&world);
    // Nobody of the plan is in this one.
    world.write_definition("_groups", "[chat]\nmax_running = 1\n[other]\nmax_running = 3\n");
    world.run(&["reconcile", "--plan", "plan.json", "--dry-run"]).exits(0);
    world.write_definition("_groups", "[chat]\nmax_running = 2\n");
    is_refused(&world, &["group chat: max_running is now 2, was 1"]);
}

#[test]
fn reports_a_server_that_is_gone_and_an_edited_row() {
    let world = running(&["a", "b"]);
    edit(&world, "a", 1024);
    save(&world);
    let database = Connection::open(world.state_dir().join("herdsman.db")).unwrap();
    database.execute("UPDATE models SET ctx_size = 7 WHERE name = 'b'", []).unwrap();
    is_refused(&world, &["b: another program changed ctx_size in its row: 512 -> 7"]);
    database.execute("UPDATE models SET ctx_size = 512 WHERE name = 'b'", []).unwrap();
    let pid = world.kill("b");
    is_refused(&world, &[&format!("b: pid {pid} is gone")]);
}

#[test]
fn a_plan_for_one_model_does_not_rest_on_the_others() {
    let world = running(&["a", "b"]);
    edit(&world, "a", 1024);
    edit(&world, "b", 1024);
    let b = world.pid("b");
    world.run(&["reconcile", "--dry-run", "--target", "a", "--out", "plan.json"]).exits(0);
    edit(&world, "b", 2048);
    world.write_definition("wrong", "model = 7\n");
    apply(&world).exits(65).says(&["Done: 1 restarted."]);
    assert_eq!(world.pid("b"), b);
}

#[test]
fn restarts_that_waited_for_their_turn_are_part_of_it() {
    let world = running(&["a", "b", "c"]);
    ["a", "b"].iter().for_each(|name| edit(&world, name, 1024));
    let c = world.pid("c");
    save(&world).says(&["2 to restart (1 now)"]);
    apply(&world).exits(0).says(&["Done: 2 restarted."]);
    assert_eq!(world.pid("c"), c);
    world.is_settled();
}

/// A llama-server that takes a while before it serves.
fn slow_llama_server(world: &World) -> String {
    let path = world.path().join("slow-llama-server");
    let hold = world.path().join("hold");
    fs::write(&hold, "").unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version|*--help) ;; *) while [ -e '{}' ]; do sleep 0.05; done;; esac\nexec '{}' \"$@\"\n",
        hold.display(),
        llama_server().display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn later_changes_stay_out_and_an_interrupted_plan_is_not_applied_again() {
    let world = World::new();
    world.tiny("b");
    world.converges();
    let b = world.pid("b");
    world.tiny("a");
    let slow = slow_llama_server(&world);
    world.write_definition("a", &format!("binary = \"{slow}\"\n{}", World::tiny_toml("a")));
    save(&world);

    // Killed while what it began is loading.
    let mut herdsman = world.start(&["reconcile", "--plan", "plan.json"]);
    eventually("a loads", PATIENCE, || world.instances().len() == 2);
    herdsman.child().kill().unwrap();
    herdsman.child().wait().unwrap();
    is_refused(&world, &["was already started at", "interrupted", "applied only once"]);

    // The next plan has what it had begun; what happens to b meanwhile is not its business.
    save(&world).says(&[": a  wait     loading"]);
    let mut herdsman = world.start(&["reconcile", "--plan", "plan.json"]);
    let database = Connection::open(world.state_dir().join("herdsman.db")).unwrap();
    let begun = || database.query_row("SELECT count(*) FROM herdsman_applied_plans", [], |row| row.get(0)) == Ok(2);
    eventually("it has begun", PATIENCE, begun);
    edit(&world, "b", 1024);
    fs::remove_file(world.path().join("hold")).unwrap();
    assert!(herdsman.child().wait().unwrap().success());
    assert_eq!((world.status("a")["status"].as_str(), world.pid("b")), (Some("running"), b));
    world.converges().says(&["Done: 1 restarted."]);
}

#[test]
fn a_start_that_fails_while_another_loads_is_not_forgotten() {
    let world = World::new();
    world.weights_that_die("bad");
    world.write_definition("bad", &World::tiny_toml("bad"));
    world.tiny("slow");
    let slow = slow_llama_server(&world);
    world.write_definition("slow", &format!("binary = \"{slow}\"\n{}", World::tiny_toml("slow")));
    save(&world);
    let mut herdsman = world.start(&["reconcile", "--plan", "plan.json"]);
    let failed = || fs::read_to_string(world.path().join("stderr.log")).unwrap().contains("bad: ");
    eventually("one has failed", PATIENCE, failed);
    fs::remove_file(world.path().join("hold")).unwrap();
    assert_eq!(herdsman.child().wait().unwrap().code(), Some(1));
    assert_eq!(world.status("slow")["status"], "running");
}

#[test]
fn a_plan_may_be_applied_from_another_directory() {
    let world = running(&["a", "b"]);
    world.remove_definition("b");
    fs::write(world.models_dir().join("no name.toml"), "model = 7\n").unwrap();
    edit(&world, "a", 1024);
    world.run(&["reconcile", "--dry-run", "--out", "plan.json"]).exits(65);
    let from = |directory: &str, arguments: &[&str]| {
        let mut command = world.command();
        command.current_dir(world.path().join(directory)).arg("--models-dir").arg(world.models_dir());
        command.args(["--state-dir", "../state", "reconcile", "--plan", "../plan.json"]).args(arguments);
        Ran::of(&mut command)
    };
    from("weights", &["--dry-run"]).exits(65);
    fs::remove_file(world.models_dir().join("no name.toml")).unwrap();
    from("weights", &["--dry-run"]).exits(3).says(&["no name.toml was invalid, and is now fixed or gone"]);
    world.run(&["reconcile", "--dry-run", "--out", "plan.json"]).exits(0).says(&["- b  delete"]);
    from("weights", &[]).exits(0).says(&["1 deleted"]);
    world.is_settled();
}

#[test]
fn refuses_a_plan_from_another_place_and_a_file_that_is_no_plan() {
    let world = running(&["a"]);
    edit(&world, "a", 1024);
    save(&world);
    let there = ["reconcile", "--plan", "plan.json", "--state-dir", "other"];
    world.run(&there).exits(3).says(&["it was made for the state directory", "Nothing was changed."]);
    assert!(!world.path().join("other").exists());
    world.run(&["reconcile", "--plan", "none.json"]).exits(66).says(&["cannot read the saved plan none.json"]);
    let definition = "models.d/a.toml";
    world.run(&["reconcile", "--plan", definition]).exits(65).says(&["models.d/a.toml is not a saved plan"]);
    let before = fs::read(world.path().join(definition)).unwrap();
    world.run(&["reconcile", "--dry-run", "--out", definition]).exits(64).says(&["it is not overwritten"]);
    assert_eq!(fs::read(world.path().join(definition)).unwrap(), before);
    let newer = fs::read_to_string(world.path().join("plan.json"))
        .unwrap()
        .replace("\"format_version\": 1", "\"format_version\": 9");
    fs::write(world.path().join("newer.json"), newer).unwrap();
    world.run(&["reconcile", "--plan", "newer.json"]).exits(65).says(&["has format_version 9"]);
    world.run(&["reconcile", "--plan", "plan.json", "--target", "a"]).exits(64);
    save(&world);
    apply(&world).exits(0);
}

#[test]
fn a_dry_run_makes_a_comment_for_a_pull_request() {
    let world = World::new();
    world.tiny("a");
    world.write_definition("wrong", "model = 7\n");
    let ran = world.run(&["reconcile", "--dry-run", "--format", "markdown"]).exits(65);
    assert!(ran.stdout.starts_with("<!-- herdsman plan -->\n### Plan: 1 to create\n"), "{ran}");
    ran.says(&["- **`models.d/wrong.toml:1`**", "- **`a`** `models.d/a.toml`"]);
    world.run(&["reconcile", "--format", "markdown"]).exits(64).says(&["needs --dry-run"]);
}

#[test]
fn a_saved_plan_without_changes_says_so() {
    let world = running(&["a"]);
    save(&world);
    world
        .run(&["reconcile", "--plan", "plan.json", "--dry-run"])
        .exits(0)
        .says(&["No changes: the saved plan has none"]);
    apply(&world).exits(0).says(&["No changes: the saved plan has none"]).does_not_say("0 models");
}
