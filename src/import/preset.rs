//! A preset file of llama-server's router (`--models-preset`): each section is a
//! model, and `[*]` applies to all of them.
//!
//! The router loads a model on request, and keeps it until others need its room.
//! Only what it loads by itself (`load-on-startup`) is declared running.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::beside::Weights;
use super::given::Given;
use super::ini::{self, Entry, Section};
use super::lenient::{FALSY, TRUTHY};
use super::model::Model;
use super::options::{Options, seconds};
use super::remark::{Remark, SourceLocation, Why, one_address};
use super::secret::may_hold_one;
use super::source::{Problem, Read};
use crate::definition::{Catalogue, malformed_weights};
use crate::llama::catalogue::{OptionSpec, ValueKind};
use crate::model::DesiredState;

/// Reads the file. `beside` are the models that the router also serves; their
/// remarks are already in `read`.
pub(super) fn read(
    text: &str,
    place: &SourceLocation,
    options: &Options<'_>,
    mut beside: BTreeMap<String, Weights>,
    mut read: Read,
) -> Result<Read, Vec<Problem>> {
    let sections = ini::parse(text)?;
    let global = sections.iter().find(|section| section.name == "*");
    if let Some(global) = global {
        read.remarks.extend(replaced(global, place));
    }
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
        let help = "pass a llama-server `--models-preset` file, with a `[section]` per model";
        return Err(vec![Problem::new(0..0, "the preset has no models", help)]);
    }
    read.remarks.push(one_address(place));
    Ok(read)
}

/// Gives a model the weights that the router found by its name, unless its section
/// sets others.
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

fn model(section: &Section, global: Option<&Section>, place: &SourceLocation, options: &Options<'_>) -> Model {
    let mut model = Model::new(&section.name, place.line(section.line), DesiredState::OnDemand);
    model.stop_after = Some(0);
    model.remarks.extend(replaced(section, place));
    let own = counting(section, &mut model, place, options);
    // What a section sets itself, under any name, is not inherited.
    let mut inherited = global.map(|global| counting(global, &mut model, place, options)).unwrap_or_default();
    inherited.retain(|key, _| !own.contains_key(key));
    for entry in inherited.into_values().chain(own.into_values()) {
        state(&mut model, entry, &place.line(entry.line), options);
    }
    // A model's name in llama-server's cache.
    if model.weights.is_empty() && malformed_weights("hf_repo", &section.name).is_none() {
        model.weights.insert("hf_repo", section.name.clone());
    }
    model
}

/// Notes the sections that `section` replaces.
fn replaced(section: &Section, place: &SourceLocation) -> Vec<Remark> {
    let why = format!("replaced entirely by the section of the same name in line {}", section.line);
    let remark =
        |line: &u32| Remark::new(&place.line(*line), format!("[{}]", section.name), Why::Overridden(why.clone()));
    section.replaces.iter().map(remark).collect()
}

/// Returns the entries of a section that count, by what they set. Of several names
/// of one option, the one that sorts last wins, as in llama-server.
fn counting<'s>(
    section: &'s Section,
    model: &mut Model,
    place: &SourceLocation,
    options: &Options<'_>,
) -> BTreeMap<String, &'s Entry> {
    for entry in &section.again {
        let why = Why::set_again();
        model.remark(&place.line(entry.line), shown(entry), why);
    }
    let mut sorted: Vec<&Entry> = section.entries.iter().collect();
    sorted.sort_by_key(|entry| Reverse(&entry.key));
    let mut counting: BTreeMap<String, &Entry> = BTreeMap::new();
    for entry in sorted {
        let kept = *counting.entry(key(entry, options)).or_insert(entry);
        if kept.key != entry.key {
            let why = format!("`{}` is the same option and wins: a preset uses the name that sorts last", kept.key);
            model.remark(&place.line(entry.line), shown(entry), Why::Overridden(why));
        }
    }
    counting
}

/// Returns what `entry` sets: an option's canonical key, or a key that only presets
/// have.
fn key(entry: &Entry, options: &Options<'_>) -> String {
    find(&entry.key, &options.catalogue).map_or_else(|| entry.key.clone(), |(option, _)| option.key.clone())
}

/// Finds the option that a key names, and whether it is the negation. The variable
/// that turns an option off is just another name here.
fn find<'c>(key: &str, catalogue: &'c Catalogue) -> Option<(&'c OptionSpec, bool)> {
    let variable = catalogue.variable(key).map(|(option, _)| (option, false));
    variable.or_else(|| catalogue.argument(&format!("--{key}"))).or_else(|| catalogue.argument(&format!("-{key}")))
}

/// Formats the entry for people, without a secret.
fn shown(Entry { key, value, .. }: &Entry) -> String {
    if may_hold_one(key, value) { key.clone() } else { format!("{key} = {value}") }
}

fn state(model: &mut Model, entry: &Entry, place: &SourceLocation, options: &Options<'_>) {
    let Entry { key, value, .. } = entry;
    match key.replace('_', "-").as_str() {
        "version" => return,
        "load-on-startup" => {
            let loads = TRUTHY.contains(&value.as_str());
            model.state = if loads { DesiredState::Running } else { DesiredState::OnDemand };
            return;
        }
        "stop-timeout" => {
            match seconds(value) {
                Ok(seconds) => model.drain = Some(seconds),
                Err(why) => model.remark(place, shown(entry), why),
            }
            return;
        }
        _ => {}
    }
    let catalogue = std::sync::Arc::clone(&options.catalogue);
    let Some((option, negated)) = find(key, &catalogue) else {
        model.remark(place, shown(entry), Why::UnknownOption);
        return;
    };
    if option.kind != ValueKind::Flag {
        return options.set(model, option, negated, &Given::Text(value.to_owned()), key, place);
    }
    let on = is_on(negated, value);
    let is_word = TRUTHY.contains(&value.as_str()) || FALSY.contains(&value.as_str());
    if !is_word || catalogue.variable(key).is_some_and(|(_, negated)| negated) {
        model.remark(place, shown(entry), Why::read_as(&option.key, on));
    }
    // llama-server leaves out what it has no argument for.
    if on || option.negation.is_some() {
        options.set(model, option, false, &Given::Json(on.into()), key, place);
    }
}

/// Whether a line of a preset turns a flag on. Any word does, except the four that
/// turn it off; the reverse if the name is the negation.
fn is_on(negated: bool, value: &str) -> bool {
    if negated { !TRUTHY.contains(&value) } else { !FALSY.contains(&value) }
}
