//! What a valid definition means.

use std::time::Duration;

use super::super::keys::{Key, ReadyKey, SecretKey, UpdateKey};
use super::*;
use crate::model::{DesiredState, FileIdentity, ModelType, OnFailure, OptionValue, Origin, SecretSource};

#[test]
fn a_one_line_definition_has_the_documented_defaults() {
    let dir = Dir::one("");
    let definition = dir.definition();
    assert_eq!(definition.name.as_str(), "a");
    assert_eq!((&*definition.path, &*definition.file), (&*dir.file("a.toml"), "models.d/a.toml"));
    assert_eq!((definition.model_type, definition.state), (ModelType::Llama, DesiredState::Running));
    assert_eq!((&*definition.spec.host, definition.spec.port), ("127.0.0.1", None));
    assert_eq!(definition.ready.timeout, Duration::from_secs(600));
    assert_eq!((definition.ready.unhealthy_after, definition.ready.require_gpu), (None, false));
    assert_eq!(definition.update.drain, Duration::from_secs(30));
    assert_eq!(definition.update.on_failure, OnFailure::Rollback);
    assert_eq!(definition.spec.options.keys().map(|key| &**key).collect::<Vec<_>>(), ["model"]);
    assert_eq!(definition.spec.options["model"].args, ["--model".into(), dir.file("a.gguf").into()]);
    assert_eq!(definition.parameters["model"], dir.file("a.gguf"));
}

#[test]
fn every_key_arrives_with_its_line() {
    let text = r#"type = "mistral"
state = "stopped"
name = "other"
hf_repo = "org/repo:Q4_K_M"
host = "::1"
port = 0x1fa5
aliases = ["x", "y z"]
binary = "../bin/llama-server"
description = "chat"
labels = { team = "search" }
[parameters]
ctx-size = 8_192
no_mmap = true
[env]
CUDA_VISIBLE_DEVICES = "0"
[secrets]
api_key = { env = "HERDSMAN_TEST_NO_SUCH_VARIABLE" }
[ready]
timeout = "5m"
unhealthy_after = "30s"
require_gpu = true
[update]
drain = "0s"
on_failure = "stop"
"#;
    let dir = Dir::new(&[("a.toml", text)]);
    let definition = dir.definition();
    assert_eq!(definition.name.as_str(), "other");
    assert_eq!((definition.model_type, definition.state), (ModelType::Mistral, DesiredState::Stopped));
    assert_eq!((&*definition.spec.host, definition.spec.port), ("::1", Some(8101)));
    assert_eq!(definition.aliases, ["x", "y z"]);
    let binary = dir.0.path().join("bin/llama-server");
    assert_eq!(definition.spec.binary.as_deref(), binary.to_str());
    assert_eq!(definition.description.as_deref(), Some("chat"));
    assert_eq!(definition.labels["team"], "search");
    assert_eq!(definition.spec.options["ctx_size"].value, OptionValue::One("8192".into()));
    assert_eq!(definition.spec.options["mmap"].value, OptionValue::Flag(false));
    assert_eq!(definition.parameters["ctx_size"], 8192);
    assert_eq!(definition.spec.env["CUDA_VISIBLE_DEVICES"], "0");
    let secret = &definition.spec.secrets["LLAMA_API_KEY"];
    assert_eq!(secret.source, SecretSource::Env("HERDSMAN_TEST_NO_SUCH_VARIABLE".into()));
    assert_eq!(definition.ready.unhealthy_after, Some(Duration::from_secs(30)));
    assert!(definition.ready.require_gpu);
    assert_eq!((definition.update.drain, definition.update.on_failure), (Duration::ZERO, OnFailure::Stop));
    let lines: Vec<_> = definition.origins.iter().map(|(field, origin)| (&**field, origin.line)).collect();
    let expected = [
        ("aliases", 7),
        ("binary", 8),
        ("ctx_size", 12),
        ("description", 9),
        ("env.CUDA_VISIBLE_DEVICES", 15),
        ("hf_repo", 4),
        ("host", 5),
        ("labels", 10),
        ("mmap", 13),
        ("model", 4),
        ("name", 3),
        ("port", 6),
        ("secrets.LLAMA_API_KEY", 17),
        ("state", 2),
        ("type", 1),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn the_fields_of_a_change_have_an_origin() {
    let dir = Dir::one("");
    dir.write("a.gguf", "1");
    let before = dir.definition();
    dir.write("a.gguf", "22");
    dir.write("k", "secret");
    dir.write(
        "a.toml",
        "model = \"a.gguf\"\nport = 1\nhost = \"::1\"\nbinary = \"x\"\nenv.A = \"b\"\n\
         secrets.api_key = { file = \"k\" }\nparameters.ctx_size = 1\n",
    );
    let after = dir.definition();
    let changes = after.spec.changes_from(&before.spec);
    assert_eq!(changes.len(), 7, "{changes:?}");
    for change in changes {
        assert!(after.origins.contains_key(change.field.as_str()), "{}", change.field);
    }
}

#[test]
fn spelling_and_order_do_not_change_the_spec() {
    let one = Dir::one("[parameters]\nctx_size = 8192\nn_gpu_layers = 9\nno_mmap = true\ntemp = 0.7\n").definition();
    let other =
        Dir::one("[parameters]\ntemperature = 7e-1\nmmap = false\ngpu-layers = 9\nctx-size = 0x2000\n").definition();
    let options = |definition: &Definition| {
        let options = definition.spec.options.clone().into_iter().filter(|(key, _)| &**key != "model");
        options.map(|(key, option)| (key, option.value)).collect::<Vec<_>>()
    };
    assert_eq!(options(&one), options(&other));
    assert_eq!(options(&one).len(), 4);
}

#[test]
fn the_identity_of_every_shard_is_part_of_the_spec() {
    let dir = Dir::new(&[("a.toml", "model = \"w-00001-of-00002.gguf\"\n[parameters]\nmmproj = \"p.gguf\"\n")]);
    dir.write("w-00001-of-00002.gguf", "1");
    dir.write("w-00002-of-00002.gguf", "22");
    let definition = dir.definition();
    let sizes: Vec<_> =
        definition.spec.files.iter().map(|(path, FileIdentity { size, .. })| (path.to_string(), *size)).collect();
    assert_eq!(sizes, [(dir.file("w-00001-of-00002.gguf"), 1), (dir.file("w-00002-of-00002.gguf"), 2)]);
    assert_eq!(definition.spec.gguf_files().count(), 2);
    let missing = format!("file {}", dir.file("p.gguf"));
    assert_eq!(definition.origin(&missing), Origin::new("models.d/a.toml", 3), "named, though not there");
}

#[test]
fn a_swapped_link_that_leads_to_the_same_content_changes_nothing() {
    let dir = Dir::one("");
    dir.write("real.gguf", "w");
    for (link, target) in [("one", "real.gguf"), ("two", "real.gguf"), ("a.gguf", "one")] {
        std::os::unix::fs::symlink(target, dir.path().join(link)).unwrap();
    }
    let before = dir.definition().spec.clone();
    std::fs::remove_file(dir.path().join("a.gguf")).unwrap();
    std::os::unix::fs::symlink("two", dir.path().join("a.gguf")).unwrap();
    assert_eq!(dir.definition().spec, before);
}

#[test]
fn a_changed_secret_changes_the_hash_and_its_value_is_kept_nowhere() {
    let dir = Dir::one("secrets.api_key = { file = \"key\" }\n");
    let mut seen = Vec::new();
    for value in ["xyzzy-1", "xyzzy-2\n", "xyzzy-2"] {
        dir.write("key", value);
        let definition = dir.definition();
        assert!(!format!("{definition:?}").contains("xyzzy"));
        seen.push(definition.spec.hash());
    }
    assert_ne!(seen[0], seen[1]);
    assert_eq!(seen[1], seen[2], "one trailing newline is not part of a secret");
}

#[test]
fn malformed_weights_are_refused() {
    for (line, part) in [
        ("model = \" \"", "is empty"),
        ("model = \"a\\u0000b\"", "NUL"),
        ("hf_repo = \"repo\"", "not a Hugging Face repository"),
        ("hf_repo = \"a/b/c\"", "not a Hugging Face repository"),
        ("hf_repo = \"a/b:\"", "not a Hugging Face repository"),
        ("model_url = \"ftp://x/a.gguf\"", "not a download URL"),
    ] {
        let shown = problems(line);
        assert!(shown.contains(part), "{line}: {shown}");
    }
    assert_eq!(problems("model_url = \"https://host/a.gguf\""), "");
}

#[test]
fn refuses_other_invalid_values() {
    for (line, part) in [
        ("aliases = [\"a,b\"]", "not a valid alias"),
        ("aliases = [\"\"]", "not a valid alias"),
        ("aliases = [1]", "found an integer"),
        ("binary = \"\"", "is empty"),
        ("env = { \"A=B\" = \"1\" }", "not a valid variable name"),
        ("env = { A = \"\\u0000\" }", "NUL"),
        ("secrets = { api_key = { file = \"a\", env = \"B\" } }", "exactly one"),
        ("secrets = { api_key = { path = \"a\" } }", "unknown key `path`"),
        ("secrets = { api_key = { file = \"\" } }", "`api_key.file` cannot be"),
        ("secrets = { password = { file = \"a\" } }", "unknown key"),
        ("update = { timeout = \"1s\" }", "put it under `[ready]`"),
        ("ready = { require_gpu = \"yes\" }", "expected a boolean"),
        ("ready = { timeout = \"off\" }", "not a duration"),
        ("port = 0", "cannot be 0"),
        ("port = -1", "cannot be -1"),
        ("port = 8101.0", "found a float"),
        ("labels = { a = 2026-01-01 }", "found a date"),
    ] {
        let shown = problems_of(line);
        assert!(shown.contains(part), "{line}: {shown}");
        assert!(shown.contains("help:"), "{line}: {shown}");
    }
}

#[test]
fn knows_every_key_it_suggests() {
    let places = [("", Key::NAMES), ("ready.", ReadyKey::NAMES), ("update.", UpdateKey::NAMES)];
    for (place, keys) in places.into_iter().chain([("secrets.", SecretKey::NAMES)]) {
        for key in keys {
            let shown = problems(&format!("{place}{key} = 1979-05-27\n"));
            assert!(!shown.contains("unknown key"), "{shown}");
            assert!(
                shown.contains("found a date") || shown.contains("is a date, but"),
                "{key} is not looked at: {shown}"
            );
        }
    }
}
