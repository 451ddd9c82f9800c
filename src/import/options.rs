//! One option of llama-server as a source states it becomes a key of a
//! definition: a top-level key where herdsman has one, else a parameter in the
//! one spelling and type that the catalogue gives it.
//!
//! Invariants: a value is kept only if the catalogue takes it; what is not
//! kept is a remark; no secret's value is in either.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;
use toml::de::DeValue;

use super::binary::Servers;
use super::model::{Model, Secret};
use super::remark::{Place, Why};
use super::toml_value;
use crate::definition::catalogue::{OptionSpec, ValueKind};
use crate::definition::{Catalogue, absolute, malformed_weights, parse_host};

/// Turns options of one source into keys.
#[derive(Clone)]
pub struct Options<'a> {
    /// The options llama-server knows.
    pub catalogue: Arc<Catalogue>,
    /// What relative paths are relative to, absolute.
    pub base: &'a Path,
    /// Whether that is a guess: a file does not say where its reader runs.
    pub is_guess: bool,
    /// Who tells of the llama-servers that the source names; `None`: nobody.
    pub servers: Option<&'a Servers>,
    /// Why the llama-server of a model could not be asked, so that the options
    /// of another one stand in for its own.
    pub unchecked: Option<String>,
    /// The llama-server that was asked for these options.
    pub asked: Option<String>,
}

impl<'a> Options<'a> {
    /// Those of the pinned llama-server.
    pub fn pinned(base: &'a Path, is_guess: bool, servers: Option<&'a Servers>) -> Self {
        Self { catalogue: Catalogue::embedded(), base, is_guess, servers, unchecked: None, asked: None }
    }
}

/// A value as a source gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// None: the name alone.
    Bare,
    /// Text, which may stand for anything.
    Text(String),
    /// Several words.
    Words(Vec<String>),
    /// Typed.
    Json(Json),
}

impl Given {
    /// As people read it.
    fn shown(&self) -> String {
        match self {
            Self::Bare => String::new(),
            Self::Text(text) => text.clone(),
            Self::Words(words) => words.join(" "),
            Self::Json(Json::String(text)) => text.clone(),
            Self::Json(json) => json.to_string(),
        }
    }
}

/// The words that turn a flag on and off, where it is a variable or a line of
/// a preset.
pub(super) const TRUTHY: [&str; 4] = ["on", "enabled", "true", "1"];
pub(super) const FALSY: [&str; 4] = ["off", "disabled", "false", "0"];

impl Options<'_> {
    /// States `option` in `model`. `spelt`: its name as the source has it.
    pub fn set(
        &self,
        model: &mut Model,
        option: &OptionSpec,
        negated: bool,
        given: &Given,
        spelt: &str,
        place: &Place,
    ) {
        let text = given.shown();
        if text.contains('\0') {
            return model.remark(place, spelt, bad("its value holds a NUL character, which no command line can", None));
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
        let what = format!("{spelt} {text}").trim_end().to_owned();
        let problem = match option.key.as_str() {
            "model" => {
                let path = self.resolve(model, &text, place);
                weights(model, "model", &path)
            }
            "hf_repo" => weights(model, "hf_repo", &text),
            "model_url" => weights(model, "model_url", &text),
            "host" => parse_host(&text).map(|host| model.host = Some(host)).map_err(|e| bad(&e.message, Some(&e.help))),
            "port" => port(model, &text),
            _ => match option.instead() {
                Some(instead) => Err(Why::Owned(instead.to_owned())),
                None => self.parameter(model, option, negated, given, place),
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
        place: &Place,
    ) -> Result<(), Why> {
        let json = match given {
            Given::Bare if option.kind == ValueKind::Flag => Json::Bool(true),
            Given::Bare if option.choices.iter().any(|choice| choice == "on") => {
                let became =
                    format!("becomes `{} = \"on\"`: llama-servers of before took it without a value", option.key);
                model.remark(place, option.argument.to_string(), Why::Became(became));
                Json::from("on")
            }
            Given::Bare => return Err(bad("its value is missing", None)),
            // A number as 0 and 1, as a column or a line of a preset has it.
            Given::Text(_) | Given::Json(_) if option.kind == ValueKind::Flag => flag(&given.shown())?,
            Given::Text(text) => Json::from(text.as_str()),
            Given::Words(words) => Json::from(words.clone()),
            Given::Json(json) => json.clone(),
        };
        let Some(value) = toml_value::of(&json) else { return Err(bad("null is no value", None)) };
        let written = value.to_string();
        let read = DeValue::parse(&written).map_err(|error| bad(error.message(), None))?;
        let relative = std::cell::Cell::new(false);
        let resolve = |path: &str| {
            relative.set(relative.get() || !path.starts_with('/'));
            absolute(self.base, Path::new(path)).to_string_lossy().into_owned()
        };
        let setting = match option.setting(read.get_ref(), negated, &resolve) {
            Ok(setting) => setting,
            Err(_) if self.keep_choice(model, option, given, place) => return Ok(()),
            Err(problem) => return Err(bad(&problem.message, problem.help.as_deref())),
        };
        if relative.get() {
            self.note_relative(model, &given.shown(), place);
        }
        model.parameters.insert(option.key.clone(), setting.json);
        Ok(())
    }

    /// A path, absolute. That it was relative is told where its base is a guess.
    fn resolve(&self, model: &mut Model, path: &str, place: &Place) -> String {
        if path.is_empty() {
            return String::new();
        }
        if !path.starts_with('/') {
            self.note_relative(model, path, place);
        }
        absolute(self.base, Path::new(path)).to_string_lossy().into_owned()
    }

    fn note_relative(&self, model: &mut Model, path: &str, place: &Place) {
        if !self.is_guess {
            return;
        }
        let became = format!("a relative path, taken from {}: is it meant there?", self.base.display());
        model.remark(place, path.to_owned(), Why::Became(became));
    }
}

fn weights(model: &mut Model, key: &'static str, text: &str) -> Result<(), Why> {
    if let Some((message, help)) = malformed_weights(key, text) {
        return Err(bad(&message, Some(help)));
    }
    model.weights.insert(key, text.to_owned());
    Ok(())
}

/// Where a secret is, by what stands in its place.
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

fn port(model: &mut Model, text: &str) -> Result<(), Why> {
    match text.parse() {
        Ok(0) | Err(_) => {
            // Nor is it the one a variable states: the command line counts.
            model.port = None;
            Err(bad(&format!("`{text}` is no port from 1 to 65535: one is allotted"), None))
        }
        Ok(port) => {
            model.port = Some(port);
            Ok(())
        }
    }
}

/// A number of seconds that a definition can hold as a duration.
pub(super) fn seconds(text: &str) -> Result<u64, Why> {
    let number = text.parse().map_err(|_| bad("it is no number of seconds", None))?;
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
