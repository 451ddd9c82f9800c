//! What the pinned llama-server does with an option that is set twice: each
//! option with a value is tested here, or named in [`READ`]. So pinning another
//! llama-server requires a new decision.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Background, World, eventually, free_port, get, llama_server, post};
use herdsman::definition::Catalogue;
use herdsman::llama::catalogue::{Repeated, ValueKind};
use serde_json::{Value, json};

/// Options that show nothing of their value on a tiny model without a GPU. Each
/// assigns what it reads, but for those of [`Repeated::Largest`]: read in the
/// source, as is `fit_target`, of which only the first place shows here (with
/// three RPC devices, `10,20,30` and then `5,6` gave 5, 6, 30).
const READ: [&str; 80] = [
    "api_prefix",
    "cache_reuse",
    "control_vector_layer_range",
    "cors_headers",
    "cors_methods",
    "cors_origins",
    "cpu_strict",
    "cpu_strict_batch",
    "defrag_thold",
    "docker_repo",
    "embd_normalize",
    "fit",
    "fit_ctx",
    "grammar_file",
    "hf_file",
    "image_max_tokens",
    "image_min_tokens",
    "json_schema",
    "json_schema_file",
    "log_colors",
    "log_prompts_dir",
    "lookup_cache_dynamic",
    "lookup_cache_static",
    "main_gpu",
    "mcp_servers_config",
    "media_path",
    "mmproj_url",
    "mtmd_batch_max_tokens",
    "n_cpu_moe",
    "numa",
    "path",
    "poll",
    "poll_batch",
    "predict",
    "prio",
    "prio_batch",
    "reasoning",
    "reasoning_budget",
    "reasoning_budget_message",
    "reasoning_effort",
    "rope_scale",
    "rope_scaling",
    "sampler_seq",
    "sleep_idle_seconds",
    "slot_prompt_similarity",
    "slot_save_path",
    "spec_draft_cpu_strict",
    "spec_draft_cpu_strict_batch",
    "spec_draft_device",
    "spec_draft_hf",
    "spec_draft_n_cpu_moe",
    "spec_draft_p_split",
    "spec_draft_poll",
    "spec_draft_poll_batch",
    "spec_draft_prio",
    "spec_draft_prio_batch",
    "spec_draft_threads",
    "spec_draft_threads_batch",
    "spec_ngram_map_k4v_min_hits",
    "spec_ngram_map_k4v_size_m",
    "spec_ngram_map_k4v_size_n",
    "spec_ngram_map_k_min_hits",
    "spec_ngram_map_k_size_m",
    "spec_ngram_map_k_size_n",
    "spec_ngram_simple_min_hits",
    "spec_ngram_simple_size_m",
    "spec_ngram_simple_size_n",
    "split_mode",
    "sse_ping_interval",
    "ssl_cert_file",
    "ssl_key_file",
    "tensor_split",
    "timeout",
    "ui_config_file",
    "verbosity",
    "yarn_attn_factor",
    "yarn_beta_fast",
    "yarn_beta_slow",
    "yarn_ext_factor",
    "yarn_orig_ctx",
];

/// Seen in the `generation_settings` of an answer: option, two values, the
/// setting, and what it then is.
const SETTINGS: [(&str, &str, &str, &str, &str); 30] = [
    ("seed", "3", "5", "seed", "5"),
    ("top_k", "3", "5", "top_k", "5"),
    ("top_p", "0.25", "0.5", "top_p", "0.5"),
    ("min_p", "0.25", "0.5", "min_p", "0.5"),
    ("top_nsigma", "0.25", "0.5", "top_n_sigma", "0.5"),
    ("temperature", "0.25", "0.5", "temperature", "0.5"),
    ("dynatemp_range", "0.25", "0.5", "dynatemp_range", "0.5"),
    ("dynatemp_exp", "0.25", "0.5", "dynatemp_exponent", "0.5"),
    ("xtc_probability", "0.25", "0.5", "xtc_probability", "0.5"),
    ("xtc_threshold", "0.25", "0.5", "xtc_threshold", "0.5"),
    ("typical", "0.25", "0.5", "typical_p", "0.5"),
    ("repeat_last_n", "5", "3", "repeat_last_n", "3"),
    ("repeat_penalty", "1.25", "1.5", "repeat_penalty", "1.5"),
    ("presence_penalty", "0.25", "0.5", "presence_penalty", "0.5"),
    ("frequency_penalty", "0.25", "0.5", "frequency_penalty", "0.5"),
    ("dry_multiplier", "0.25", "0.5", "dry_multiplier", "0.5"),
    ("dry_base", "1.25", "1.5", "dry_base", "1.5"),
    ("dry_allowed_length", "5", "3", "dry_allowed_length", "3"),
    ("dry_penalty_last_n", "5", "3", "dry_penalty_last_n", "3"),
    ("dry_sequence_breaker", "A", "B", "dry_sequence_breakers", r#"["A","B"]"#),
    ("mirostat", "1", "0", "mirostat", "0"),
    ("mirostat_ent", "0.25", "0.5", "mirostat_tau", "0.5"),
    ("mirostat_lr", "0.25", "0.5", "mirostat_eta", "0.5"),
    ("adaptive_target", "0.25", "0.5", "adaptive_target", "0.5"),
    ("adaptive_decay", "0.25", "0.5", "adaptive_decay", "0.5"),
    ("reverse_prompt", "A", "B", "stop", r#"["A","B"]"#),
    ("logit_bias", "10+1", "11-1", "logit_bias", r#"[{"bias":1.0,"token":10},{"bias":-1.0,"token":11}]"#),
    ("samplers", "top_k", "top_p;temperature", "samplers", r#"["top_p","temperature"]"#),
    ("keep", "1", "2", "n_keep", "2"),
    ("reasoning_format", "none", "deepseek", "reasoning_format", "\"deepseek\""),
];

/// Seen in the log: option, two values, and what is in it; after `!`, what is
/// not.
const LOG: [(&str, &str, &str, &[&str]); 56] = [
    ("api_key", "a", "b", &["api_keys: 2 keys loaded"]),
    ("api_key_file", "key-a", "key-b", &["api_keys: 2 keys loaded"]),
    ("batch_size", "64", "128", &["n_batch               = 128", "!n_batch               = 64"]),
    ("cache_ram", "7", "9", &["size limit: 9 MiB", "!size limit: 7 MiB"]),
    ("cache_type_k", "f32", "bf16", &["K (bf16)", "!K (f32)"]),
    ("cache_type_v", "f32", "bf16", &["V (bf16)", "!V (f32)"]),
    ("chat_template", "first", "second", &["example_format: 'second'", "!example_format: 'first'"]),
    ("chat_template_file", "key-a", "key-b", &["example_format: 'b", "!example_format: 'a"]),
    ("checkpoint_min_step", "5", "3", &["min spacing = 3", "!min spacing = 5"]),
    ("control_vector", "vector.gguf", "no-b.gguf", &["control vector file from no-b.gguf"]),
    ("control_vector", "no-a.gguf", "vector.gguf", &["control vector file from no-a.gguf"]),
    ("control_vector_scaled", "vector.gguf:1", "no-b.gguf:1", &["control vector file from no-b.gguf"]),
    ("control_vector_scaled", "no-a.gguf:1", "vector.gguf:1", &["control vector file from no-a.gguf"]),
    ("cpu_mask", "1", "2", &["CPU mask (2)", "!CPU mask (1)"]),
    ("cpu_mask_batch", "1", "2", &["CPU mask (2)", "!CPU mask (1)"]),
    ("cpu_range", "0-0", "1-1", &["CPU mask (2)", "!CPU mask (1)"]),
    ("cpu_range_batch", "0-0", "1-1", &["CPU mask (2)", "!CPU mask (1)"]),
    ("ctx_checkpoints", "5", "3", &["enabled, max = 3", "!enabled, max = 5"]),
    ("ctx_size", "1024", "512", &["n_ctx                 = 512", "!n_ctx                 = 1024"]),
    ("device", "none", "none", &["listening", "!invalid device"]),
    ("fit_target", "7", "5", &[">= 5 MiB of system memory", "!>= 7 MiB of system memory"]),
    ("flash_attn", "on", "off", &["flash_attn            = disabled", "!flash_attn            = enabled"]),
    ("gpu_layers", "2", "1", &["offloaded 1/2 layers", "!offloaded 2/2 layers"]),
    ("load_mode", "none", "mmap", &["(load_mode = mmap)"]),
    ("lora", "lora.gguf", "no-b.gguf", &["failed to load lora adapter 'no-b.gguf'"]),
    ("lora", "no-a.gguf", "lora.gguf", &["failed to load lora adapter 'no-a.gguf'"]),
    ("lora_scaled", "lora.gguf:1", "no-b.gguf:1", &["failed to load lora adapter 'no-b.gguf'"]),
    ("lora_scaled", "no-a.gguf:1", "lora.gguf:1", &["failed to load lora adapter 'no-a.gguf'"]),
    ("mcp_servers_json", MCP_A, MCP_B, &["MCP server 'b'", "!MCP server 'a'"]),
    ("mmproj", "no-a.gguf", "no-b.gguf", &["model from no-b.gguf", "!no-a.gguf"]),
    (
        "override_kv",
        "general.name=str:x",
        "llama.context_length=int:777",
        &["'general.name'", "'llama.context_length'"],
    ),
    ("override_tensor", Q, K, &OVERRIDDEN),
    ("parallel", "3", "2", &["n_seq_max             = 2", "!n_seq_max             = 3"]),
    ("pooling", "none", "mean", &["but [1] was specified", "!but [0] was specified"]),
    ("rope_freq_base", "5", "7", &["freq_base             = 7.0", "!freq_base             = 5.0"]),
    ("rope_freq_scale", "0.25", "0.5", &["freq_scale            = 0.5", "!freq_scale            = 0.25"]),
    ("rpc", "127.0.0.1:1", "127.0.0.1:2", &["connect to 127.0.0.1:1\n", "connect to 127.0.0.1:2\n"]),
    ("spec_draft_cpu_mask", "1", "2", &["CPU mask (2)", "!CPU mask (1)"]),
    ("spec_draft_cpu_mask_batch", "1", "2", &["CPU mask (2)", "!CPU mask (1)"]),
    ("spec_draft_cpu_range", "0-0", "1-1", &["CPU mask (2)", "!CPU mask (1)"]),
    ("spec_draft_model", "no-a.gguf", "no-b.gguf", &["draft model, 'no-b.gguf'", "!no-a.gguf"]),
    ("spec_draft_n_max", "5", "3", &["n_max=3", "!n_max=5"]),
    ("spec_draft_n_min", "1", "2", &["n_min=2", "!n_min=1"]),
    ("spec_draft_ngl", "2", "1", &["offloaded 1/2 layers"]),
    ("spec_draft_p_min", "0.25", "0.5", &["p_min=0.5", "!p_min=0.25"]),
    ("spec_draft_override_tensor", Q, K, &OVERRIDDEN),
    ("spec_draft_type_k", "f32", "bf16", &["K (bf16)", "!K (f32)"]),
    ("spec_draft_type_v", "f32", "bf16", &["V (bf16)", "!V (f32)"]),
    ("spec_ngram_mod_n_match", "17", "18", &["n_match=18", "!n_match=17"]),
    ("spec_ngram_mod_n_max", "60", "50", &["n_max=50", "!n_max=60"]),
    ("spec_ngram_mod_n_min", "5", "7", &["n_min=7", "!n_min=5"]),
    ("threads", "2", "1", &["n_threads = 1 ", "!n_threads = 2 "]),
    ("threads_batch", "2", "1", &["(n_threads_batch = 1)", "!(n_threads_batch = 2)"]),
    ("threads_http", "2", "1", &["using 1 threads for HTTP", "!using 2 threads for HTTP"]),
    ("tools_runtime", "a", "b", &["unknown tool runtime: b", "!unknown tool runtime: a"]),
    ("ubatch_size", "32", "64", &["n_ubatch              = 64", "!n_ubatch              = 32"]),
];
const MCP_A: &str = r#"{"mcpServers": {"a": {"url": "http://127.0.0.1"}}}"#;
const MCP_B: &str = r#"{"mcpServers": {"b": {"url": "http://127.0.0.1"}}}"#;
const Q: &str = "blk.0.attn_q=CPU";
const K: &str = "blk.0.attn_k=CPU";
const OVERRIDDEN: [&str; 2] = [
    "blk.0.attn_q.weight (0 MiB f16) buffer type overridden",
    "blk.0.attn_k.weight (0 MiB f16) buffer type overridden",
];

/// What some options show nothing without.
fn beside(key: &str) -> &'static [&'static str] {
    match key {
        "cpu_mask" | "cpu_range" => &["--threads", "9"],
        "cpu_mask_batch" | "cpu_range_batch" => &["--threads-batch", "9"],
        "spec_draft_cpu_mask" | "spec_draft_cpu_range" => &["--spec-draft-threads", "9"],
        "spec_draft_cpu_mask_batch" => &["--spec-draft-threads-batch", "9"],
        "spec_draft_model" => &[],
        _ if key.starts_with("spec_draft_") => &["--spec-draft-model", "m.gguf", "--spec-type", "draft-simple"],
        _ if key.starts_with("spec_ngram_mod_") => &["--spec-type", "ngram-mod"],
        "tools_runtime" => &["--tools", "get_datetime"],
        _ => &[],
    }
}

/// A directory with what the values name.
fn world() -> World {
    let world = World::new();
    fs::rename(world.weights("m", "svc "), world.path().join("m.gguf")).unwrap();
    fs::write(world.path().join("key-a"), "a").unwrap();
    fs::write(world.path().join("key-b"), "b").unwrap();
    let text = |key: &str, value: &str| [string(key), 8_u32.to_le_bytes().to_vec(), string(value)].concat();
    let alpha = [string("adapter.lora.alpha"), 6_u32.to_le_bytes().to_vec(), 1_f32.to_le_bytes().to_vec()].concat();
    let lora =
        [text("general.architecture", "llama"), text("general.type", "adapter"), text("adapter.type", "lora"), alpha];
    let tensors: [(&str, &[u64]); 2] =
        [("blk.0.attn_q.weight.lora_a", &[16, 1]), ("blk.0.attn_q.weight.lora_b", &[1, 16])];
    fs::write(world.path().join("lora.gguf"), gguf(&lora, &tensors)).unwrap();
    let vector = gguf(&[text("general.architecture", "controlvector")], &[("direction.1", &[16])]);
    fs::write(world.path().join("vector.gguf"), vector).unwrap();
    world
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A GGUF of these key-values, and of tensors that are all zeros.
fn gguf(keys: &[Vec<u8>], tensors: &[(&str, &[u64])]) -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend((keys.len() as u64).to_le_bytes());
    file.extend(keys.concat());
    for (at, (name, shape)) in tensors.iter().enumerate() {
        file.extend(string(name));
        file.extend(u32::try_from(shape.len()).unwrap().to_le_bytes());
        file.extend(shape.iter().flat_map(|n| n.to_le_bytes()));
        file.extend(0_u32.to_le_bytes());
        file.extend((at as u64 * 64).to_le_bytes());
    }
    file.resize(file.len().next_multiple_of(32) + 64 * tensors.len(), 0);
    file
}

/// Starts a server on the tiny model, waits until it answers or ends, and asks
/// it; then what it wrote is in the log.
fn observe<T>(world: &World, arguments: &[String], ask: impl FnOnce(u16) -> T) -> (Option<T>, String) {
    let port = free_port();
    let log = world.path().join(format!("log-{port}"));
    let mut command = Command::new(llama_server());
    command.args(["-m", "m.gguf", "-c", "256", "-np", "1", "-t", "1", "-lv", "5", "--port", &port.to_string()]);
    let server = command.args(arguments).current_dir(world.path()).env("OMP_WAIT_POLICY", "passive");
    let server = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
    let mut server = Background::from(server.spawn().unwrap());
    // The log is written beside all else: its last lines come late.
    let written = || String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    let mut is_ready = false;
    eventually("it listens or ends", Duration::from_secs(60), || {
        is_ready = written().contains("listening on") && matches!(get(port, "/health"), Ok((200, _)));
        is_ready || server.child().try_wait().unwrap().is_some()
    });
    let answer = is_ready.then(|| ask(port));
    drop(server);
    (answer, written())
}

/// The log of a server that is to say `expected`. One that ends by itself may do
/// so before its last lines are written, and is then started again.
fn whole_log(world: &World, arguments: &[String], expected: &[&str]) -> String {
    const TRIES: usize = 5;
    let mut log = String::new();
    for _ in 0..TRIES {
        let (served, written) = observe(world, arguments, |_| ());
        log = written;
        if served.is_some() || expected.iter().all(|text| text.starts_with('!') || log.contains(text)) {
            break;
        }
    }
    log
}

/// The option `key` with each of `values`.
fn twice(key: &str, values: [&str; 2]) -> Vec<String> {
    let name = Catalogue::embedded().get(key).unwrap_or_else(|| panic!("no option {key}")).argument.to_string();
    values.iter().flat_map(|value| [name.clone(), (*value).to_owned()]).collect()
}

#[test]
fn settings_of_an_answer_show_the_last_value_or_all() {
    let world = world();
    let arguments: Vec<String> = SETTINGS.iter().flat_map(|(key, one, other, ..)| twice(key, [one, other])).collect();
    let ask = |port| post(port, "/completion", &json!({"prompt": "svc", "n_predict": 1})).unwrap().1;
    let answer = observe(&world, &arguments, ask).0.unwrap();
    for (key, .., setting, expected) in SETTINGS {
        let found = &answer["generation_settings"][setting];
        assert_eq!(found, &serde_json::from_str::<Value>(expected).unwrap(), "{key}: {answer}");
    }
}

#[test]
fn the_log_shows_the_last_value_or_all() {
    let world = world();
    for (key, one, other, expected) in LOG {
        let arguments: Vec<String> =
            beside(key).iter().map(ToString::to_string).chain(twice(key, [one, other])).collect();
        let log = whole_log(&world, &arguments, expected);
        for text in expected {
            let is_there = log.contains(text.trim_start_matches('!'));
            assert_eq!(is_there, !text.starts_with('!'), "{key}: {text} in\n{log}");
        }
    }
}

/// Seen in an answer: option, two values, what else is needed, the path to ask.
type Asked = (&'static str, &'static str, &'static str, &'static [&'static str], fn(u16) -> String, &'static str);

const ASKED: [Asked; 7] = [
    (
        "alias",
        "a",
        "b",
        &[],
        |port| get(port, "/v1/models").unwrap().1["data"][0]["aliases"].to_string(),
        r#"["a","b"]"#,
    ),
    ("tags", "a", "b", &[], |port| get(port, "/v1/models").unwrap().1["data"][0]["tags"].to_string(), r#"["a","b"]"#),
    (
        "chat_template_kwargs",
        r#"{"a": 1, "b": 2}"#,
        r#"{"b": 3}"#,
        &["--chat-template", "{{a}}{{b}}"],
        applied,
        "\"13\"",
    ),
    ("grammar", "root ::= \"a\"", "root ::= \"b\"", &[], settings, "root ::= \\\"b\\\""),
    ("spec_type", "ngram-mod", "ngram-simple", &[], settings, "none,ngram-mod,ngram-simple"),
    ("tools", "get_datetime", "read_file", &[], |port| get(port, "/tools").unwrap().1.to_string(), "read_file"),
    (
        "ui_config",
        r#"{"a": 1}"#,
        r#"{"b": 2}"#,
        &[],
        |port| get(port, "/props").unwrap().1["ui_settings"].to_string(),
        r#"{"b":2}"#,
    ),
];

fn settings(port: u16) -> String {
    post(port, "/completion", &json!({"prompt": "svc", "n_predict": 1})).unwrap().1["generation_settings"].to_string()
}

fn applied(port: u16) -> String {
    let messages = json!({"messages": [{"role": "user", "content": "x"}]});
    post(port, "/apply-template", &messages).unwrap().1["prompt"].to_string()
}

#[test]
fn an_answer_shows_the_last_value_or_all() {
    let world = world();
    for (key, one, other, with, ask, expected) in ASKED {
        let arguments: Vec<String> = with.iter().map(ToString::to_string).chain(twice(key, [one, other])).collect();
        let (answer, log) = observe(&world, &arguments, ask);
        let answer = answer.unwrap_or_else(|| panic!("{key}: {log}"));
        assert!(answer.contains(expected) && !(key == "tools" && answer.contains("get_datetime")), "{key}: {answer}");
    }
}

#[test]
fn every_option_with_a_value_is_decided() {
    let catalogue = Catalogue::embedded();
    let seen = SETTINGS
        .iter()
        .map(|probe| probe.0)
        .chain(LOG.iter().map(|probe| probe.0))
        .chain(ASKED.iter().map(|probe| probe.0));
    let seen: BTreeSet<&str> = seen.collect();
    for option in catalogue.options().filter(|option| option.kind != ValueKind::Flag) {
        let key = option.key.as_str();
        let is_read = READ.contains(&key);
        assert!(!(is_read && seen.contains(key)), "{key} is seen and need not be read");
        if option.instead().is_none() || option.repeated != Repeated::Last {
            assert!(is_read || seen.contains(key), "nobody has decided what happens to {key} when it is set twice");
        }
        // What is only read and adds up would be a claim without proof.
        assert!(!is_read || option.repeated != Repeated::Adds, "{key}");
    }
    let adds: BTreeSet<&str> = catalogue
        .options()
        .filter(|option| option.repeated == Repeated::Adds)
        .map(|option| option.key.as_str())
        .collect();
    for (key, .., expected) in SETTINGS {
        assert_eq!(adds.contains(key), expected.starts_with('[') && key != "samplers", "{key}");
    }
    for (key, .., expected) in LOG {
        let shows_all = expected.len() > 1 && !expected[1].starts_with('!');
        let shows_all =
            shows_all || expected[0].contains("(2)") || expected[0].contains("2 keys") || expected[0].contains("no-");
        assert_eq!(adds.contains(key), shows_all && !["mmproj", "spec_draft_model"].contains(&key), "{key}");
    }
}
