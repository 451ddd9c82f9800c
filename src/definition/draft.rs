//! What one file sets, key by key, before defaults are merged in.
//!
//! Both a definition and `_defaults.toml` are read into a [`Draft`], which refuses
//! keys that a defaults file must not set. `[parameters]` and `[env]` are only
//! kept, because what they may contain depends on the llama-server (see
//! [`super::options`]).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;

use super::keys::{Key, SecretKey, SourceKey};
use super::value::{Located, Reader, Value};
use super::{duration, groups, host, paths, policies, suggest};
use crate::llama::catalogue::{Catalogue, OptionMatch};
use crate::model::{DesiredState, Evict, ModelName, ModelType, OnFailure, SecretSource, Table};

/// What a file sets.
#[derive(Default)]
pub(super) struct Draft<'v, 't> {
    /// `name`, if it is a valid one.
    pub name: Option<Located<ModelName>>,
    /// `model`, `hf_repo`, `model_url`: those that are set.
    pub weights: Vec<Weights<'v, 't>>,
    /// `port`.
    pub port: Option<Located<u16>>,
    /// `aliases`.
    pub aliases: Option<Located<Vec<String>>>,
    /// What a defaults file may set as well.
    pub common: Common,
    /// `[parameters]`, not checked yet.
    pub parameters: Option<&'v DeTable<'t>>,
    /// `[env]`, not checked yet.
    pub env: Option<&'v DeTable<'t>>,
}

/// One of the keys that say which weights to load.
pub(super) struct Weights<'v, 't> {
    /// `model`, `hf_repo` or `model_url`, which is also the canonical option name.
    pub key: &'static str,
    /// Where the key is.
    pub key_span: Range<usize>,
    /// Its value.
    pub value: &'v Value<'t>,
}

/// What both definitions and defaults may set.
#[derive(Clone, Debug, Default)]
pub(super) struct Common {
    pub model_type: Option<Located<ModelType>>,
    pub state: Option<Located<DesiredState>>,
    pub host: Option<Located<String>>,
    pub binary: Option<Located<String>>,
    pub description: Option<Located<String>>,
    pub labels: Table<Arc<str>, Located<String>>,
    /// By the variable that carries the secret to the process.
    pub secrets: Table<&'static str, Located<SecretSource>>,
    pub timeout: Option<Located<Duration>>,
    /// `Some(None)` is an explicit `"off"`.
    pub unhealthy_after: Option<Located<Option<Duration>>>,
    pub require_gpu: Option<Located<bool>>,
    pub drain: Option<Located<Duration>>,
    pub on_failure: Option<Located<OnFailure>>,
    pub groups: Option<Located<groups::Named>>,
    pub priority: Option<Located<i32>>,
    pub evict: Option<Located<Evict>>,
    /// `Some(None)` is an explicit `"off"`, here and below.
    pub stop_after: Option<Located<Option<Duration>>>,
    pub listed: Option<Located<bool>>,
    pub max_in_flight: Option<Located<Option<u32>>>,
}

/// The two kinds of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// One model.
    Definition,
    /// `_defaults.toml`.
    Defaults,
}

/// `unhealthy_after = "off"`, `stop_after = "off"`: never. `max_in_flight = "off"`:
/// no limit.
pub(super) const OFF: &str = "off";

/// Reads the whole file; `base` is the directory its paths are relative to.
pub(super) fn read<'v, 't>(
    reader: &mut Reader<'_, 't>,
    table: &'v DeTable<'t>,
    kind: FileKind,
    catalogue: &Catalogue,
    base: &str,
) -> Draft<'v, 't> {
    let mut draft = Draft::default();
    for (key, value) in table {
        if reader.is_full() {
            break;
        }
        let Some(known) = Key::find(key.get_ref()) else {
            unknown_at_top(reader, key.get_ref(), key.span(), catalogue);
            continue;
        };
        let name = known.as_str();
        if kind == FileKind::Defaults && known.is_of_one_model() {
            let message = format!("`{name}` is specific to one model and cannot have a default");
            reader.problem(key.span(), message, "", "move it to the model's own definition");
            continue;
        }
        let common = &mut draft.common;
        match known {
            Key::Name => draft.name = model_name(reader, value),
            Key::Model | Key::HfRepo | Key::ModelUrl => {
                draft.weights.push(Weights { key: name, key_span: key.span(), value });
            }
            Key::Port => draft.port = port(reader, value),
            Key::Aliases => draft.aliases = aliases(reader, value),
            Key::Group => common.groups = groups::named(reader, value),
            Key::Priority => common.priority = policies::priority(reader, value),
            Key::Evict => common.evict = reader.word(name, value, &Evict::ALL.map(|e| (e.as_str(), e))),
            Key::Type => common.model_type = reader.word(name, value, &ModelType::ALL.map(|t| (t.as_str(), t))),
            Key::State => common.state = reader.word(name, value, &DesiredState::ALL.map(|s| (s.as_str(), s))),
            Key::Host => common.host = listen(reader, value),
            Key::Binary => common.binary = binary(reader, value, base),
            Key::Description => common.description = text(reader, name, value),
            Key::Labels => labels(reader, value, &mut common.labels),
            Key::Parameters => draft.parameters = reader.table(name, value),
            Key::Env => draft.env = reader.table(name, value),
            Key::Secrets => secrets(reader, value, base, common),
            Key::Ready => policies::ready(reader, value, common),
            Key::Update => policies::update(reader, value, common),
            Key::Idle => policies::idle(reader, value, common),
            Key::Serve => policies::serve(reader, value, common),
        }
    }
    draft
}

fn text(reader: &mut Reader<'_, '_>, key: &str, value: &Value<'_>) -> Option<Located<String>> {
    let text = reader.string(key, value)?.to_owned();
    Some(reader.located(text, value.span()))
}

fn model_name(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Option<Located<ModelName>> {
    let text = reader.string("name", value)?;
    match ModelName::parse(text) {
        Ok(name) => Some(reader.located(name, value.span())),
        Err(error) => {
            let help = "use at most 63 letters, digits, `.`, `_` and `-`, starting with a letter or digit";
            reader.problem(value.span(), format!("{text:?} is not a valid model name"), &error.to_string(), help);
            None
        }
    }
}

fn port(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Option<Located<u16>> {
    let help = "set a port from 1 to 65535, or leave `port` out and herdsman picks one";
    reader.integer("port", value, 1..=u16::MAX, help)
}

fn aliases(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Option<Located<Vec<String>>> {
    let Some(array) = value.get_ref().as_array() else {
        reader.wrong_kind("aliases", value, "an array of strings", "write `aliases = [\"gpt-4o-mini\"]`");
        return None;
    };
    let mut aliases = Vec::new();
    for item in array {
        if reader.is_full() {
            break;
        }
        let Some(alias) = reader.element("aliases", item) else { continue };
        // llama-server splits its `--alias` at commas.
        if alias.trim().is_empty() || alias.contains(|c: char| c == ',' || c.is_control()) {
            let help = "an alias must not be blank, and must not contain commas or control characters";
            reader.problem(item.span(), format!("{alias:?} is not a valid alias"), "", help);
        } else {
            aliases.push(alias.to_owned());
        }
    }
    Some(reader.located(aliases, value.span()))
}

fn listen(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Option<Located<String>> {
    match host::parse(reader.string("host", value)?) {
        Ok(host) => Some(reader.located(host, value.span())),
        Err(problem) => {
            reader.problem(value.span(), problem.message, "", problem.help);
            None
        }
    }
}

fn binary(reader: &mut Reader<'_, '_>, value: &Value<'_>, base: &str) -> Option<Located<String>> {
    let text = reader.string("binary", value)?;
    if text.trim().is_empty() {
        let help = "set the path of a llama-server, or leave `binary` out to use the default one";
        reader.problem(value.span(), "`binary` is empty", "", help);
        return None;
    }
    reader.odd_paths(value);
    // Without a slash it is a command name, looked up in PATH.
    let binary = if text.contains('/') { paths::resolve(base, text) } else { text.to_owned() };
    Some(reader.located(binary, value.span()))
}

fn labels(reader: &mut Reader<'_, '_>, value: &Value<'_>, labels: &mut Table<Arc<str>, Located<String>>) {
    let Some(table) = reader.table("labels", value) else { return };
    for (key, value) in table {
        if reader.is_full() {
            break;
        }
        if let Some(text) = text(reader, key.get_ref(), value) {
            labels.insert(reader.names.shared(key.get_ref()), text);
        }
    }
}

fn secrets(reader: &mut Reader<'_, '_>, value: &Value<'_>, base: &str, common: &mut Common) {
    let Some(table) = reader.table("secrets", value) else { return };
    for (key, value) in table {
        if reader.is_full() {
            break;
        }
        let Some(known) = SecretKey::find(key.get_ref()) else {
            unknown(reader, key.get_ref(), key.span(), Key::Secrets, SecretKey::NAMES);
            continue;
        };
        if let Some(source) = secret(reader, known.as_str(), value, base) {
            common.secrets.insert(known.variable(), source);
        }
    }
}

pub(crate) fn secret(
    reader: &mut Reader<'_, '_>,
    key: &str,
    value: &Value<'_>,
    base: &str,
) -> Option<Located<SecretSource>> {
    let help =
        format!("say where to find it: `{key} = {{ file = \"/run/secrets/…\" }}` or `{key} = {{ env = \"NAME\" }}`");
    let Some(table) = value.get_ref().as_table() else {
        let message =
            format!("`{key}` is {}, but a definition must not contain secrets", super::value::kind(value.get_ref()));
        reader.problem(value.span(), message, "", help);
        return None;
    };
    let mut entries = table.iter();
    let (Some((source, place)), None) = (entries.next(), entries.next()) else {
        let message = format!("`{key}` needs exactly one of `{}`", SourceKey::NAMES.join("` and `"));
        reader.problem(value.span(), message, "", help);
        return None;
    };
    let Some(known) = SourceKey::find(source.get_ref()) else {
        reader.problem(source.span(), format!("unknown key `{}` in `{key}`", source.get_ref()), "", help);
        return None;
    };
    let name = known.as_str();
    let text = reader.string(name, place)?;
    if text.is_empty() || (known == SourceKey::Env && text.contains('=')) {
        reader.problem(place.span(), format!("`{key}.{name}` cannot be {text:?}"), "", help);
        return None;
    }
    let source = match known {
        SourceKey::File => SecretSource::File(paths::resolve(base, text)),
        SourceKey::Env => SecretSource::Env(text.to_owned()),
    };
    Some(reader.located(source, value.span()))
}

pub(crate) fn duration(reader: &mut Reader<'_, '_>, key: &str, value: &Value<'_>) -> Option<Located<Duration>> {
    let Some(text) = value.get_ref().as_str() else {
        reader.wrong_kind(key, value, "a duration", duration::EXAMPLES);
        return None;
    };
    match duration::parse(text) {
        Ok(duration) => Some(reader.located(duration, value.span())),
        Err(error) => {
            let message = format!("`{key}`: {text:?} is not a duration");
            reader.problem(value.span(), message, &error.to_string(), duration::EXAMPLES);
            None
        }
    }
}

/// Reads a duration that must not be zero.
pub(crate) fn positive(reader: &mut Reader<'_, '_>, key: &str, value: &Value<'_>) -> Option<Located<Duration>> {
    let stated = duration(reader, key, value)?;
    if stated.value.is_zero() {
        reader.problem(value.span(), format!("`{key}` cannot be zero"), "", duration::EXAMPLES);
        return None;
    }
    Some(stated)
}

/// Reports a key that the table `place` does not have.
pub(super) fn unknown(reader: &mut Reader<'_, '_>, key: &str, span: Range<usize>, place: Key, known: &[&str]) {
    let place = place.as_str();
    let help = match (suggest::nearest(key, known.iter().copied()), suggest::elsewhere(key, place)) {
        (_, Some(elsewhere)) => elsewhere,
        (Some(near), None) => format!("did you mean `{near}`?"),
        (None, None) => format!("`[{place}]` takes {}", known.join(", ")),
    };
    reader.problem(span, format!("unknown key `{key}` in `[{place}]`"), "", help);
}

/// Reports a key that the top level does not have, often a llama-server option.
fn unknown_at_top(reader: &mut Reader<'_, '_>, key: &str, span: Range<usize>, catalogue: &Catalogue) {
    let help = if let Some(elsewhere) = suggest::elsewhere(key, "") {
        elsewhere
    } else if let Some(meant) = suggest::in_other_words(key) {
        format!("did you mean `{}`?", meant.as_str())
    } else if let OptionMatch::Option { option, .. } = catalogue.find(key) {
        format!("`{}` is a llama-server option: put it under `[parameters]`", option.key)
    } else if let Some(near) = suggest::nearest(key, Key::NAMES.iter().copied()) {
        format!("did you mean `{near}`?")
    } else if let OptionMatch::Unknown { suggestion: Some(near) } = catalogue.find(key) {
        format!("did you mean the option `{near}`? It goes under `[parameters]`")
    } else {
        "llama-server options go under `[parameters]`; notes go in `description` or `[labels]`".to_owned()
    };
    reader.problem(span, format!("unknown key `{key}`"), "", help);
}
