//! `[parameters]`: every option under every name.
//!
//! The preferred name is a property, so that editors suggest it; every other
//! spelling is a pattern, so that they accept it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{option, text};
use crate::llama::catalogue::{Catalogue, OptionSpec};

/// An option, and its names, dashed.
struct Named<'c> {
    option: &'c OptionSpec,
    names: Vec<&'c str>,
    negations: Vec<&'c str>,
}

/// The schema of `[parameters]`.
pub(super) fn schema(catalogue: &Catalogue) -> Value {
    let (mut properties, mut others) = (Map::new(), Map::new());
    for Named { option, names, negations } in options(catalogue) {
        let argument = option.argument.trim_start_matches('-');
        let key = argument.replace('-', "_");
        let also = names.iter().filter(|name| **name != argument).map(|name| any_spelling(name));
        let also: Vec<String> = dashed_spellings(argument).into_iter().chain(also).collect();
        if !also.is_empty() {
            others.insert(whole(&also), json!({ "$ref": reference(&key) }));
        }
        if !negations.is_empty() {
            let spellings: Vec<String> = negations.iter().map(|name| any_spelling(name)).collect();
            let about = format!("Turns `{key}` off; prefer `{key} = false`.");
            others.insert(whole(&spellings), json!({ "description": about, "type": "boolean" }));
        }
        properties.insert(key, option::schema(option));
    }
    json!({
        "description": "llama-server options, by any of their long names; `_` and `-` are the same.",
        "type": "object",
        "properties": properties,
        "patternProperties": others,
        "additionalProperties": false,
    })
}

/// Where the property `key` is, as a JSON Pointer.
fn reference(key: &str) -> String {
    format!("#/properties/parameters/properties/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// The options that a definition may set, by key.
fn options(catalogue: &Catalogue) -> impl Iterator<Item = Named<'_>> {
    let mut options: BTreeMap<&str, Named<'_>> = BTreeMap::new();
    for (name, (option, negated)) in catalogue.names() {
        if option.instead().is_none() {
            let new = || Named { option, names: Vec::new(), negations: Vec::new() };
            let named = options.entry(&option.key).or_insert_with(new);
            if negated { &mut named.negations } else { &mut named.names }.push(name);
        }
    }
    options.into_values()
}

/// The spellings of `a-b-c` with at least one dash. The one with underscores is the
/// property itself, which must not match twice, or a mistake would be reported
/// twice.
fn dashed_spellings(name: &str) -> Vec<String> {
    let dashes = name.match_indices('-').map(|(at, _)| at);
    let spelling =
        |at: usize| format!("{}-{}", text::literally(&name[..at].replace('-', "_")), any_spelling(&name[at + 1..]));
    dashes.map(spelling).collect()
}

/// Every spelling of a dashed name.
fn any_spelling(name: &str) -> String {
    name.split('-').map(text::literally).collect::<Vec<_>>().join("[_-]")
}

/// A pattern that matches exactly one of `spellings`.
fn whole(spellings: &[String]) -> String {
    format!("^({})$", spellings.join("|"))
}
