//! Merges an option that is set more than once into one value, as llama-server
//! does: see [`Repeated`].

use serde_json::{Map, Value as Json};

use super::given::{Given, Occurrence};
use super::lenient;
use super::model::Model;
use super::options::Options;
use super::remark::Why;
use crate::llama::catalogue::{ListStyle, OptionSpec, Repeated};

/// Sets `option` in `model` as the source has set it, in this order.
pub fn set(options: &Options<'_>, model: &mut Model, option: &OptionSpec, stated: &[Occurrence]) {
    let texts: Option<Vec<&str>> = stated.iter().map(Occurrence::text).collect();
    match (stated, texts) {
        ([], _) => {}
        ([one], _) => set_one(options, model, option, one),
        // Its own key takes all of them: `aliases`, `[secrets]`.
        _ if option.repeated == Repeated::Adds && option.instead().is_some() => {
            stated.iter().for_each(|one| set_one(options, model, option, one));
        }
        ([.., one], Some(texts)) if option.repeated != Repeated::Last => match together(option, &texts) {
            Ok((given, becomes)) => {
                for other in stated.iter().filter(|other| other.given != given) {
                    if let Some(why) = &becomes {
                        model.remark(&other.place, other.shown.clone(), why.clone());
                    }
                }
                set_one(options, model, option, &Occurrence { given, ..one.clone() });
            }
            Err(why) => model.remark(&one.place, one.shown.clone(), why),
        },
        _ => last(options, model, option, stated),
    }
}

fn set_one(options: &Options<'_>, model: &mut Model, option: &OptionSpec, one: &Occurrence) {
    options.set(model, option, one.negated, &one.given, &one.spelt, &one.place);
}

/// The last one wins, except for values that llama-server ignores.
fn last(options: &Options<'_>, model: &mut Model, option: &OptionSpec, stated: &[Occurrence]) {
    let is_ignored = |one: &Occurrence| one.text().is_some_and(|text| lenient::ignores(option, text));
    stated.iter().filter(|one| is_ignored(one)).for_each(|one| set_one(options, model, option, one));
    let mut counting = stated.iter().filter(|one| !is_ignored(one)).rev();
    let Some(kept) = counting.next() else { return };
    for before in counting.filter(|before| !before.is_same(kept)) {
        let why = Why::set_again();
        model.remark(&before.place, before.shown.clone(), why);
    }
    set_one(options, model, option, kept);
}

/// Combines several values, and returns the remark for each.
fn together(option: &OptionSpec, texts: &[&str]) -> Result<(Given, Option<Why>), Why> {
    let one = |what: &str| Some(Why::Became(format!("becomes part of one {what}, as llama-server reads it")));
    let bad = |text: &str| Why::BadValue(format!("llama-server cannot read `{text}`"));
    match option.repeated {
        Repeated::Adds => Ok(match option.list {
            ListStyle::Joined(separator) => (Given::Text(texts.join(&separator.to_string())), one("list")),
            _ => (Given::Words(texts.iter().map(ToString::to_string).collect()), None),
        }),
        Repeated::Largest => {
            let numbers = texts.iter().map(|text| lenient::stoi(text).ok_or_else(|| bad(text)));
            let largest = numbers.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or_default();
            let why = Why::Overridden("set again, and the largest one wins".to_owned());
            Ok((Given::Text(largest.to_string()), Some(why)))
        }
        Repeated::Merges => {
            let mut merged = Map::new();
            for text in texts {
                merged.extend(serde_json::from_str::<Map<String, Json>>(text).map_err(|_| bad(text))?);
            }
            Ok((Given::Text(Json::Object(merged).to_string()), one("object")))
        }
        Repeated::Overlays => overlaid(texts).map(|text| (Given::Text(text), one("list"))),
        Repeated::Last => Ok((Given::Text(texts.last().copied().unwrap_or_default().to_owned()), None)),
    }
}

/// Overlays lists. A single value applies to every device, and the number of
/// devices is unknown here.
fn overlaid(texts: &[&str]) -> Result<String, Why> {
    let mut values: Vec<&str> = Vec::new();
    for text in texts {
        let next = lenient::list(text);
        if next.len() > 1 && values.len() == 1 {
            let why = "llama-server uses it for the first devices, and the earlier value for the others: \
                       set a value for each device";
            return Err(Why::BadValue(why.to_owned()));
        }
        let kept = if next.len() == 1 { &[] } else { values.get(next.len()..).unwrap_or_default() };
        values = [&next[..], kept].concat();
    }
    Ok(values.join(","))
}
