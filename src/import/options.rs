//! Converts one llama-server option of a source to a key of a definition: a
//! top-level key if herdsman has one, or else a parameter in the catalogue's
//! spelling and type.
//!
//! Invariants: a value is kept only if the catalogue accepts it; what is not kept
//! becomes a remark; neither contains a secret's value.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;
use toml::de::DeValue;

use super::binary::Servers;
use super::given::Given;
use super::lenient::{self, FALSY, Made, TRUTHY};
use super::model::{Model, Secret};
use super::remark::{SourceLocation, Why};
use super::toml_value;
use crate::definition::typed::{self, Odd};
use crate::definition::{Catalogue, absolute, malformed_weights, parse_host};
use crate::llama::catalogue::{OptionSpec, ValueKind};

/// Converts a source's options to keys.
#[derive(Clone)]
pub struct Options<'a> {
    /// The options of llama-server.
    pub catalogue: Arc<Catalogue>,
    /// What relative paths are relative to, absolute.
    pub base: &'a Path,
    /// Whether `base` is a guess: a file does not say where its reader runs.
    pub is_guess: bool,
    /// The llama-servers that the source names; `None`: they are not asked.
    pub servers: Option<&'a Servers>,
    /// Why the model's own llama-server could not be asked, so that another one's
    /// options stand in.
    pub unchecked: Option<String>,
    /// The llama-server that was asked for these options.
    pub asked: Option<String>,
}

impl<'a> Options<'a> {
    /// Returns the options of the pinned llama-server.
    pub fn pinned(base: &'a Path, is_guess: bool, servers: Option<&'a Servers>) -> Self {
        Self { catalogue: Catalogue::embedded(), base, is_guess, servers, unchecked: None, asked: None }
    }

    /// Returns the options of the llama-server at `binary`.
    pub fn of(&self, binary: &str) -> Self {
        let Some(servers) = self.servers else { return self.clone() };
        match servers.ask(binary) {
            Ok(catalogue) => Self { catalogue, asked: Some(binary.to_owned()), ..self.clone() },
            Err(problem) => Self { unchecked: Some(problem), ..self.clone() },
        }
    }

    /// Keeps an option as it is written if only an unreachable llama-server knows
    /// it; `false`: it is not kept, because it may hold a secret, is set twice, or
    /// has several values.
    pub fn keep_unknown(&self, model: &mut Model, word: &str, values: &[String], place: &SourceLocation) -> bool {
        let (Some(problem), Some(name)) = (&self.unchecked, word.strip_prefix("--")) else { return false };
        let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') && !name.is_empty();
        let json = match values {
            [] => Json::Bool(true),
            [value] => Json::from(value.as_str()),
            _ => return false,
        };
        let key = name.replace('-', "_");
        if !is_name
            || model.parameters.contains_key(&key)
            || super::names_a_secret(name)
            || values.iter().any(|value| value.contains('\0'))
        {
            return false;
        }
        model.parameters.insert(key, json);
        let what = [&[word.to_owned()], values].concat().join(" ");
        model.remark(place, what, Why::NotChecked(problem.clone()));
        true
    }

    /// Keeps a word that the pinned llama-server does not accept for this option,
    /// if the model's own could not be asked; `false`: it is not kept.
    pub fn keep_choice(&self, model: &mut Model, option: &OptionSpec, given: &Given, place: &SourceLocation) -> bool {
        let (Some(problem), Given::Text(text)) = (&self.unchecked, given) else { return false };
        if option.choices.is_empty() || text.is_empty() || option.choices.iter().any(|choice| choice == text) {
            return false;
        }
        model.parameters.insert(option.key.clone(), Json::from(text.as_str()));
        model.remark(place, format!("{} {text}", option.argument), Why::NotChecked(problem.clone()));
        true
    }

    /// The reason for an unknown option.
    pub fn unknown(&self) -> Why {
        self.asked.clone().map_or(Why::UnknownOption, Why::UnknownTo)
    }
}

/// How llama-server reads an empty text.
const NONE: &str = "left out: llama-server treats an empty value as no value";

impl Options<'_> {
    /// Sets `option` in `model`. `spelt`: its name in the source.
    pub fn set(
        &self,
        model: &mut Model,
        option: &OptionSpec,
        negated: bool,
        given: &Given,
        spelt: &str,
        place: &SourceLocation,
    ) {
        let text = given.shown();
        if text.contains('\0') {
            return model.remark(
                place,
                spelt,
                bad("its value contains a NUL character, which a command line cannot", None),
            );
        }
        match option.key.as_str() {
            "api_key" => return model.secret("api_key", secret(given), place),
            "hf_token" => return model.secret("hf_token", secret(given), place),
            "api_key_file" => {
                let path = self.resolve(model, &text, place);
                return model.secret("api_key", Secret::File(path), place);
            }
            "alias" => return model.alias(&text),
            _ => {}
        }
        let separator = if spelt.starts_with("LLAMA_ARG_") { '=' } else { ' ' };
        let what = format!("{spelt}{separator}{text}").trim_end().to_owned();
        let problem = match option.key.as_str() {
            // A variable that exists without a value.
            "model" | "hf_repo" | "model_url" if text.is_empty() => Err(Why::Became(NONE.to_owned())),
            "model" => {
                let path = self.resolve(model, &text, place);
                weights(model, "model", &path)
            }
            "hf_repo" => weights(model, "hf_repo", &text),
            "model_url" => weights(model, "model_url", &text),
            "host" => parse_host(&text).map(|host| model.host = Some(host)).map_err(|e| bad(&e.message, Some(&e.help))),
            "port" => port(model, &text),
            _ => match option.instead() {
                Some(instead) if option.is_owned() => Err(Why::Owned(instead.to_owned())),
                // llama-server removed it, or it chooses the weights, so the server
                // would not be the same without it.
                Some(instead) => Err(bad(instead, None)),
                None => self.parameter(model, option, negated, given, &what, place),
            },
        };
        if let Err(why) = problem {
            model.remark(place, what, why);
        }
    }

    fn parameter(
        &self,
        model: &mut Model,
        option: &OptionSpec,
        negated: bool,
        given: &Given,
        what: &str,
        place: &SourceLocation,
    ) -> Result<(), Why> {
        let json = match given {
            Given::Bare if option.kind == ValueKind::Flag => Json::Bool(true),
            Given::Bare if option.choices.iter().any(|choice| choice == "on") => {
                let became =
                    format!("becomes `{} = \"on\"`: older llama-servers accepted it without a value", option.key);
                model.remark(place, option.argument.to_string(), Why::Became(became));
                Json::from("on")
            }
            Given::Bare => return Err(bad("its value is missing", None)),
            // A number as 0 and 1, as in a column or a line of a preset.
            Given::Text(_) | Given::Json(_) if option.kind == ValueKind::Flag => flag(&given.shown())?,
            Given::Text(text) => Json::from(text.as_str()),
            Given::Words(words) => Json::from(words.clone()),
            Given::Json(json) => json.clone(),
        };
        let (json, paths) = match (self.setting(option, &json, negated), made_of(option, &json)) {
            (Ok(found), _) => found,
            (Err(_), _) if self.keep_choice(model, option, given, place) => return Ok(()),
            (Err(_), Some(Made::Nothing(why))) => {
                model.parameters.remove(&option.key);
                return Err(Why::Became(format!("left out: {why}")));
            }
            (Err(refused), Some(Made::Value(made))) => {
                let found = self.setting(option, &made, negated).map_err(|_| refused)?;
                model.remark(place, what, Why::read_as(&option.key, &found.0));
                found
            }
            (Err(refused), None) => return Err(refused),
        };
        for path in paths {
            self.note_path(model, &path, place);
        }
        model.parameters.insert(option.key.clone(), json);
        Ok(())
    }

    /// Returns the value for a definition, and the paths in it as they were given.
    fn setting(&self, option: &OptionSpec, json: &Json, negated: bool) -> Result<(Json, Vec<String>), Why> {
        let Some(value) = toml_value::of(json) else { return Err(bad("null is not a value", None)) };
        let written = value.to_string();
        let read = DeValue::parse(&written).map_err(|error| bad(error.message(), None))?;
        let named = std::cell::RefCell::new(Vec::new());
        let resolve = |path: &str| {
            named.borrow_mut().push(path.to_owned());
            self.resolved(path)
        };
        let setting = option
            .setting(read.get_ref(), negated, &resolve)
            .map_err(|problem| bad(&problem.message, problem.help.as_deref()))?;
        Ok((setting.json, named.take()))
    }

    /// Makes a path absolute, and adds a remark if it is odd.
    fn resolve(&self, model: &mut Model, path: &str, place: &SourceLocation) -> String {
        self.note_path(model, path, place);
        self.resolved(path)
    }

    /// Makes a path absolute. An odd one stays as it was typed, so that people
    /// recognise it.
    fn resolved(&self, path: &str) -> String {
        if path.is_empty() || self.odd(path).is_some() {
            return path.to_owned();
        }
        absolute(self.base, Path::new(path)).to_string_lossy().into_owned()
    }

    /// Notes that `model` uses a path, and adds a remark if the path is odd or
    /// relative to a guessed base.
    fn note_path(&self, model: &mut Model, path: &str, place: &SourceLocation) {
        if path.is_empty() {
            return;
        }
        if let Some(odd) = self.odd(path) {
            let help = odd.help(path, typed::home().as_deref());
            return model.remark(place, path, Why::Check(format!("{}: {help}", odd.problem())));
        }
        if self.is_guess && !path.starts_with('/') {
            let became = format!("a relative path, resolved against {}: is that right?", self.base.display());
            model.remark(place, path, Why::Became(became));
        }
        model.paths.insert(self.resolved(path));
    }

    /// What is odd about a path in a text; a process used its paths as they are.
    fn odd<'p>(&self, path: &'p str) -> Option<Odd<'p>> {
        if self.is_guess { Odd::of(path) } else { None }
    }
}

/// Returns how llama-server reads a value that a definition refuses.
fn made_of(option: &OptionSpec, json: &Json) -> Option<Made> {
    match json {
        Json::String(text) => lenient::made_of(option, text),
        Json::Number(number) => lenient::made_of(option, &number.to_string()),
        // For an option with several values.
        Json::Array(items) => {
            let one = |item: &Json| lenient::stoi(item.as_str()?).map(Json::from);
            items.iter().map(one).collect::<Option<_>>().map(|all| Made::Value(Json::Array(all)))
        }
        _ => None,
    }
}

fn weights(model: &mut Model, key: &'static str, text: &str) -> Result<(), Why> {
    if let Some((message, help)) = malformed_weights(key, text) {
        return Err(bad(&message, Some(help)));
    }
    model.weights.insert(key, text.to_owned());
    Ok(())
}

/// Where to find a secret, judging by its placeholder.
pub(super) fn secret(given: &Given) -> Secret {
    match given {
        Given::Text(text) => match text.strip_prefix("${env.").and_then(|rest| rest.strip_suffix('}')) {
            Some(variable) if !variable.is_empty() && !variable.contains(['$', '{', '}', '=']) => {
                Secret::Env(variable.to_owned())
            }
            _ => Secret::ToFill,
        },
        _ => Secret::ToFill,
    }
}

/// The port that llama-server binds: it keeps only the low 16 bits.
fn port(model: &mut Model, text: &str) -> Result<(), Why> {
    let number = lenient::stoi(text).filter(|number| i32::try_from(*number).is_ok());
    let port = number.and_then(|number| u16::try_from(number.rem_euclid(1 << 16)).ok());
    // A variable's port does not count either: the command line wins.
    model.port = port.filter(|port| *port != 0);
    match (port, text.parse::<u16>()) {
        (Some(0), _) => Err(Why::Became("any port: herdsman picks one".to_owned())),
        (Some(port), Err(_)) => Err(Why::read_as("port", port)),
        (Some(_), Ok(_)) => Ok(()),
        (None, _) => Err(bad(&format!("`{text}` is not a port: herdsman picks one"), None)),
    }
}

/// Parses a number of seconds that a definition can express as a duration.
pub(super) fn seconds(text: &str) -> Result<u64, Why> {
    let number = text.parse().map_err(|_| bad("it is not a number of seconds", None))?;
    match crate::definition::parse_duration(&format!("{number}s")) {
        Ok(_) => Ok(number),
        Err(error) => Err(bad(&error.to_string(), None)),
    }
}

fn flag(text: &str) -> Result<Json, Why> {
    match text {
        text if TRUTHY.contains(&text) => Ok(Json::Bool(true)),
        text if FALSY.contains(&text) => Ok(Json::Bool(false)),
        _ => Err(bad(&format!("a flag is `true` or `false`, not `{text}`"), None)),
    }
}

fn bad(message: &str, help: Option<&str>) -> Why {
    Why::BadValue(help.map_or_else(|| message.to_owned(), |help| format!("{message}: {help}")))
}
