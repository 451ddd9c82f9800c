//! Whatever is wrong with the machine around the definitions: ports, weights,
//! llama-server. The exit code tells, the message names the file or process
//! and what to do, and every other model is reconciled.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::support::{Ran, Scene, World, ask, free_port, llama_server};

/// Weights that are wrong, and what herdsman is to say of them.
#[track_caller]
fn weights_are_refused(make: impl FnOnce(&Path), says: &[&str]) {
    let scene = Scene::new();
    let world = &scene.world;
    make(&world.path().join("weights/bad.gguf"));
    world.write_definition("bad", &World::tiny_toml("bad"));
    world.run(&["reconcile"]).exits(65).says(&["weights/bad.gguf", "models.d/bad.toml:1", "! bad  wait"]).says(says);
    scene.others_are_reconciled();
    // Nor does a model that runs stop for them.
    world.write_definition("good", &World::tiny_toml("bad"));
    world.run(&["reconcile"]).exits(65).says(&["! good  wait"]).says(says);
    scene.others_are_reconciled();
}

#[test]
fn weights_that_are_missing_are_named() {
    weights_are_refused(|_| {}, &["does not exist", "help: put the file there"]);
}

#[test]
fn weights_that_lead_nowhere_are_named() {
    weights_are_refused(|path| symlink("nowhere", path).unwrap(), &["does not exist"]);
}

#[test]
fn a_text_called_gguf_is_not_taken_for_weights() {
    weights_are_refused(
        |path| fs::write(path, "version https://git-lfs\n").unwrap(),
        &["is a Git LFS pointer", "git lfs pull"],
    );
    weights_are_refused(|path| fs::write(path, "hello\n").unwrap(), &["is not a GGUF file: it starts with text"]);
    weights_are_refused(|path| fs::write(path, "<!DOCTYPE html>").unwrap(), &["is an HTML page, not a GGUF file"]);
}

#[test]
fn an_empty_file_is_not_taken_for_weights() {
    weights_are_refused(|path| fs::write(path, "").unwrap(), &["is empty; download or copy it again"]);
}

#[test]
fn truncated_weights_are_seen_before_anything_stops() {
    let truncated = |path: &Path| {
        crate::support::gguf::TinyGguf::new("x ").write(path).unwrap();
        fs::File::options().write(true).open(path).unwrap().set_len(20_000).unwrap();
    };
    weights_are_refused(truncated, &["is truncated: it has 20000 of at least 2"]);
}

#[test]
fn refuses_a_directory_or_a_pipe_as_weights() {
    weights_are_refused(|path| fs::create_dir(path).unwrap(), &["cannot read the"]);
    let pipe = |path: &Path| {
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
    };
    weights_are_refused(pipe, &["cannot read the"]);
}

#[test]
fn names_the_process_that_holds_a_declared_port() {
    let scene = Scene::new();
    let world = &scene.world;
    let port = free_port();
    let stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
    world.write_definition("bad", &format!("port = {port}\n{}", World::tiny_toml("good")));
    let me = format!("pid {}", std::process::id());
    world.run(&["reconcile"]).exits(1).says(&["! bad  wait", &format!("port {port} is in use by"), &me]);
    scene.others_are_reconciled();
    assert_eq!(world.instances().len(), 2);
    drop(stranger);
    world.converges();
    assert_eq!(ask(port), "good good good ");
}

#[test]
fn skips_an_assigned_port_that_another_process_holds() {
    let world = World::new();
    let first = *world.ports().range().start();
    let _stranger = TcpListener::bind(("127.0.0.1", first)).unwrap();
    world.tiny("a");
    world.converges();
    assert_eq!(world.port("a"), first + 1);
    world.is_settled();
}

#[test]
fn a_port_once_used_is_kept_and_its_new_holder_is_named() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    let port = world.port("a");
    world.run(&["down"]).exits(0);
    let stranger = TcpListener::bind(("127.0.0.1", port)).unwrap();
    world.run(&["reconcile"]).exits(1).says(&[&format!("port {port} is in use by"), "pid "]);
    assert_eq!(world.instances(), []);
    drop(stranger);
    world.converges();
    assert_eq!(world.port("a"), port);
}

#[test]
fn two_models_may_exchange_their_ports() {
    let world = World::new();
    let (p, q) = (free_port(), free_port());
    for (name, port) in [("a", p), ("b", q)] {
        world.weights(name, &format!("{name} "));
        world.write_definition(name, &format!("port = {port}\n{}", World::tiny_toml(name)));
    }
    world.converges();
    for (name, port) in [("a", q), ("b", p)] {
        world.write_definition(name, &format!("port = {port}\n{}", World::tiny_toml(name)));
    }
    world.converges();
    assert_eq!((ask(p), ask(q)), ("b b b ".to_owned(), "a a a ".to_owned()));
    world.is_settled();
}

#[test]
fn a_port_passes_from_a_removed_model_to_the_one_that_declares_it() {
    let world = World::new();
    for name in ["other", "z"] {
        world.tiny(name);
    }
    world.converges();
    let port = world.port("z");
    world.weights("a", "a ");
    world.write_definition("a", &format!("port = {port}\n{}", World::tiny_toml("a")));
    world.remove_definition("z");
    world.converges();
    assert_eq!(ask(port), "a a a ");
    world.is_settled();
}

#[test]
fn the_port_of_a_running_model_is_not_taken_from_it() {
    let scene = Scene::new();
    let world = &scene.world;
    let port = world.port("good");
    for (name, state) in [("a", "running"), ("b", "stopped")] {
        let toml = format!("port = {port}\nstate = \"{state}\"\n{}", World::tiny_toml("good"));
        world.write_definition(name, &toml);
        world.run(&["reconcile"]).exits_with(if name == "a" { &[1] } else { &[0] });
        assert_eq!(world.port("good"), port);
        scene.others_are_reconciled();
        world.run(&["reconcile"]).says(&["No changes."]);
        world.remove_definition(name);
    }
    world.write_definition("a", &format!("port = {port}\n{}", World::tiny_toml("good")));
    world.run(&["reconcile"]).exits(1).says(&[&format!("port {port} is in use by model good")]);
}

#[test]
fn reports_a_port_range_without_a_free_port() {
    let scene = Scene::new();
    let port = scene.world.port("good");
    let range = format!("{port}-{port}");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_herdsman"));
    let of_the_world = scene.world.command();
    command.current_dir(scene.world.path()).env_clear();
    command.envs(of_the_world.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ran::of(command.args(["--port-range", &range, "reconcile"])).exits(1).says(&["no free port in", "--port-range"]);
    scene.good_is_untouched();
    scene.world.converges();
    scene.others_are_reconciled();
}

/// A llama-server that is none, and what herdsman is to say of it.
#[track_caller]
fn llama_server_is_refused(path: &Path, says: &[&str]) {
    let scene = Scene::new();
    let world = &scene.world;
    let run = |arguments: &[&str]| Ran::of(world.command().env("HERDSMAN_LLAMA_SERVER", path).args(arguments));
    let path = path.display().to_string();
    run(&["reconcile"]).exits(69).says(&["new  wait", &path]).says(says);
    scene.good_is_untouched();
    // Nothing stops for it either, and what needs no llama-server is done.
    world.write_definition("good", &World::tiny_toml("good").replace("512", "1024"));
    world.write_definition("rest", &format!("state = \"stopped\"\n{}", World::tiny_toml("good")));
    run(&["reconcile"]).exits(69).says(&["+ rest  create", "good  wait"]);
    scene.good_is_untouched();
    // One that a definition names concerns that definition alone.
    world.tiny("good");
    world.write_definition("bad", &format!("binary = \"{path}\"\n{}", World::tiny_toml("good")));
    world.run(&["reconcile"]).exits(69).says(&["bad", &path]).says(says);
    assert_eq!(world.answer("new"), "new new new ");
}

#[test]
fn a_missing_llama_server_stops_no_server() {
    llama_server_is_refused(Path::new("/nowhere/llama-server"), &["no llama-server at", "--llama-server"]);
}

#[test]
fn a_llama_server_that_is_not_executable_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("llama-server");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    llama_server_is_refused(&path, &["executable"]);
}

#[test]
fn programs_that_are_not_llama_server_stop_nothing() {
    for program in ["/bin/true", "/bin/cat"] {
        llama_server_is_refused(Path::new(program), &["llama-server"]);
    }
}

#[test]
fn reports_a_llama_server_changed_on_disk_and_upgrades_on_request() {
    let world = World::new();
    world.tiny("a");
    let script = |comment: &str| format!("#!/bin/sh\n# {comment}\nexec '{}' \"$@\"\n", llama_server().display());
    let path = world.path().join("my-llama-server");
    let write = |comment: &str| {
        let new = world.path().join("new");
        fs::write(&new, script(comment)).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&new, &path).unwrap();
    };
    let run = |arguments: &[&str]| Ran::of(world.command().env("HERDSMAN_LLAMA_SERVER", &path).args(arguments));
    write("one");
    run(&["reconcile"]).exits(0);
    let pid = world.pid("a");
    write("two");
    run(&["reconcile"]).exits(0).says(&["No changes.", "the llama-server binary changed on disk", "--upgrade-binary"]);
    assert_eq!(world.pid("a"), pid);
    run(&["reconcile", "--upgrade-binary"]).exits(0).says(&["-/+ a  restart  the llama-server binary changed on disk"]);
    assert_ne!(world.pid("a"), pid);
    run(&["reconcile"]).exits(0).says(&["No changes."]).does_not_say("another one");
}
