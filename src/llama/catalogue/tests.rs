//! The catalogue as definitions use it: keys in, command-line words out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;
use serde_json::json;
use toml::de::DeValue;

use super::*;
use crate::model::OptionValue;

fn resolve(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/defs/{path}") }
}

/// The setting of `key = toml` with the pinned llama-server.
fn set(key: &str, toml: &str) -> Result<Setting, ValueProblem> {
    set_in(&Catalogue::embedded(), key, toml)
}

fn set_in(catalogue: &Catalogue, key: &str, toml: &str) -> Result<Setting, ValueProblem> {
    let OptionMatch::Option { option, negated } = catalogue.find(key) else { panic!("no option {key}") };
    option.setting(DeValue::parse(toml).unwrap().get_ref(), negated, &resolve)
}

fn args(key: &str, toml: &str) -> Vec<String> {
    set(key, toml).unwrap().setting.args.iter().map(ToString::to_string).collect()
}

fn texts(shared: &[Arc<str>]) -> Vec<&str> {
    shared.iter().map(|text| &**text).collect()
}

fn problem(key: &str, toml: &str) -> ValueProblem {
    match set(key, toml) {
        Err(problem) => problem,
        Ok(setting) => panic!("{key} = {toml} was taken: {setting:?}"),
    }
}

fn key_of(name: &str) -> String {
    match Catalogue::embedded().find(name) {
        OptionMatch::Option { option, .. } => option.key.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

fn instead(name: &str) -> String {
    match Catalogue::embedded().find(name) {
        OptionMatch::Owned { instead } => instead.to_owned(),
        other => panic!("{name}: {other:?}"),
    }
}

fn suggestion(name: &str) -> Option<String> {
    match Catalogue::embedded().find(name) {
        OptionMatch::Unknown { suggestion } => suggestion,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn every_long_name_of_an_option_is_one_key() {
    for name in ["gpu_layers", "n_gpu_layers", "gpu-layers", "n-gpu-layers"] {
        assert_eq!(key_of(name), "gpu_layers");
    }
    assert_eq!(key_of("temp"), "temperature");
    assert_eq!(key_of("n_predict"), "predict");
    assert_eq!(key_of("hf_repo_draft"), "spec_draft_hf");
    assert_eq!(key_of("no_mmap"), "mmap");
}

#[test]
fn a_flag_is_its_name_or_its_negation() {
    assert_eq!(args("mmap", "true"), ["--mmap"]);
    assert_eq!(args("mmap", "false"), ["--no-mmap"]);
    assert_eq!(args("no_mmap", "true"), ["--no-mmap"]);
    assert_eq!(set("no_mmap", "true").unwrap(), set("mmap", "false").unwrap());
    assert_eq!(set("mmap", "false").unwrap().json, json!(false));
    assert_eq!(args("kv_offload", "false"), ["--no-kv-offload"]);
    assert_eq!(args("no_mmproj", "true"), ["--no-mmproj"]);
}

#[test]
fn a_flag_without_negation_needs_no_argument_when_false() {
    assert_eq!(args("metrics", "true"), ["--metrics"]);
    assert!(args("metrics", "false").is_empty());
    assert_eq!(args("no_host", "true"), ["--no-host"], "--no-host is a positive name");
    assert!(args("no_host", "false").is_empty());
}

#[test]
fn a_flag_accepts_only_true_and_false() {
    for toml in ["1", "'true'", "'on'", "[true]"] {
        assert!(problem("metrics", toml).help.unwrap().contains("`true` or `false`"), "{toml}");
    }
}

#[test]
fn spellings_of_a_number_are_one_setting() {
    assert_eq!(args("ctx_size", "8_192"), ["--ctx-size", "8192"]);
    assert_eq!(set("ctx_size", "8192").unwrap(), set("ctx_size", "'8192'").unwrap());
    assert_eq!(set("temperature", "0.70").unwrap(), set("temp", "7e-1").unwrap());
    assert_eq!(args("temp", "0.70"), ["--temperature", "0.7"]);
    assert_eq!(set("rope_scale", "2").unwrap(), set("rope_scale", "2.0").unwrap());
    assert_eq!(set("ctx_size", "8192").unwrap().json, json!(8192));
}

#[test]
fn a_number_llama_server_would_misread_is_refused() {
    for toml in ["'512x'", "'512.7'", "512.7", "2147483648", "true", "''", "[1, 2]"] {
        problem("ctx_size", toml);
    }
    for toml in ["nan", "inf", "'0.7x'", "1e39", "'nan'"] {
        problem("temperature", toml);
    }
    assert_eq!(problem("ctx_size", "'512x'").message, "`ctx_size` takes a whole number, not `512x`");
}

#[test]
fn a_value_out_of_range_is_refused_with_the_range_and_the_reason() {
    let problem = problem("ctx_size", "-5");
    assert_eq!(problem.message, "`ctx_size` cannot be -5");
    assert_eq!(problem.label.unwrap(), "must be from 0 to 268435456");
    assert!(problem.help.unwrap().contains("aborts"));
    for (key, toml) in [("batch_size", "0"), ("top_p", "1.5"), ("temp", "-1"), ("poll", "101"), ("n_cpu_moe", "-1")] {
        super::tests::problem(key, toml);
    }
    assert_eq!(args("seed", "4294967295")[1], "4294967295");
    assert_eq!(args("parallel", "-1")[1], "-1");
}

#[test]
fn gpu_layers_is_a_number_or_one_of_its_words() {
    assert_eq!(set("gpu_layers", "99").unwrap().json, json!(99));
    assert_eq!(args("n_gpu_layers", "'all'"), ["--gpu-layers", "all"]);
    assert_eq!(set("gpu_layers", "'auto'").unwrap().json, json!("auto"));
    assert_eq!(args("spec_draft_ngl", "'auto'"), ["--spec-draft-ngl", "auto"]);
    assert_eq!(problem("gpu_layers", "'al'").help.unwrap(), "did you mean `all`?");
}

#[test]
fn accepts_only_the_values_of_a_closed_set() {
    assert_eq!(args("cache_type_k", "'q8_0'"), ["--cache-type-k", "q8_0"]);
    assert_eq!(problem("cache_type_k", "'q8-0'").help.unwrap(), "did you mean `q8_0`?");
    assert_eq!(args("split_mode", "'row'")[1], "row");
    assert_eq!(args("numa", "'isolate'")[1], "isolate");
    assert_eq!(args("reasoning_format", "'auto'")[1], "auto", "the default is not a bullet");
    assert_eq!(args("cpu_strict", "1")[1], "1");
    assert_eq!(set("cpu_strict", "'1'").unwrap().json, json!(1));
    problem("cpu_strict", "2");
    problem("cpu_strict", "true");
}

#[test]
fn a_bool_is_on_or_off_if_the_option_accepts_them() {
    assert_eq!(args("flash_attn", "true"), ["--flash-attn", "on"]);
    assert_eq!(args("fit", "false"), ["--fit", "off"]);
    assert!(problem("rope_scaling", "true").help.unwrap().contains("`yarn`"));
    problem("chat_template", "true");
}

#[test]
fn an_array_is_joined_as_the_option_wants_and_equals_the_joined_text() {
    assert_eq!(args("tensor_split", "[3, 1.0]"), ["--tensor-split", "3,1"]);
    assert_eq!(set("tensor_split", "'3, 1'").unwrap(), set("tensor_split", "[3, 1]").unwrap());
    assert_eq!(args("samplers", "['top_k', 'temperature']"), ["--samplers", "top_k;temperature"]);
    assert_eq!(set("samplers", "'a;b'").unwrap(), set("samplers", "['a', 'b']").unwrap());
    assert_eq!(args("spec_type", "['ngram-mod', 'ngram-cache']")[1], "ngram-mod,ngram-cache");
    assert_eq!(args("control_vector_layer_range", "[1, 5]"), ["--control-vector-layer-range", "1", "5"]);
    assert_eq!(set("device", "['none']").unwrap().setting.value, OptionValue::One("none".into()));
    assert_eq!(set("device", "['a', 'b']").unwrap().json, json!(["a", "b"]));
}

#[test]
fn an_array_repeats_an_option_that_adds_up() {
    assert_eq!(args("reverse_prompt", "['a', 'b,c']"), ["--reverse-prompt", "a", "--reverse-prompt", "b,c"]);
    assert_eq!(args("dry_sequence_breaker", "[\"\\n\", ':']")[..2], ["--dry-sequence-breaker", "\n"]);
    assert_eq!(set("logit_bias", "['5+1']").unwrap(), set("logit_bias", "'5+1'").unwrap());
    assert_eq!(set("cpu_range", "['0-1', '4-5']").unwrap().json, json!(["0-1", "4-5"]));
    assert_ne!(
        set("logit_bias", "['5+1', '6-1']").unwrap().setting.value,
        set("logit_bias", "['6-1', '5+1']").unwrap().setting.value
    );
    assert_eq!(args("override_kv", "['a=int:1', 'b=int:2']"), ["--override-kv", "a=int:1,b=int:2"], "joined as before");
}

#[test]
fn an_array_of_the_wrong_length_is_refused() {
    problem("ctx_size", "[]");
    problem("reverse_prompt", "[]");
    assert_eq!(problem("top_k", "[1, 2]").message, "`top_k` takes one value, not 2");
    assert_eq!(
        problem("top_k", "[1, 2]").help.unwrap(),
        "llama-server uses only the last of several `--top-k`: keep one"
    );
    problem("n_cpu_moe", "[1, 2]");
    assert!(problem("control_vector_layer_range", "[1]").help.unwrap().contains("[1, 2]"));
    assert!(problem("control_vector_layer_range", "1").help.unwrap().contains("[1, 2]"));
    problem("samplers", "'top_k,top_p'");
    problem("tensor_split", "'3,x'");
}

#[test]
fn paths_are_resolved_and_files_are_listed() {
    let lora = set("lora", "['a.gguf', '/b,c.gguf']").unwrap();
    assert_eq!(texts(&lora.files), ["/defs/a.gguf", "/b,c.gguf"]);
    assert_eq!(texts(&lora.setting.args), ["--lora", "/defs/a.gguf,\"/b,c.gguf\""]);
    assert!(lora.weights);
    let scaled = set("lora_scaled", "'a.gguf:0.5,b.gguf:2'").unwrap();
    assert_eq!(texts(&scaled.files), ["/defs/a.gguf", "/defs/b.gguf"]);
    assert_eq!(&*scaled.setting.args[1], "/defs/a.gguf:0.5,/defs/b.gguf:2");
    let template = set("chat_template_file", "'t.jinja'").unwrap();
    assert_eq!((texts(&template.files), template.weights), (vec!["/defs/t.jinja"], false));
    assert_eq!(texts(&set("ssl_key_file", "'k.pem'").unwrap().files), ["/defs/k.pem"]);
    for key in ["slot_save_path", "media_path", "lookup_cache_dynamic", "log_prompts_dir", "path"] {
        let setting = set(key, "'out'").unwrap();
        assert_eq!((&*setting.setting.args[1], setting.files.len()), ("/defs/out", 0), "{key}");
    }
    assert_eq!(args("hf_file", "'a.gguf'")[1], "a.gguf", "a file of the repository");
    problem("mmproj", "''");
    problem("lora_scaled", "'a.gguf'");
    problem("lora_scaled", "'a:b:1'");
}

#[test]
fn the_model_is_an_option_for_the_parser_but_not_for_parameters() {
    let catalogue = Catalogue::embedded();
    let option = catalogue.get("model").unwrap();
    let setting = option.setting(&DeValue::String("w.gguf".into()), false, &resolve).unwrap();
    assert_eq!(texts(&setting.setting.args), ["--model", "/defs/w.gguf"]);
    assert!(setting.weights);
    assert!(instead("model").contains("top level"));
}

#[test]
fn json_is_text_or_a_table() {
    let table = set("chat_template_kwargs", "{ enable_thinking = false }").unwrap();
    assert_eq!(table, set("chat_template_kwargs", "'{\"enable_thinking\":false}'").unwrap());
    assert_eq!(&*table.setting.args[1], "{\"enable_thinking\":false}");
    assert_eq!(problem("json_schema", "'{'").label.unwrap(), "not JSON");
}

#[test]
fn refuses_values_no_command_line_can_hold() {
    problem("chat_template", "\"a\\u0000b\"");
    problem("chat_template", "1979-05-27");
    problem("chat_template", "{ a = 1 }");
}

#[test]
fn refuses_owned_options_with_the_key_to_use() {
    assert!(instead("port").contains("`port = 8101`"));
    assert!(instead("alias").contains("`aliases"));
    assert!(instead("api_key").contains("[secrets]"));
    assert!(instead("hf-token").contains("[secrets]"));
    for name in ["host", "reuse_port", "tags", "models_dir", "no_models_autoload", "log_file", "log_disable", "help"] {
        instead(name);
    }
    for key in owned::keys() {
        let known = Catalogue::embedded().get(key).is_some();
        assert!(known || key == "license", "{key} is not an option of the pinned version");
    }
}

#[test]
fn refuses_removed_options_with_llama_servers_advice() {
    let advice = "llama-server no longer has it: use `spec_draft_n_max` or `spec_ngram_mod_n_max`";
    assert_eq!(instead("draft_max"), advice);
    assert!(instead("gpt_oss_20b_default").contains("hf_repo"));
}

#[test]
fn an_unknown_key_gets_the_key_probably_meant() {
    for name in ["ctx_sze", "ctx_sizes", "n_ctx", "context_length", "c", "--ctx-size", "Ctx_Size"] {
        assert_eq!(suggestion(name).as_deref(), Some("ctx_size"), "{name}");
    }
    assert_eq!(suggestion("ngl").as_deref(), Some("gpu_layers"));
    assert_eq!(suggestion("no_metrics").as_deref(), Some("metrics"));
    assert_eq!(suggestion("temperatur").as_deref(), Some("temperature"));
    for name in ["", "-", "xyzzy", "é"] {
        assert_eq!(suggestion(name), None, "{name}");
    }
}

#[test]
fn refuses_option_and_herdsman_variables_in_env() {
    let catalogue = Catalogue::embedded();
    let refused = |name| catalogue.owned_env(name).unwrap();
    assert!(refused("LLAMA_ARG_CTX_SIZE").contains("`ctx_size` under `[parameters]`"));
    assert!(refused("LLAMA_ARG_PORT").contains("top level"));
    assert!(refused("LLAMA_ARG_CTX_SIZ").contains("`LLAMA_ARG_CTX_SIZE`"));
    assert!(refused("HF_TOKEN").contains("[secrets]"));
    for name in ["LLAMA_API_KEY", "LLAMA_SERVER_ROUTER_PORT", "HERDSMAN_STATE", "NOTIFY_SOCKET", "WATCHDOG_USEC"] {
        refused(name);
    }
    for name in ["CUDA_VISIBLE_DEVICES", "GGML_NO_BACKTRACE", "LLAMA_CACHE", "PATH"] {
        assert_eq!(catalogue.owned_env(name), None, "{name}");
    }
}

#[test]
fn another_order_of_names_keeps_keys_and_settings() {
    let renamed = EMBEDDED_HELP
        .replace("-ngl,  --gpu-layers, --n-gpu-layers N ", "-ngl,  --n-gpu-layers, --gpu-layers N ")
        .replace("--temp, --temperature N   ", "--temp N                  ")
        .replace("-c,    --ctx-size N", "-c,    --ctx-size M");
    let catalogue = Catalogue::from_help(&renamed).unwrap();
    assert_eq!(set_in(&catalogue, "n_gpu_layers", "99").unwrap(), set("gpu_layers", "99").unwrap());
    let temperature = set_in(&catalogue, "temp", "0.5").unwrap().setting;
    assert_eq!(texts(&temperature.args), ["--temp", "0.5"], "only a name this binary knows is written");
    assert_eq!(catalogue.get("temperature").unwrap().names, ["--temp"]);
    assert_eq!(catalogue.get("ctx_size").unwrap().kind, ValueKind::Text, "another metavar may be another type");
}

#[test]
fn a_new_option_of_a_newer_binary_is_known() {
    let newer = format!(
        "{EMBEDDED_HELP}--lazy-mode [on|off]                    be lazy\n--new-thing N                           new\n"
    );
    let catalogue = Catalogue::from_help(&newer).unwrap();
    assert_eq!(texts(&set_in(&catalogue, "lazy_mode", "true").unwrap().setting.args), ["--lazy-mode", "on"]);
    let new_thing = set_in(&catalogue, "new_thing", "5").unwrap();
    assert_eq!(texts(&new_thing.setting.args), ["--new-thing", "5"]);
    assert_eq!(new_thing.json, json!(5));
    assert_eq!(catalogue.options().count(), 250);
}

#[test]
fn refuses_text_that_is_not_llama_server_help() {
    assert_eq!(Catalogue::from_help("usage: ls\n--all  all\n").unwrap_err(), HelpError::TooFewOptions { found: 1 });
    let lacking = EMBEDDED_HELP.replace("--ctx-size", "--kontext");
    assert_eq!(Catalogue::from_help(&lacking).unwrap_err(), HelpError::Lacks { name: "ctx-size" });
}

#[test]
fn from_help_of_the_pinned_version_is_the_embedded_catalogue() {
    let (own, embedded) = (Catalogue::from_help(EMBEDDED_HELP).unwrap(), Catalogue::embedded());
    assert!(own.options().eq(embedded.options()));
    assert_eq!(embedded.options().filter(|o| o.kind == ValueKind::Flag).count(), 64);
    assert_eq!(embedded.options().filter(|o| o.negation.is_some()).count(), 28);
    assert_eq!(embedded.options().filter(|o| !o.choices.is_empty()).count(), 22);
}

proptest! {
    #[test]
    fn no_help_makes_it_panic(text in "(-{0,6}|[a-zé,<>{}|. \n]|\\(default: |exact number, '|allowed values: | {38,42}|\\PC){0,80}") {
        let _ = Catalogue::from_help(&text);
        let catalogue = Catalogue::build(&text, None);
        for option in catalogue.options() {
            let _ = option.setting(&DeValue::String("a,b".into()), true, &resolve);
        }
    }

    #[test]
    fn no_key_and_no_variable_makes_it_panic(name in "\\PC{0,24}") {
        let _ = Catalogue::embedded().find(&name);
        let _ = Catalogue::embedded().owned_env(&name);
    }

    #[test]
    fn whatever_is_taken_becomes_words_without_nul_and_the_same_again(
        pick in 0_usize..248,
        text in "(\\PC|\\x00|[0-9,;:.]){0,12}",
    ) {
        let catalogue = Catalogue::embedded();
        let option = catalogue.options().nth(pick).unwrap();
        let value = DeValue::String(text.into());
        if let Ok(setting) = option.setting(&value, false, &resolve) {
            prop_assert!(setting.setting.args.iter().all(|word| !word.contains('\0')));
            prop_assert_eq!(Ok(setting), option.setting(&value, false, &resolve));
        }
    }
}
