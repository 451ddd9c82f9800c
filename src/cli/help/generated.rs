//! The tables that README and the topics take from the code.
//!
//! A table stands between `<!-- generated: KIND -->` and `<!-- end -->`; a
//! test fails if it is not what the code says, and [`RENEW`] rewrites it.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, CommandFactory};
use serde_json::Value;

use super::super::{Cli, Exit};
use super::{names_of_commands, topics::TOPICS};
use crate::definition::{Catalogue, FileKind, schema};
use crate::model::NewsKind;
use crate::owner::policy;

/// The variable that has the tests rewrite what they compare.
const RENEW: &str = "HERDSMAN_RENEW_DOCS";

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// README and every topic, as they lie in the source tree.
pub(super) fn pages() -> Vec<PathBuf> {
    let topics = Path::new(ROOT).join("src/cli/help/topics");
    let topics = TOPICS.iter().map(|topic| topics.join(format!("{}.md", topic.name)));
    std::iter::once(Path::new(ROOT).join("README.md")).chain(topics).collect()
}

#[test]
fn the_tables_in_readme_and_topics_match_the_code() {
    let mut stale = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let renewed = renewed(&text);
        if renewed != text {
            if std::env::var_os(RENEW).is_some() {
                fs::write(&page, &renewed).unwrap();
            } else {
                stale.push(page.strip_prefix(ROOT).unwrap().display().to_string());
            }
        }
    }
    assert!(
        stale.is_empty(),
        "tables are out of date in {}\nhelp: {RENEW}=1 cargo test --lib help:: rewrites them",
        stale.join(", ")
    );
}

/// The page with each table as it is to be.
fn renewed(text: &str) -> String {
    let mut parts = text.split("<!-- generated: ");
    let mut renewed = parts.next().unwrap().to_owned();
    for part in parts {
        let (kind, rest) = part.split_once(" -->").unwrap();
        let (_, after) = rest.split_once("<!-- end -->").unwrap_or_else(|| panic!("{kind} has no <!-- end -->"));
        renewed += &format!("<!-- generated: {kind} -->\n{}<!-- end -->{after}", table(kind));
    }
    renewed
}

fn table(kind: &str) -> String {
    let words: Vec<&str> = kind.split(' ').collect();
    match words[..] {
        ["commands"] => commands(),
        ["topics"] => topics(),
        ["places"] => places(),
        ["options", ref command @ ..] => options(command, None),
        ["limits"] => options(&["reconcile"], Some("Limits")),
        ["keys"] => keys(),
        ["exit-codes"] => exit_codes(),
        ["events"] => {
            rows(["event", "herdsman sends it"], NewsKind::ALL.map(|kind| [code(kind.as_str()), event(kind)]))
        }
        ["policy"] => rows(
            ["key", "allows", "if not set"],
            policy::Key::ALL.map(|key| {
                let (allows, otherwise) = allowed(key);
                [code(key.as_str()), allows.to_owned(), otherwise.to_owned()]
            }),
        ),
        _ => panic!("there is no table `{kind}`"),
    }
}

fn rows<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | ")).replace("|  |", "| |");
    let mut table = line(&head.map(str::to_owned)) + "|" + &"---|".repeat(N) + "\n";
    table.extend(rows.into_iter().map(|row| line(&row)));
    table
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('|', "\\|"))
}

/// Help as Markdown: what it would take for markup stays as typed.
fn escaped(help: &str) -> String {
    let parts = help.split('`').enumerate().map(|(number, part)| match number % 2 {
        0 => part.replace('_', "\\_").replace('*', "\\*").replace('<', "\\<").replace('|', "\\|"),
        _ => code(part),
    });
    parts.collect()
}

fn commands() -> String {
    let commands: Vec<_> = names_of_commands(&Cli::command()).collect();
    rows(["command", "what it does"], commands.into_iter().map(|(name, about)| [code(&name), escaped(&about)]))
}

fn topics() -> String {
    let link = |name: &str| format!("[`{name}`](src/cli/help/topics/{name}.md)");
    rows(["topic", "what it covers"], TOPICS.iter().map(|topic| [link(topic.name), topic.summary.to_owned()]))
}

fn places() -> String {
    let root = Cli::command();
    let places = root.get_arguments().filter(|arg| arg.get_env().is_some() || arg.get_long() == Some("port-range"));
    rows(["option", "meaning"], places.map(|arg| [spelt(arg), meaning(arg)]))
}

fn options(command: &[&str], heading: Option<&str>) -> String {
    let root = Cli::command();
    let command = command.iter().fold(&root, |command, name| command.find_subcommand(name).expect(name));
    let options = command.get_arguments().filter(|arg| !arg.is_positional() && arg.get_help_heading() == heading);
    rows(["option", "meaning"], options.map(|arg| [spelt(arg), meaning(arg)]))
}

/// `-n N`, `--target NAME`, as it is typed.
fn spelt(arg: &Arg) -> String {
    let names = [arg.get_short().map(|name| format!("-{name}")), arg.get_long().map(|name| format!("--{name}"))];
    let names = names.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let values = arg.get_value_names().filter(|_| matches!(arg.get_action(), ArgAction::Set | ArgAction::Append));
    let values: Vec<_> = values.into_iter().flatten().map(|value| value.to_string()).collect();
    let optional = arg.get_num_args().is_some_and(|number| number.min_values() == 0);
    match &values[..] {
        [] => code(&names),
        values if optional => code(&format!("{names} [{}]", values.join(" "))),
        values => code(&format!("{names} {}", values.join(" "))),
    }
}

/// Its help, with its values, its default and its variable.
fn meaning(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let takes_values = arg.get_action().takes_values();
    let values: Vec<_> = arg.get_possible_values().iter().map(|value| code(value.get_name())).collect();
    let values = if takes_values && !values.is_empty() { format!(": {}", values.join(", ")) } else { String::new() };
    // A default that depends on something is stated in the help.
    let (help, stated) = match help.strip_suffix(']').and_then(|help| help.split_once(" [default: ")) {
        Some((help, default)) => (help.to_owned(), Some(escaped(default))),
        None => (help, None),
    };
    let defaults = arg.get_default_values().iter().map(|value| code(&value.to_string_lossy()));
    let defaults: Vec<_> =
        defaults.filter(|_| takes_values).chain(stated).map(|value| format!("default: {value}")).collect();
    let variable = arg.get_env().map(|name| format!("variable: {}", code(&name.to_string_lossy())));
    let more: Vec<_> = defaults.into_iter().chain(variable).collect();
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join("; ")) };
    format!("{}{values}{more}", escaped(&help))
}

/// The keys of a definition and of its small tables, from the schema.
fn keys() -> String {
    let schema = schema(&Catalogue::embedded(), FileKind::Definition);
    let mut lines = Vec::new();
    for (key, of) in schema["properties"].as_object().unwrap() {
        match of["properties"].as_object().filter(|_| key != "parameters") {
            Some(inner) => lines.extend(inner.iter().map(|(inner, of)| (format!("[{key}] {inner}"), of.clone()))),
            None if of["type"] == "object" => lines.push((format!("[{key}]"), of.clone())),
            None => lines.push((key.clone(), of.clone())),
        }
    }
    // Tables last, as in a file.
    lines.sort_by_key(|(key, _)| key.starts_with('['));
    let row = |(key, of): (String, Value)| {
        let default = of.get("default").map(|default| code(&default.to_string())).unwrap_or_default();
        [code(&key), default, escaped(of["description"].as_str().unwrap_or_default())]
    };
    rows(["key", "default", "meaning"], lines.into_iter().map(row))
}

fn exit_codes() -> String {
    use Exit::*;
    let mut codes = [Usage, Locked, NoLlamaServer, NoModelsDir, Refused, InvalidDefinition, Failed, Changes, Converged];
    codes.sort_by_key(|exit| exit.code());
    rows(["code", "meaning"], codes.map(|exit| [exit.code().to_string(), exit_code(exit).to_owned()]))
}

/// What an exit code means. A new one does not compile until it says so here.
const fn exit_code(exit: Exit) -> &'static str {
    match exit {
        Exit::Converged => {
            "every model matches its definition; or a dry run worked; or `--no-wait` left loading and draining models to \
             the next pass"
        }
        Exit::Failed => "an action failed, or a model does not match its definition; herdsman carried out the rest",
        Exit::Changes => "changes are pending or were made (only with `--detailed-exitcode`)",
        Exit::Refused => {
            "herdsman refused: the mass-delete guard stopped deletions, or a saved plan no longer applies and nothing \
             changed"
        }
        Exit::Usage => {
            "wrong usage, such as an unknown option or model; or an address of `--listen` or `--metrics` is in use or needs \
             keys; or a watcher reads other definitions than this command"
        }
        Exit::InvalidDefinition => {
            "a definition is invalid or asks for more than the policy allows (herdsman reconciled the others); or the \
             policy, the settings or the saved plan is invalid, and nothing changed"
        }
        Exit::NoModelsDir => {
            "`models.d`, the saved plan, the policy, the settings or the source of an import cannot be read; or others can \
             write to what root must trust"
        }
        Exit::NoLlamaServer => "an action needs llama-server and there is no usable one",
        Exit::Locked => "another pass holds the lock; or a watcher is running (`down`, a second `watch`)",
    }
}

/// When an event is sent. A new one does not compile until it says so here.
fn event(kind: NewsKind) -> String {
    let text = match kind {
        NewsKind::Failed => "the new generation fails to start and nothing serves in its place; once per generation",
        NewsKind::RolledBack => {
            "the new generation fails to start and herdsman rolls back to the last one that was ready; once per generation"
        }
        NewsKind::CrashLooping => "a server that had been ready crashed three times in a row; once until it recovers",
        NewsKind::Drifted => {
            "another program changed or deleted the model's database row, and herdsman restored it; at most every ten \
             minutes"
        }
        NewsKind::Recovered => "a model that failed, was rolled back or crash-looped matches its definition again",
    };
    text.to_owned()
}

/// What a key of the policy allows, and what is allowed without it. A new one
/// does not compile until it says so here.
const fn allowed(key: policy::Key) -> (&'static str, &'static str) {
    use policy::Key;
    match key {
        Key::ModelRoots => {
            ("weights in these directories: `model`, `mmproj`, `lora`, draft models, control vectors", "none")
        }
        Key::FileRoots => {
            ("other files that a server reads, in these directories; definitions that link out of `models.d`", "none")
        }
        Key::WriteRoots => ("files that allowed options write, in these directories", "none"),
        Key::SocketRoots => ("unix sockets in these directories", "none"),
        Key::SecretRoots => ("secret files in these directories", "none"),
        Key::Binaries => ("another llama-server (`binary`): these files, or any file in these directories", "none"),
        Key::Hosts => ("listening on these addresses; `\"*\"` is any", "loopback"),
        Key::Ports => ("a declared port in this range", "1024-65535"),
        Key::MaxModels => ("this many definitions; with one more, herdsman changes none", "any number"),
        Key::Downloads => ("downloads from these sources, such as `\"hf:ggml-org/*\"`", "none"),
        Key::AllowOptions => ("options that can harm the host, or that this herdsman does not know", "none"),
        Key::DenyOptions => ("everything but these options; wins over `allow_options`", "denies none"),
        Key::AllowEnv => (
            "variables of `[env]` besides those that choose devices and threads; harmful ones only by full name",
            "none",
        ),
        Key::DenyEnv => ("everything but these variables; wins over `allow_env`", "denies none"),
        Key::SecretEnv => ("variables of herdsman's own environment that `[secrets]` may name", "none"),
        Key::Owners => {
            ("users, by number, who may own `models.d` or the database's directory beside root", "root alone")
        }
    }
}
