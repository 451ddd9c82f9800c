//! What a definition says reaches the process it starts, and what is secret
//! reaches nothing else.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::support::{Process, World, get, post, processes};

/// The one server of `world`.
fn server(world: &World) -> Process {
    let pid = world.instances()[0].0;
    processes(|process| process.pid == pid).remove(0)
}

/// Every file below `dir` that holds `needle`.
fn files_with(dir: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if fs::read(&path).unwrap().windows(needle.len()).any(|w| w == needle.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn options_environment_and_aliases_reach_the_server() {
    let world = World::new();
    world.weights("a", "a ");
    let toml = "model = \"../weights/a.gguf\"\naliases = [\"gpt-x\", \"gpt-y\"]\n\
        [parameters]\nctx_size = 512\nthreads = 1\nn_predict = 2\nmmap = false\n[env]\nMY_SETTING = \"$HOME 'x'\"\n";
    world.write_definition("a", toml);
    world.converges();
    let process = server(&world);
    assert!(process.arguments.contains(&"--no-mmap".to_owned()), "{:?}", process.arguments);
    assert_eq!(process.variable("MY_SETTING"), Some("$HOME 'x'"));
    assert_eq!(process.variable("HERDSMAN_MODEL"), Some("a"));
    assert_eq!(process.session, process.pid, "a session of its own");
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", process.pid)).unwrap(), Path::new("/"));
    let port = world.port("a");
    for name in ["a", "gpt-x", "gpt-y"] {
        let (status, body) = get(port, "/v1/models").unwrap();
        assert_eq!(status, 200);
        assert!(body.to_string().contains(&format!("\"{name}\"")), "{body}");
    }

    world.write_definition("a", &toml.replace("gpt-y", "gpt-z"));
    world.converges().says(&["~ a  update", "aliases", "(no restart)"]);
    assert_eq!(server(&world), process);
    world.write_definition("a", &toml.replace("'x'", "y"));
    world.converges().says(&["-/+ a  restart", "env.MY_SETTING"]);
    assert_eq!(server(&world).variable("MY_SETTING"), Some("$HOME y"));
}

#[test]
fn nothing_of_herdsmans_own_environment_leaks_into_a_server() {
    let world = World::new();
    world.tiny("a");
    let mut command = world.command();
    command.arg("reconcile").envs([("LLAMA_ARG_CTX_SIZE", "256"), ("NOTIFY_SOCKET", "/x"), ("PRIVATE", "1")]);
    crate::support::Ran::of(&mut command).exits(0);
    let process = server(&world);
    for name in ["LLAMA_ARG_CTX_SIZE", "NOTIFY_SOCKET", "PRIVATE", "HERDSMAN_TEST_WORLD"] {
        assert_eq!(process.variable(name), None, "{name}");
    }
    assert!(process.variable("PATH").is_some());
    let links = fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap();
    let open: Vec<String> =
        links.filter_map(|l| Some(fs::read_link(l.ok()?.path()).ok()?.display().to_string())).collect();
    assert!(open.iter().all(|file| !file.ends_with("/lock") && !file.ends_with(".db")), "{open:?}");
}

#[test]
fn a_server_may_listen_on_a_unix_socket() {
    let world = World::new();
    world.weights("a", "a ");
    let socket = world.path().join("a.sock");
    let toml = |ctx: u32| {
        format!("host = \"{}\"\n{}", socket.display(), World::tiny_toml("a").replace("512", &ctx.to_string()))
    };
    let health = || {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    world.write_definition("a", &toml(512));
    world.converges();
    assert!(health().starts_with("HTTP/1.1 200"), "{}", health());
    let first = world.pid("a");
    assert_eq!(world.status("a")["port"], serde_json::Value::Null);
    // llama-server leaves its socket behind, which would block the next start.
    world.write_definition("a", &toml(1024));
    world.converges().says(&["-/+ a  restart"]);
    assert_ne!(world.pid("a"), first);
    assert!(health().starts_with("HTTP/1.1 200"));
    world.is_settled();
    world.run(&["down"]).exits(0);
    assert!(!socket.exists());
}

#[test]
fn a_secret_reaches_the_server_alone() {
    const KEY: &str = "s3cr3t-0f-a-test";
    let world = World::new();
    world.weights("a", "a ");
    fs::write(world.path().join("key"), format!("{KEY}\n")).unwrap();
    world.write_definition("a", &format!("{}[secrets]\napi_key = {{ file = \"../key\" }}\n", World::tiny_toml("a")));
    let ran = world.converges().does_not_say(KEY);
    let port = world.port("a");
    let body = serde_json::json!({"prompt": "hi", "n_predict": 1});
    assert_eq!(post(port, "/completion", &body).unwrap().0, 401, "{ran}");
    let process = server(&world);
    assert_eq!(process.variable("LLAMA_API_KEY"), Some(KEY), "without the newline");
    assert!(!process.arguments.iter().any(|a| a.contains(KEY)));
    fs::remove_file(world.path().join("key")).unwrap();
    fs::write(world.path().join("key"), KEY).unwrap();
    world.is_settled();
    world.run(&["models", "get", "a", "--format", "json"]).exits(0).does_not_say(KEY);
    world.run(&["status", "--format", "json"]).exits(0).does_not_say(KEY);

    fs::write(world.path().join("key"), format!("{KEY}-2")).unwrap();
    world.converges().says(&["-/+ a  restart", "secrets.", "(new value)"]).does_not_say(KEY);
    assert_eq!(server(&world).variable("LLAMA_API_KEY"), Some(&*format!("{KEY}-2")));
    assert_eq!(files_with(&world.state_dir(), KEY), Vec::<String>::new());
}

#[test]
fn a_secret_may_come_from_herdsmans_environment() {
    const KEY: &str = "an0ther-s3cr3t";
    let world = World::new();
    world.weights("a", "a ");
    world.write_definition("a", &format!("{}[secrets]\napi_key = {{ env = \"MY_KEY\" }}\n", World::tiny_toml("a")));
    world.run(&["reconcile"]).exits(65).says(&["MY_KEY", "models.d/a.toml:6"]);
    assert_eq!(world.instances(), []);
    let with = |key: &str| crate::support::Ran::of(world.command().arg("reconcile").env("MY_KEY", key));
    with(KEY).exits(0).does_not_say(KEY);
    let process = server(&world);
    assert_eq!(process.variable("LLAMA_API_KEY"), Some(KEY));
    assert_eq!(process.variable("MY_KEY"), None);
    // A shell without the key knows nothing of a new value, and stops nothing.
    world.run(&["reconcile"]).exits(65).says(&["MY_KEY"]);
    assert_eq!(server(&world), process);
    with("changed").exits(0).says(&["-/+ a  restart"]);
    assert_eq!(files_with(&world.state_dir(), KEY), Vec::<String>::new());
}

#[test]
fn a_definition_may_name_its_own_llama_server() {
    let world = World::new();
    world.weights("a", "a ");
    let link = world.path().join("my-llama-server");
    std::os::unix::fs::symlink(crate::support::llama_server(), &link).unwrap();
    world.write_definition("a", &format!("binary = \"{}\"\n{}", link.display(), World::tiny_toml("a")));
    world.run(&["--llama-server", "/nowhere/llama-server", "reconcile"]).exits(0);
    assert_eq!(world.answer("a"), "a a a ");
}
