//! A llama-server that somebody else started.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Background, World, ask, eventually, free_port, get, llama_server};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_running_server_is_imported_and_taken_over_with_one_restart() {
    let world = World::new();
    world.weights("m", "taken over ");
    let port = free_port();
    // Started as by hand: a relative path, short names, an option by variable.
    let server = Command::new(llama_server())
        .args(["-m", "weights/m.gguf", "-c", "512", "-t", "1", "--no-mmap", "--alias", "hand made,m"])
        .args(["--port", &port.to_string()])
        .current_dir(world.path())
        .env("LLAMA_ARG_N_PARALLEL", "1")
        .env("LLAMA_ARG_CTX_SIZE", "2048")
        .env("OMP_WAIT_POLICY", "passive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Background::from(server);
    let pid = server.child().id().to_string();
    eventually("it answers", PATIENCE, || matches!(get(port, "/health"), Ok((200, _))));

    let import = world.run(&["import", "process", &pid, "--to", "models.d"]).exits(0);
    import
        .says(&["hand-made.toml", &format!("kill {pid}"), "herdsman touches no server it did not start"])
        .says(&["LLAMA_ARG_CTX_SIZE=2048", "the command line states it, too, and counts"]);
    let text = fs::read_to_string(world.models_dir().join("hand-made.toml")).unwrap();
    let model = format!("model = \"{}/weights/m.gguf\"", world.path().display());
    let port_line = format!("port = {port}");
    let wanted = [
        &model,
        &port_line,
        "\"hand made\"",
        "\"m\"",
        "ctx_size = 512",
        "threads = 1",
        "mmap = false",
        "parallel = 1",
        "OMP_WAIT_POLICY = \"passive\"",
    ];
    assert!(wanted.iter().all(|part| text.contains(part)), "{text}");
    assert!(!text.contains("stopped") && text.contains(&format!("from pid {pid}")), "{text}");

    // The plan shows the start, and what it waits for; nothing is touched.
    world
        .run(&["reconcile", "--dry-run"])
        .says(&["create", &format!("port {port} is held by pid {pid} (llama-server)")]);
    world.run(&["reconcile", "--no-wait"]).says(&[&format!("pid {pid}")]);
    assert_eq!(ask(port).split_whitespace().next(), Some("taken"), "the old one runs on");
    assert!(server.child().try_wait().unwrap().is_none());

    drop(server);
    world.converges();
    assert_ne!(world.pid("hand-made").to_string(), pid);
    assert_eq!(world.port("hand-made"), port, "on the same port");
    world.is_settled();
    let ours = world.pid("hand-made").to_string();
    world.run(&["import", "process", &ours, "--to", "out"]).exits(65).says(&["was started by herdsman"]);
}

#[test]
fn a_secret_of_a_running_process_is_told_and_not_written() {
    let world = World::new();
    world.weights("m", "hi ");
    let server = Command::new(llama_server())
        .args(["-m", "weights/m.gguf", "-c", "512", "-t", "1", "--api-key", "sk-verysecret", "--port", "0"])
        .current_dir(world.path())
        .env("HF_TOKEN", "hf_verysecret")
        .env("LLAMA_ARG_PORT", "9001")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Background::from(server);
    let pid = server.child().id().to_string();
    let ran = world.run(&["import", "process", &pid, "--to", "out", "--dry-run"]).exits(0);
    // Nor is a port made up: it was told to take any.
    ran.does_not_say("verysecret").does_not_say("\nport = ").says(&[
        "--port 0: `0` is no port from 1 to 65535: one is allotted",
        "api_key = { file = \"/run/secrets/m-api-key\" }",
        "hf_token = { file = \"/run/secrets/m-hf-token\" }",
        "2 secrets to fill in",
    ]);
}

#[test]
fn what_led_to_no_definition_of_a_process_is_told() {
    let world = World::new();
    // It waits for its input, and looks like a llama-server.
    let shell = Command::new("sh")
        .arg0("llama-server")
        .args(["-c", "read line", "-hf", "not-a-repo"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shell = Background::from(shell);
    let pid = shell.child().id().to_string();
    world.run(&["import", "process", &pid, "--to", "out"]).exits(1).says(&[
        &format!("pid {pid}: no definition: nothing says which weights to load"),
        &format!("- pid {pid}: pid {pid}: -hf not-a-repo: "),
    ]);
}

#[test]
fn another_program_is_no_source() {
    let world = World::new();
    let pid = std::process::id().to_string();
    world.run(&["import", "process", &pid, "--to", "out"]).exits(65).says(&["not llama-server"]);
}
