//! A llama-server's variables: options, secrets, and the rest.

use super::given::{Given, Occurrence};
use super::lenient::{FALSY, TRUTHY};
use super::model::Model;
use super::options::{self, Options};
use super::remark::{SourceLocation, Why};
use super::repeated;
use crate::llama::catalogue::{OptionSpec, ValueKind};

/// The secrets that have a key, by variable.
const SECRETS: [(&str, &str); 2] = [("LLAMA_API_KEY", "api_key"), ("HF_TOKEN", "hf_token")];

/// Adds to `model` what a variable sets. Read the environment before the command
/// line, which wins.
pub fn read(options: &Options<'_>, model: &mut Model, name: &str, value: &str, place: &SourceLocation) {
    if let Some((_, key)) = SECRETS.iter().find(|(variable, _)| *variable == name) {
        return model.secret(key, options::secret(&Given::Text(value.to_owned())), place);
    }
    if let Some((option, negated)) = options.catalogue.variable(name) {
        return state(options, model, option, negated, name, value, place);
    }
    if super::names_a_secret(name) || super::secret::is_in_url(value) {
        model.remark(place, format!("{name}=…"), Why::SecretVariable);
        return;
    }
    let shown = format!("{name}={value}");
    if name.is_empty() || name.contains('\0') || value.contains('\0') {
        model.remark(place, shown, Why::BadValue("this is not a variable".to_owned()));
    } else if let Some(instead) = options.catalogue.owned_env(name) {
        model.remark(place, shown, Why::Owned(instead));
    } else {
        model.env.insert(name.to_owned(), value.to_owned());
    }
}

/// Sets an option. `negated`: by the variable that turns it off, which works by
/// merely existing, whatever the one that turns it on says.
fn state(
    options: &Options<'_>,
    model: &mut Model,
    option: &OptionSpec,
    negated: bool,
    name: &str,
    value: &str,
    place: &SourceLocation,
) {
    let is_secret = super::names_a_secret(name);
    let shown = if is_secret { format!("{name}=…") } else { format!("{name}={value}") };
    let has_negation = option.negation.is_some();
    let (negated, given) = match option.kind {
        ValueKind::Flag if negated || (has_negation && FALSY.contains(&value)) => (true, Given::Bare),
        ValueKind::Flag if TRUTHY.contains(&value) => (false, Given::Bare),
        ValueKind::Flag if !has_negation && !FALSY.contains(&value) => {
            let why = "left out: llama-server reacts only to `on`, `enabled`, `true` and `1`";
            return model.remark(place, shown, Why::Became(why.to_owned()));
        }
        _ => (false, Given::Text(value.to_owned())),
    };
    let stated = Occurrence { negated, spelt: name.to_owned(), given, place: place.clone(), shown };
    let is_off = |one: &Occurrence| one.spelt.starts_with("LLAMA_ARG_NO_") && one.negated;
    let (stated, other) = match model.variables.remove(&option.key) {
        Some(other) if is_off(&other) => (other, Some(stated)),
        other => (stated, other),
    };
    if let Some(other) = other.filter(|other| !other.is_same(&stated)) {
        let why = match is_off(&stated) {
            true => Why::Overridden(format!("`{}` wins, whatever its value", stated.spelt)),
            false => Why::set_again(),
        };
        model.remark(&other.place, other.shown, why);
    }
    repeated::set(options, model, option, std::slice::from_ref(&stated));
    if !is_secret {
        model.variables.insert(option.key.clone(), stated);
    }
}
