//! Options that only an unreachable llama-server understands: kept as they are
//! written, with a warning.

use std::ops::Range;
use std::sync::Arc;

use serde_json::Value as Json;
use toml::de::DeValue;

use super::value::{Chosen, Reader, Value, kind};
use crate::llama::catalogue::OptionSpec;
use crate::model::{Diagnostic, OptionSetting, OptionValue, Severity};

const HELP: &str = "`herdsman validate --host` checks it against the llama-server that `binary` names";

/// Reads an option that the stand-in llama-server does not have; `None`: no option
/// can have this value.
pub(super) fn option(
    reader: &mut Reader<'_, '_>,
    name: &str,
    span: Range<usize>,
    value: &Value<'_>,
) -> Option<(String, Chosen)> {
    let Some((setting, json)) = setting(&format!("--{}", name.replace('_', "-")), value.get_ref()) else {
        let message = format!("`{name}`: {} cannot be an option's value", kind(value.get_ref()));
        reader.problem(value.span(), message, "", "use a string, a number, `true`, `false` or an array of strings");
        return None;
    };
    note(reader, span, format!("`{name}` is not checked: whether it is an option depends on `binary`"));
    Some((name.replace('-', "_"), chosen(reader, value, setting, json)))
}

/// Whether `value` is a word that the stand-in llama-server does not accept here.
pub(super) fn is_other_choice(option: &OptionSpec, value: &Value<'_>, negated: bool) -> bool {
    let is_word = value.get_ref().as_str().is_some_and(|text| !text.is_empty());
    !option.choices.is_empty() && is_word && option.setting(value.get_ref(), negated, &str::to_owned).is_err()
}

/// Reads an option with such a word.
pub(super) fn choice(reader: &mut Reader<'_, '_>, option: &OptionSpec, value: &Value<'_>) -> Chosen {
    let text = value.get_ref().as_str().unwrap_or_default();
    let message = format!("`{} = {text:?}` is not checked: which values it takes depends on `binary`", option.key);
    let setting =
        OptionSetting { value: OptionValue::One(text.into()), args: vec![Arc::clone(&option.argument), text.into()] };
    note(reader, value.span(), message);
    chosen(reader, value, setting, Json::from(text))
}

fn chosen(reader: &Reader<'_, '_>, value: &Value<'_>, setting: OptionSetting, json: Json) -> Chosen {
    Chosen { setting, json, files: Vec::new(), origin: reader.source.origin(&value.span()) }
}

fn note(reader: &mut Reader<'_, '_>, span: Range<usize>, message: String) {
    let problem = reader.source.error(span, message).help(HELP);
    reader.unchecked.push(Diagnostic { severity: Severity::Warning, ..problem });
}

/// The setting that a value would be for an option of any kind. It is only shown
/// and compared; nothing is started with it.
fn setting(argument: &str, value: &DeValue<'_>) -> Option<(OptionSetting, Json)> {
    let argument: Arc<str> = argument.into();
    if let DeValue::Boolean(on) = value {
        let args = if *on { vec![argument] } else { Vec::new() };
        return Some((OptionSetting { value: OptionValue::Flag(*on), args }, Json::from(*on)));
    }
    let DeValue::Array(items) = value else {
        let text: Arc<str> = text(value)?.into();
        let setting =
            OptionSetting { value: OptionValue::One(Arc::clone(&text)), args: vec![argument, Arc::clone(&text)] };
        return Some((setting, Json::from(&*text)));
    };
    let texts: Vec<Arc<str>> = items.iter().map(|item| Some(text(item.get_ref())?.into())).collect::<Option<_>>()?;
    let json = texts.iter().map(|text| Json::from(&**text)).collect();
    let args = vec![argument, texts.join(",").into()];
    Some((OptionSetting { value: OptionValue::Many(texts), args }, json))
}

fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) if !text.contains('\0') => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        _ => None,
    }
}
