//! What each key is for, against what a change of it does.

use serde_json::Value;

use super::super::keys::{Purpose, purposes};
use super::*;
use crate::model::meaning;

/// Two definitions that differ in the value of one key.
fn changed(table: &str, key: &str) -> [String; 2] {
    let top = |before: &str, after: &str| [before, after].map(|line| format!("{line}\nmodel = \"a.gguf\"\n"));
    let below = |before: &str, after: &str| {
        [before, after].map(|value| format!("model = \"a.gguf\"\n[{table}]\n{key} = {value}\n"))
    };
    match (table, key) {
        ("", "model") => ["a", "b"].map(|stem| format!("model = \"{stem}.gguf\"\n")),
        ("", "hf_repo") => ["a", "b"].map(|repository| format!("hf_repo = \"org/{repository}\"\n")),
        ("", "model_url") => ["a", "b"].map(|stem| format!("model_url = \"https://example.org/{stem}.gguf\"\n")),
        ("", "type") => top("", "type = \"mistral\""),
        ("", "state") => top("", "state = \"stopped\""),
        ("", "name") => top("", "name = \"other\""),
        ("", "host") => top("", "host = \"127.0.0.2\""),
        ("", "port") => top("port = 8101", "port = 8102"),
        ("", "aliases") => top("", "aliases = [\"other\"]"),
        ("", "group") => top("", "group = \"chat\""),
        ("", "priority") => top("", "priority = 5"),
        ("", "evict") => top("", "evict = \"never\""),
        ("", "binary") => top("", "binary = \"/opt/llama-server\""),
        ("", "description") => top("", "description = \"other\""),
        ("", "labels") => top("", "labels = { team = \"other\" }"),
        ("", "parameters") => top("", "parameters = { ctx_size = 512 }"),
        ("", "env") => top("", "env = { NAME = \"other\" }"),
        // Two variables that everybody has, and that are not alike.
        ("secrets", _) => below("{ env = \"PATH\" }", "{ env = \"CARGO_MANIFEST_DIR\" }"),
        ("ready", "timeout" | "unhealthy_after") | ("update", "drain") | ("idle", "stop_after") => {
            below("\"7s\"", "\"8s\"")
        }
        ("ready", "require_gpu") => below("false", "true"),
        ("serve", "listed") => below("true", "false"),
        ("serve", "max_in_flight") => below("7", "8"),
        ("update", "on_failure") => below("\"rollback\"", "\"stop\""),
        _ => panic!("how is [{table}] {key} changed?"),
    }
}

fn only(dir: &Dir) -> Arc<Definition> {
    assert_eq!(dir.problems(), "");
    dir.definition()
}

#[test]
fn a_change_of_a_key_does_what_the_table_says() {
    for (table, key, purpose) in purposes() {
        let dir = Dir::new(&[("_groups.toml", "[chat]\nmax_running = 1\n")]);
        let [old, new] = changed(table, key).map(|text| {
            dir.write("a.toml", &text);
            only(&dir)
        });
        let found = Purpose {
            restarts: old.hash() != new.hash(),
            recorded: old.config_digest() != new.config_digest(),
            ends_override: meaning(&old) != meaning(&new),
            shown: old.stated() != new.stated(),
            // A policy is shown a spec, all of it, and nothing else.
            policy: old.spec != new.spec,
        };
        assert_eq!(found, purpose, "[{table}] {key}");
        assert_eq!(old.config_digest(), old.config().digest(), "[{table}] {key}");
        assert!(old.digest(true) != new.digest(true), "a saved plan does not rest on [{table}] {key}");
    }
}

/// What an older herdsman wrote about the same definition, before there were
/// groups and models on demand.
#[test]
fn an_upgrade_changes_no_digest_of_a_definition_without_the_new_keys() {
    let mut definition = Definition::clone(&Dir::new(&[("a.toml", "model = \"/w/a.gguf\"\n")]).definition());
    definition.path = "/models.d/a.toml".into();
    assert_eq!(definition.digest(true), "ae7c6f845836dcd44af782d90bbae491");
    assert_eq!(definition.config_digest(), "a7d65e4f10d9e55e9106a72b45596dcd");
    assert_eq!(meaning(&definition), "72317faadf52dd1e87ff0e91caf9403d");
    assert_eq!(definition.hash().to_string(), "v2:3ec857fcd2f9fdcd1367cc7fdcfec5e4");
    let unstated = definition.stated();
    assert!(!unstated.keys().any(|key| key.starts_with("serve.") || key.starts_with("idle.")), "{unstated:?}");
}

#[test]
fn nothing_that_is_shared_restarts_a_server() {
    let keys = "group = \"chat\"\npriority = 1\nevict = \"never\"\n[idle]\nstop_after = \"1m\"\n[serve]\nlisted = false\nmax_in_flight = 1\n";
    let dir = Dir::new(&[("_groups.toml", "[chat]\nmax_running = 1\n"), ("a.toml", "model = \"a.gguf\"\n")]);
    let before = only(&dir);
    dir.write("a.toml", &format!("model = \"a.gguf\"\n{keys}"));
    let after = only(&dir);
    assert_eq!((before.hash(), meaning(&before)), (after.hash(), meaning(&after)));
    assert_ne!(before.digest(true), after.digest(true));
}

#[test]
fn schema_and_documentation_know_every_key() {
    let schema = schema(&Catalogue::embedded(), FileKind::Definition);
    let property = |of: &Value, name: &str| of["properties"].get(name).cloned();
    let rows = documented();
    for (table, key, _) in purposes() {
        let of = if table.is_empty() { Some(schema.clone()) } else { property(&schema, table) };
        assert!(of.and_then(|of| property(&of, key)).is_some(), "[{table}] {key} is not in the schema");
        let names = [format!("`{key}`"), format!("`[{key}]`"), format!("`[{table}] {key}`")];
        let in_table = format!("`[{table}]`");
        let tells = |(first, all): &(String, String)| {
            names.iter().any(|name| first.contains(name)) || first.contains(&in_table) && all.contains(&names[0])
        };
        assert!(rows.iter().any(tells), "[{table}] {key} is in no table of the documentation");
    }
}

/// The rows of all tables of the documentation: the first cell, and all of it.
fn documented() -> Vec<(String, String)> {
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR"))];
    let mut rows = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if entry.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(entry);
            } else if name.ends_with(".md") {
                let text = std::fs::read_to_string(&entry).unwrap();
                let cells =
                    |line: &str| Some((line.strip_prefix("| ")?.split(" | ").next()?.to_owned(), line.to_owned()));
                rows.extend(text.lines().filter_map(cells));
            }
        }
    }
    rows
}
