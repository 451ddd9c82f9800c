//! Whatever is wrong with a definition or the directory of them: the exit code
//! says so, the message names file and fix, and every other model is reconciled.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{Scene, World};

const WEIGHTS: &str = "model = \"../weights/good.gguf\"\n";

/// The text of a definition that is wrong, and what herdsman is to say of it.
#[track_caller]
fn is_refused(toml: &str, says: &[&str]) {
    let scene = Scene::new();
    scene.world.write_definition("bad", toml);
    scene.world.run(&["reconcile"]).exits(65).says(&["models.d/bad.toml", "help: "]).says(says);
    scene.others_are_reconciled();
}

#[test]
fn a_syntax_error_concerns_its_file_alone() {
    is_refused("model = \"../weights/good.gguf\nport =\n", &["bad.toml:1:", "bad  wait"]);
}

#[test]
fn validate_suggests_the_key_meant() {
    is_refused(&format!("{WEIGHTS}stat = \"stopped\"\n"), &["bad.toml:2:1", "did you mean `state`?"]);
}

#[test]
fn reports_a_wrong_type() {
    is_refused(&format!("{WEIGHTS}port = \"eighty\"\n"), &["bad.toml:2:8", "port"]);
}

#[test]
fn reports_a_value_out_of_range() {
    is_refused(&format!("{WEIGHTS}port = 99999\n"), &["bad.toml:2:8", "65535"]);
}

#[test]
fn reports_an_option_unknown_to_llama_server() {
    is_refused(&format!("{WEIGHTS}[parameters]\nctx_sise = 512\n"), &["bad.toml:3:1", "did you mean `ctx_size`?"]);
}

#[test]
fn reports_a_refused_value_before_stopping_anything() {
    let scene = Scene::new();
    let world = &scene.world;
    world.write_definition("good", &format!("{}n_gpu_layers = \"many\"\n", World::tiny_toml("good")));
    world.run(&["reconcile"]).exits(65).says(&["good  wait", "many", "models.d/good.toml:5"]);
    scene.others_are_reconciled();
}

#[test]
fn names_that_are_none_are_refused() {
    let scene = Scene::new();
    let names = ["a/b", "..", "../../etc/x", "a'b", "a\\\"b", "a\\nb", "", "-rf", "a b"];
    for (number, name) in names.iter().enumerate() {
        scene.world.write_definition(&format!("n{number}"), &format!("name = \"{name}\"\n{WEIGHTS}"));
    }
    for file in ["q'uote.toml", "new\nline.toml", "sp ace.toml"] {
        fs::write(scene.world.models_dir().join(file), WEIGHTS).unwrap();
    }
    let ran = scene.world.run(&["reconcile"]).exits(65);
    for number in 0..names.len() {
        assert!(ran.stderr.contains(&format!("models.d/n{number}.toml:1:8")), "{number}: {ran}");
    }
    ran.says(&["q'uote.toml", "sp ace.toml", "a model name"]).does_not_say("new\nline");
    scene.others_are_reconciled();
    assert_eq!(scene.world.instances().len(), 2);
}

#[test]
fn two_files_with_one_name_leave_its_model_alone() {
    let scene = Scene::new();
    scene.world.write_definition("twin", &format!("name = \"good\"\n{WEIGHTS}"));
    scene.world.run(&["reconcile"]).exits(65).says(&["models.d/twin.toml", "models.d/good.toml"]);
    scene.others_are_reconciled();
    assert_eq!(scene.world.instances().len(), 2);
}

#[test]
fn two_definitions_with_one_port_are_both_refused() {
    let scene = Scene::new();
    let port = crate::support::free_port();
    for name in ["b1", "b2"] {
        scene.world.write_definition(name, &format!("port = {port}\n{WEIGHTS}"));
    }
    let port = port.to_string();
    scene.world.run(&["reconcile"]).exits(65).says(&["models.d/b1.toml", "models.d/b2.toml", &port]);
    scene.others_are_reconciled();
}

#[test]
fn bad_defaults_concern_everything_and_stop_nothing() {
    let scene = Scene::new();
    scene.world.write_definition("_defaults", "[parameters]\nctx_sise = 1\n");
    scene.world.run(&["reconcile"]).exits(65).says(&["models.d/_defaults.toml:2:1", "did you mean `ctx_size`?"]);
    scene.good_is_untouched();
    assert_eq!(scene.world.instances().len(), 1);
    scene.world.remove_definition("_defaults");
    scene.world.converges();
    scene.others_are_reconciled();
}

#[test]
fn broken_groups_concern_their_members_and_stop_nothing() {
    let scene = Scene::new();
    let world = &scene.world;
    world.write_definition("_groups", "[gpu]\nmax_running = 1\n");
    world.write_definition("m", &format!("group = \"gpu\"\n{WEIGHTS}"));
    world.converges();
    let pid = world.pid("m");
    world.write_definition("_groups", "[gpu]\nmax_running = 0\n");
    world.run(&["reconcile"]).exits(65).says(&["models.d/_groups.toml:2:15", "m  wait", "left unchanged"]);
    world.remove_definition("_groups");
    world.run(&["reconcile"]).exits(65).says(&["models.d/m.toml:1:9", "there is no group `gpu`", "m  wait"]);
    scene.others_are_reconciled();
    assert_eq!(world.pid("m"), pid);
}

#[test]
fn joining_a_group_is_recorded_and_restarts_nothing() {
    let scene = Scene::new();
    let world = &scene.world;
    world.write_definition("m", WEIGHTS);
    world.converges();
    let pid = world.pid("m");
    world.write_definition("_groups", "[gpu]\nmax_running = 2\n");
    let shared = "group = \"gpu\"\npriority = 3\nevict = \"never\"\n";
    world.write_definition("m", &format!("{shared}{WEIGHTS}[serve]\nmax_in_flight = 2\n"));
    world.run(&["reconcile"]).exits(0).says(&["~ m", "group set to gpu (no restart)   models.d/m.toml:1", "1 updated"]);
    world.run(&["reconcile"]).exits(0).says(&["No changes."]);
    assert_eq!(world.pid("m"), pid);
}

#[test]
fn a_definition_that_becomes_unreadable_stops_nothing_until_it_is_really_gone() {
    let scene = Scene::new();
    let world = &scene.world;
    world.tiny("x");
    world.converges();
    let (pid, path) = (world.pid("x"), world.models_dir().join("x.toml"));
    // Root reads everything: what nobody can read is a directory, or nowhere.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    world.run(&["reconcile"]).exits(65).says(&["models.d/x.toml", "x  wait", "left unchanged"]);
    assert_eq!(world.pid("x"), pid);
    fs::remove_dir(&path).unwrap();
    symlink("nowhere", &path).unwrap();
    world.run(&["reconcile"]).exits(65).says(&["models.d/x.toml", "x  wait"]);
    assert_eq!(world.pid("x"), pid);
    // It crashes meanwhile: what was last recorded is started again.
    world.kill("x");
    crate::support::eventually("it is back", std::time::Duration::from_secs(20), || {
        world.run(&["reconcile"]).exits_with(&[1, 65]).code == 65 && world.instances().len() == 3
    });
    assert_eq!(world.answer("x"), "x x x ");
    fs::remove_file(&path).unwrap();
    world.run(&["reconcile"]).exits(0).says(&["- x  delete"]);
    scene.others_are_reconciled();
}

#[test]
fn a_file_of_unknown_meaning_blocks_every_deletion() {
    let scene = Scene::new();
    let world = &scene.world;
    world.tiny("x");
    world.converges();
    let pid = world.pid("x");
    world.remove_definition("x");
    // Perhaps x.toml under another name.
    world.write_definition("renamed", "name = \n");
    world.run(&["reconcile"]).exits(65).says(&["! x        wait", "not deleted: models.d/renamed.toml"]);
    assert_eq!(world.pid("x"), pid);
    world.write_definition("renamed", &format!("name = \"x\"\n{}", World::tiny_toml("x")));
    world.converges();
    assert_eq!(world.pid("x"), pid);
}

#[test]
fn a_directory_that_cannot_be_read_is_never_no_models() {
    let scene = Scene::new();
    let world = &scene.world;
    let (here, away) = (world.models_dir(), world.path().join("away"));
    fs::rename(&here, &away).unwrap();
    world.run(&["reconcile"]).exits(66).says(&["models.d does not exist", "--models-dir"]);
    world.run(&["reconcile", "--dry-run"]).exits(66);
    world.run(&["status"]).says(&["models.d does not exist", "good"]);
    fs::write(&here, "").unwrap();
    world.run(&["reconcile"]).exits(66).says(&["models.d is not a directory"]);
    fs::remove_file(&here).unwrap();
    symlink("nowhere", &here).unwrap();
    world.run(&["reconcile"]).exits(66);
    scene.good_is_untouched();
    // A link to it is as good as the directory itself.
    fs::remove_file(&here).unwrap();
    symlink("away", &here).unwrap();
    world.converges();
    scene.others_are_reconciled();
}

#[test]
fn an_empty_directory_is_taken_for_an_accident() {
    let scene = Scene::new();
    let world = &scene.world;
    world.converges();
    for name in ["good", "new"] {
        world.remove_definition(name);
    }
    world.run(&["reconcile"]).exits(3).says(&["refused to delete", "2 of 2", "--max-deletes 2"]);
    scene.others_are_reconciled();
    world.run(&["reconcile", "--max-deletes", "2"]).exits(0);
    assert_eq!(world.instances(), []);
    world.run(&["reconcile"]).exits(0).says(&["No changes. 0 models match"]);
}

#[test]
fn ten_thousand_definitions_are_a_number_like_any_other() {
    let scene = Scene::new();
    scene.world.converges();
    for number in 0..10_000 {
        let path = scene.world.models_dir().join(format!("many-{number}.toml"));
        fs::write(path, format!("state = \"stopped\"\n{WEIGHTS}")).unwrap();
    }
    let says = ["Plan: 10000 to create.", "Done: 10000 created. 10002 models match their definitions."];
    scene.world.run(&["reconcile"]).exits(0).says(&says);
    scene.others_are_reconciled();
}
