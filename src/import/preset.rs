//! A preset file of llama-server's router (`--models-preset`): each section is
//! a model, `[*]` holds for all of them.
//!
//! The router loads a model when somebody asks for it. Only what it loads by
//! itself (`load-on-startup`) is declared running.

use std::collections::BTreeMap;

use super::beside::Weights;
use super::ini::{self, Entry, Section};
use super::model::Model;
use super::options::{FALSY, Given, Options, TRUTHY, seconds};
use super::remark::{Place, Remark, Why};
use super::secret::may_hold_one;
use super::source::{Problem, Read};
use crate::definition::catalogue::{OptionSpec, ValueKind};
use crate::definition::malformed_weights;
use crate::model::DesiredState;

/// Reads the file. `beside` are the models that the router serves besides; what
/// there is to say of them is in `read` already.
pub(super) fn read(
    text: &str,
    place: &Place,
    options: &Options<'_>,
    mut beside: BTreeMap<String, Weights>,
    mut read: Read,
) -> Result<Read, Vec<Problem>> {
    let sections = ini::parse(text)?;
    let global = sections.iter().find(|section| section.name == "*");
    for section in sections.iter().filter(|section| section.name != "*") {
        // Keys before the first section that only describe the file.
        if section.entries.iter().all(|entry| entry.key == "version") && section.name == "default" {
            continue;
        }
        let mut model = model(section, global, place, options);
        if let Some(weights) = beside.remove(&section.name) {
            fill(&mut model, weights, options);
        }
        read.models.push(model);
    }
    for (name, weights) in beside {
        let of_its_own = Section { name, ..Section::default() };
        let mut model = model(&of_its_own, global, place, options);
        model.place = weights.place();
        model.weights.clear();
        fill(&mut model, weights, options);
        read.models.push(model);
    }
    if read.models.is_empty() {
        let help = "give a file of llama-server's `--models-preset`, with a `[section]` for each model";
        return Err(vec![Problem::new(0..0, "the preset has no models", help)]);
    }
    let why = Why::NoCounterpart(
        "herdsman is no router: each model has an address of its own, which `herdsman status` shows",
    );
    read.remarks.push(Remark::new(place, "one address for all models", why));
    Ok(read)
}

/// Gives a model the weights that the router found by its name, unless its
/// section states others.
fn fill(model: &mut Model, weights: Weights, options: &Options<'_>) {
    let place = weights.place();
    match weights {
        Weights::Files { model: path, projector } => {
            if model.weights.contains_key("model") {
                return;
            }
            // A section's name may look like a repository's.
            model.weights.retain(|_, text| *text != model.called);
            model.weights.insert("model", path.display().to_string());
            if let (Some(projector), Some(option), false) =
                (projector, options.catalogue.get("mmproj"), model.parameters.contains_key("mmproj"))
            {
                options.set(model, option, false, &Given::Text(projector.display().to_string()), "mmproj", &place);
            }
        }
        Weights::Cached { cache, .. } => {
            if model.weights.is_empty() {
                model.weights.insert("hf_repo", model.called.clone());
            }
            if model.weights.get("hf_repo") == Some(&model.called) {
                model.env.entry("LLAMA_CACHE".to_owned()).or_insert_with(|| cache.display().to_string());
            }
        }
    }
}

fn model(section: &Section, global: Option<&Section>, place: &Place, options: &Options<'_>) -> Model {
    let mut model = Model::new(&section.name, place.line(section.line), DesiredState::Stopped);
    let same = |a: &Entry, b: &Entry| a.key == b.key;
    let inherited = global.iter().flat_map(|global| &global.entries);
    // What a section states itself is not stated twice.
    let inherited = inherited.filter(|entry| !section.entries.iter().any(|own| same(own, entry)));
    for entry in inherited.chain(&section.entries) {
        state(&mut model, entry, &place.line(entry.line), options);
    }
    // The name of a model in llama-server's cache.
    if model.weights.is_empty() && malformed_weights("hf_repo", &section.name).is_none() {
        model.weights.insert("hf_repo", section.name.clone());
    }
    model
}

fn state(model: &mut Model, entry: &Entry, place: &Place, options: &Options<'_>) {
    let Entry { key, value, .. } = entry;
    let shown = || match may_hold_one(key, value) {
        true => key.clone(),
        false => format!("{key} = {value}"),
    };
    match key.replace('_', "-").as_str() {
        "version" => return,
        "load-on-startup" => {
            let loads = TRUTHY.contains(&value.as_str());
            model.state = if loads { DesiredState::Running } else { DesiredState::Stopped };
            return;
        }
        "stop-timeout" => {
            match seconds(value) {
                Ok(seconds) => model.drain = Some(seconds),
                Err(why) => model.remark(place, shown(), why),
            }
            return;
        }
        _ => {}
    }
    let catalogue = std::sync::Arc::clone(&options.catalogue);
    let found = catalogue
        .variable(key)
        .or_else(|| catalogue.argument(&format!("--{key}")))
        .or_else(|| catalogue.argument(&format!("-{key}")));
    let Some((option, negated)) = found else {
        model.remark(place, shown(), Why::UnknownOption);
        return;
    };
    if let Some(given) = given(option, negated, value) {
        options.set(model, option, negated, &given, key, place);
    }
}

/// What a line of a preset states; `None`: nothing, as llama-server leaves it
/// out, too.
fn given(option: &OptionSpec, negated: bool, value: &str) -> Option<Given> {
    let is_off = FALSY.contains(&value);
    match option.kind {
        ValueKind::Flag if option.negation.is_none() && is_off => None,
        ValueKind::Flag if !negated && option.negation.is_none() && !TRUTHY.contains(&value) => Some(Given::Bare),
        _ => Some(Given::Text(value.to_owned())),
    }
}
