//! Values as people write them and llama-server takes them: an imported server
//! gets from its definition what it got by hand. Both are real, and asked
//! what they made of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::{Background, Ran, World, eventually, free_port, get, llama_server, post};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a server makes of its options, as far as it tells: what it answers with,
/// and what it logs of context, tensors and weights.
fn made_of(port: u16, log: &str) -> Vec<String> {
    let answer = post(port, "/completion", &json!({"prompt": "hi", "n_predict": 1})).unwrap().1;
    let message = json!({"messages": [{"role": "user", "content": "x"}]});
    let prompt = post(port, "/apply-template", &message).unwrap().1;
    let telling = [
        "llama_context: n_ctx ",
        "flash_attn  ",
        "offloaded ",
        "overridden to",
        "metadata override",
        "(load_mode = ",
        "n_batch  ",
    ];
    let lines = log.lines().filter(|line| telling.iter().any(|part| line.contains(part)));
    // Without the time, and the value behind another one.
    let mut lines: Vec<String> =
        lines.map(|line| line.split_once(' ').unwrap().1.split(" = 0.0").next().unwrap().to_owned()).collect();
    lines.dedup();
    lines.push(answer["generation_settings"].to_string());
    lines.push(prompt["prompt"].to_string());
    lines
}

/// Starts a server by hand, imports it, has herdsman start it again, and
/// asserts that both make the same of their options. What import said.
fn imported(arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
    let world = World::new();
    world.weights("m", "hi ");
    let port = free_port();
    let log = world.path().join("log");
    let server = Command::new(llama_server())
        .arg("-m")
        .arg(world.path().join("weights/m.gguf"))
        .args(["-t", "1", "-np", "1", "-lv", "5", "--port", &port.to_string()])
        .args(arguments)
        .current_dir(world.path())
        .env_clear()
        .envs(variables.iter().copied())
        .env("OMP_WAIT_POLICY", "passive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut server = Background::from(server);
    let log = || String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    eventually("it answers", PATIENCE, || {
        assert!(server.child().try_wait().unwrap().is_none(), "{}", log());
        log().contains("listening on") && matches!(get(port, "/health"), Ok((200, _)))
    });
    let by_hand = made_of(port, &log());
    let pid = server.child().id().to_string();
    let ran = world.run(&["import", "process", &pid, "--to", "models.d"]).exits(0);
    drop(server);
    world.converges();
    let mut log = String::new();
    eventually("its log is written", PATIENCE, || {
        log = world.run(&["logs", "m", "-n", "all"]).exits(0).stdout;
        log.contains("listening on")
    });
    assert_eq!(made_of(port, &log), by_hand, "{ran}\n{}", definition(&world, "m"));
    ran
}

fn definition(world: &World, name: &str) -> String {
    fs::read_to_string(world.models_dir().join(format!("{name}.toml"))).unwrap()
}

/// Every line but those of a kind that any server has.
fn remarks(ran: &Ran) -> String {
    let lines = ran.stderr.lines().filter(|line| !line.contains("of its environment"));
    lines.map(|line| line.split_once(": m: ").map_or(line, |(_, said)| said).to_owned() + "\n").collect()
}

#[test]
fn a_value_is_what_llama_server_reads_from_it() {
    let ran = imported(
        &[
            "--top-k",
            "64a",
            "--temp",
            "-1",
            "--seed",
            "4294967296",
            "--dry-base",
            "0.5",
            "-c",
            "512.0",
            "-fa",
            "1",
            "-b",
            " 64",
            "--repeat-penalty",
            "0x1.8",
            "--presence-penalty",
            "1e-1x",
            "-ngl",
            "100,100",
            "--mmproj",
            "",
            "--numa",
            "",
            "-ts",
            "3/1",
            "-n",
            "+5.9",
            "--no-mmproj",
        ],
        &[
            ("LLAMA_ARG_FIT", "0"),
            ("LLAMA_ARG_MLOCK", "yes"),
            ("LLAMA_ARG_CONT_BATCHING", "off"),
            ("LLAMA_ARG_NO_MMAP", "0"),
        ],
    );
    insta::assert_snapshot!(remarks(&ran));
}

#[test]
fn a_repeated_option_replaces_or_adds_as_in_llama_server() {
    let ran = imported(
        &[
            "-r",
            "AA",
            "--reverse-prompt",
            "B,B",
            "--dry-sequence-breaker",
            "X",
            "--dry-sequence-breaker",
            ":",
            "-l",
            "10+1",
            "-l",
            "11-1",
            "--samplers",
            "top_k",
            "--samplers",
            "top_p;temperature",
            "-dev",
            "none",
            "-dev",
            "none",
            "--top-k",
            "5",
            "--top-k",
            "7x",
            "-ngl",
            "999",
            "-ngl",
            "100",
            "--dry-base",
            "2",
            "--dry-base",
            "0.5",
            "-ot",
            "blk.0.attn_q=CPU",
            "-ot",
            "blk.0.attn_k=CPU",
            "--override-kv",
            "general.name=str:x",
            "--override-kv",
            "llama.context_length=int:777",
            "--chat-template",
            "{{a}}{{b}}{{c}}",
            "--chat-template-kwargs",
            "{\"b\": 1}",
            "--chat-template-kwargs",
            "{\"b\": 2}",
            "-ncmoe",
            "4",
            "-ncmoe",
            "2",
            "-fitt",
            "10,20,30",
            "-fitt",
            "5,6",
            "--spec-type",
            "ngram-mod",
            "--flash-attn",
            "on",
            "-fa",
            "-1",
            "-c",
            "512",
        ],
        &[
            ("LLAMA_ARG_OVERRIDE_TENSOR", "blk.0.attn_v=CPU"),
            ("LLAMA_ARG_SPEC_TYPE", "ngram-simple"),
            ("LLAMA_ARG_CHAT_TEMPLATE_KWARGS", "{\"a\": 1, \"c\": 4}"),
            ("LLAMA_ARG_TOP_K", "3"),
            ("LLAMA_ARG_NO_MMAP", "0"),
            ("LLAMA_ARG_MMAP", "1"),
        ],
    );
    insta::assert_snapshot!(remarks(&ran));
}

#[test]
fn reports_values_no_definition_can_express_and_exits_1() {
    let world = World::new();
    let one = |arguments: &str, env: &str| {
        let config = format!("models:\n  m:\n    cmd: llama-server -m /m.gguf {arguments}\n    env: [{env}]\n");
        fs::write(world.path().join("config.yaml"), config).unwrap();
        let ran = world.run(&["import", "llama-swap", "config.yaml", "--to", "out", "--dry-run"]);
        let lines = ran.stderr.lines().filter(|line| line.contains(": m: "));
        format!("{arguments}{env} -> exit {}\n{}\n", ran.code, lines.collect::<Vec<_>>().join("\n"))
    };
    let lines = [
        // Each of them another server than the one that is meant.
        "--temp nan",
        "--top-k x",
        "--top-k",
        "--top-k ''",
        "-fa ON",
        "--mirostat 3000000000",
        "-b 0",
        "-ctk Q8_0",
        "-fitt 100 -fitt 5,6",
        "--chat-template-kwargs '{}' --chat-template-kwargs []",
        "--draft-max 16",
        "--frob 1",
        "--port x",
        "--samplers top_k,top_p",
        "stray",
        "--api-key a --api-key b",
    ];
    let variables = ["LLAMA_ARG_FLASH_ATTN=yes", "LLAMA_ARG_MMAP=yes", "LLAMA_ARG_CTX_SIZE="];
    let harmless = ["--log-file x", "--log-disable", "--tags a", "--log-colors on"];
    let mut said: String = lines.iter().map(|line| one(line, "")).collect();
    said.extend(variables.iter().map(|variable| one("", variable)));
    said += "--- harmless\n";
    said.extend(harmless.iter().map(|line| one(line, "")));
    insta::assert_snapshot!(said);
}

/// `[parameters]` of every definition in `dir`, by name.
fn parameters(world: &World, dir: &str) -> BTreeMap<String, toml::Value> {
    let files = fs::read_dir(world.path().join(dir)).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| !path.ends_with("_groups.toml"));
    let of = |path: PathBuf| {
        let definition: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), definition["parameters"].clone())
    };
    files.map(of).collect()
}

#[test]
fn imports_preset_values_as_the_router_reads_them() {
    let world = World::new();
    let preset = "[*]\nctx-size = 4096\nreverse-prompt = z\nr = a\n\
        [m]\nmodel = /a.gguf\nctx-size = 2048\nc = 512\nngl = 5\nn-gpu-layers = 6\nLLAMA_ARG_N_GPU_LAYERS = 7\n\
        top-k = 1\ntop-k = 64a\nmmap = yes\nLLAMA_ARG_NO_KV_OFFLOAD = 1\nno-webui = yes\nmlock = yes\nmetrics = off\n\
        no-cont-batching = 1\ncont-batching = 1\nfa = 1\nflash-attn = 0\n\
        [n]\nmodel = /b.gguf\ntop-k = 3\n[n]\nmodel = /c.gguf\nLLAMA_ARG_CTX_SIZE = 256\nr = only\n[*]\njinja = 0\nc = 1024\n";
    fs::write(world.path().join("preset.ini"), preset).unwrap();
    let ran = world.run(&["import", "preset", "preset.ini", "--to", "out"]).exits(0);
    insta::assert_snapshot!(ran.stderr);

    // What it would start each model with, imported too.
    let port = free_port();
    let mut router = Command::new(llama_server());
    router.args(["--models-preset", "preset.ini", "--port", &port.to_string()]).current_dir(world.path());
    // It lists what is in the cache, too.
    router.env_clear().env("HOME", world.path().join("home"));
    let router = router.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let _router = Background::from(router);
    eventually("the router answers", PATIENCE, || matches!(get(port, "/health"), Ok((200, _))));
    let models = get(port, "/models").unwrap().1;
    let mut config = "models:\n".to_owned();
    for model in models["data"].as_array().unwrap() {
        let words = model["status"]["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
        let words: Vec<&str> = words.collect();
        config += &format!("  {}:\n    cmd: {}\n", model["id"].as_str().unwrap(), words.join(" "));
    }
    fs::write(world.path().join("config.yaml"), &config).unwrap();
    world.run(&["import", "llama-swap", "config.yaml", "--to", "router"]);
    assert_eq!(parameters(&world, "out"), parameters(&world, "router"), "{config}");
}
