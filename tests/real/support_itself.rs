//! The ground the other tests stand on: the tiny model in a real llama-server,
//! ports, and the promise that a test leaves no process behind.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::gguf::{GgufError, TinyGguf};
use crate::support::{PortBlock, World, ask, eventually, free_port, get, llama_server, post, processes};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

/// llama-server as a world's instance would look, started without herdsman.
fn serve(world: &World, weights: &Path, port: u16, options: &[&str]) -> Child {
    std::fs::create_dir_all(world.state_dir()).unwrap();
    let id = format!("state-of-{}", world.path().display());
    std::fs::write(world.state_dir().join("id"), format!("{id}\n")).unwrap();
    let log = std::fs::File::create(world.path().join(format!("{port}.log"))).unwrap();
    let mut command = Command::new("setsid");
    command.arg("--wait").arg(llama_server()).arg("--model").arg(weights).args(["--threads", "1", "--ctx-size", "512"]);
    command.args(["--port", &port.to_string()]).args(options);
    command.env("HERDSMAN_STATE", id).env("HERDSMAN_MODEL", "some-model");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

fn until_ready(port: u16) {
    eventually("llama-server is ready", PATIENCE, || get(port, "/health").is_ok_and(|(status, _)| status == 200));
}

#[test]
fn a_tiny_model_says_its_text_at_any_temperature_and_prompt() {
    let world = World::new();
    let port = free_port();
    let mut server = serve(&world, &world.weights("m", "svc-1, öl "), port, &[]);
    until_ready(port);
    assert_eq!(ask(port), "svc-1, öl svc-1, öl svc-1, öl ");
    let hot = json!({"prompt": "svc-1 x\u{0} ü", "n_predict": 2, "temperature": 5, "seed": 1});
    assert_eq!(post(port, "/completion", &hot).unwrap().1["content"], "svc-1, öl svc-1, öl ");
    drop(world);
    server.wait().unwrap();
}

#[test]
fn a_tiny_model_embeds_different_prompts_differently() {
    let world = World::new();
    let port = free_port();
    let mut server = serve(&world, &world.weights("m", "e "), port, &["--embedding", "--pooling", "mean"]);
    until_ready(port);
    let embed = |text: &str| {
        let (status, body) = post(port, "/v1/embeddings", &json!({"input": text})).unwrap();
        assert_eq!(status, 200, "{body}");
        body["data"][0]["embedding"].clone()
    };
    assert_eq!(embed("one").as_array().unwrap().len(), 16);
    assert_eq!(embed("one"), embed("one"));
    assert_ne!(embed("one"), embed("two"));
    drop(world);
    server.wait().unwrap();
}

#[test]
fn a_chat_template_and_a_context_reach_llama_server() {
    let world = World::new();
    let port = free_port();
    let weights = world.path().join("templated.gguf");
    let model = TinyGguf::new("x ").context(256).chat_template("{{ messages[0].content }}");
    model.write(&weights).unwrap();
    let mut server = serve(&world, &weights, port, &["--parallel", "1"]);
    until_ready(port);
    let (_, props) = get(port, "/props").unwrap();
    assert_eq!(props["chat_template"], "{{ messages[0].content }}");
    assert_eq!(props["default_generation_settings"]["n_ctx"], 256);
    drop(world);
    server.wait().unwrap();
}

#[test]
fn zero_layers_make_a_model_that_is_big_to_llama_server_and_small_on_disk() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    let port = free_port();
    let weights = world.path().join("slow.gguf");
    let size = TinyGguf::new("slow ").zero_layers(2).write(&weights).unwrap();
    let meta = weights.metadata().unwrap();
    assert_eq!(meta.len(), size);
    assert!(size > 200_000_000, "{size}");
    assert!(meta.blocks() * 512 < 10_000_000, "{} blocks", meta.blocks());
    let mut server = serve(&world, &weights, port, &[]);
    until_ready(port);
    assert_eq!(ask(port), "slow slow slow ");
    drop(world);
    server.wait().unwrap();
}

#[test]
fn a_text_that_is_a_token_already_is_refused_and_leaves_no_file() {
    let world = World::new();
    for text in ["", " ", "<s>", "<0x41>"] {
        let path = world.path().join("refused.gguf");
        assert!(matches!(TinyGguf::new(text).write(&path), Err(GgufError::Text(_))), "{text:?}");
        assert!(!path.exists());
    }
}

#[test]
fn a_failed_write_names_the_file_and_leaves_nothing() {
    let world = World::new();
    let taken = world.path().join("models.d");
    let error = TinyGguf::new("x ").write(&taken).unwrap_err();
    assert!(error.to_string().contains("models.d"), "{error}");
    let left: Vec<_> = std::fs::read_dir(world.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("partial")), "{left:?}");
}

#[test]
fn a_panicking_test_leaves_no_server_behind() {
    let (send, receive) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let world = World::new();
        let port = free_port();
        let weights = world.weights("m", "x ");
        let mut server = serve(&world, &weights, port, &[]);
        until_ready(port);
        assert_eq!(world.instances().len(), 1, "{:?}", world.servers());
        assert_eq!(world.instances()[0].1, "some-model");
        let here = world.path().display().to_string();
        // Reaps it, so that only a live one would be found below.
        std::thread::spawn(move || server.wait());
        send.send(here).unwrap();
        panic!("as a failing test does");
    });
    let here = receive.recv().unwrap();
    assert!(test.join().is_err());
    assert_eq!(processes(|process| process.arguments.iter().any(|a| a.contains(&here))), []);
    assert!(!Path::new(&here).exists());
}

#[test]
fn a_panicking_test_leaves_no_browser_and_no_profile_behind() {
    let world = World::new();
    let page = "data:text/html,<textarea aria-label='Type a message...'></textarea>";
    let of_world = {
        let here = world.path().to_path_buf();
        move || {
            processes(|process| process.variable("HERDSMAN_TEST_WORLD").is_some_and(|world| here == Path::new(world)))
        }
    };
    let there = world.path().to_path_buf();
    let mut started = Vec::new();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let (world, of_world) = (world, &of_world);
        let mut client = world.start_client(world.client_command("browser.py", &["left_open", page]));
        client.eventually_prints("open");
        started = of_world();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    for program in ["python3", "chromium"] {
        assert!(started.iter().any(|process| process.arguments[0].contains(program)), "no {program} in {started:?}");
    }
    assert!(of_world().is_empty(), "{:?}", of_world());
    assert!(!there.exists());
}

#[test]
fn servers_of_a_world_whose_state_was_lost_are_stopped_too() {
    let world = World::new();
    let port = free_port();
    let mut server = serve(&world, &world.weights("m", "x "), port, &[]);
    until_ready(port);
    std::fs::remove_dir_all(world.state_dir()).unwrap();
    assert_eq!(world.instances(), []);
    drop(world);
    server.wait().unwrap();
    assert!(get(port, "/health").is_err());
}

#[test]
fn no_two_holders_have_a_port_in_common() {
    let (a, b) = (PortBlock::take(), PortBlock::take());
    let taken = a.range();
    assert!(b.range().all(|port| !taken.contains(&port)));
    let handed_out: Vec<u16> = (0..PortBlock::SIZE + 1).map(|_| free_port()).collect();
    let distinct: std::collections::BTreeSet<_> =
        handed_out.iter().copied().chain(a.range()).chain(b.range()).collect();
    assert_eq!(distinct.len(), handed_out.len() + 2 * usize::from(PortBlock::SIZE));
}

#[test]
fn the_weights_that_the_quickstart_writes_are_those_of_the_tests() {
    let world = World::new();
    let weights = world.path().join("set");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/tiny_gguf.py");
    let write = || Command::new("python3").arg(script).arg("--set").arg(&weights).output().unwrap();
    assert!(write().status.success());
    for (name, text) in [("tiny-chat", "hello "), ("tiny-embed", "embed "), ("tiny-spare", "spare ")] {
        let ours = world.path().join("ours.gguf");
        TinyGguf::new(text).name(name).write(&ours).unwrap();
        let theirs = weights.join(format!("{name}.gguf"));
        assert!(std::fs::read(ours).unwrap() == std::fs::read(theirs).unwrap(), "{name}");
    }
    let again = write().stdout;
    assert_eq!(String::from_utf8_lossy(&again).matches("is there already").count(), 3);
}
