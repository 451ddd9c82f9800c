//! Gives each definition a valid and unique name.
//!
//! Sources call models what they like (`org/Model:tag`, `Größe L`). A name that is
//! not valid becomes one, and the original stays as an alias, so that clients still
//! find the model.

use std::collections::BTreeMap;

use super::model::Model;
use super::remark::Why;
use crate::model::ModelName;

/// The longest name tried, which leaves room for a number to make it unique.
pub(super) const ROOM: usize = ModelName::MAX_LENGTH - 4;

/// A model with the name of its definition.
#[derive(Clone, Debug)]
pub struct Named {
    /// The definition's name, and its file's.
    pub name: ModelName,
    /// The rest.
    pub model: Model,
}

/// Gives each model a name, and gives what only one model can have (aliases, ports,
/// sockets) to the first that asks for it.
#[must_use]
pub fn settle(models: Vec<Model>) -> Vec<Named> {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let mut named: Vec<Named> = Vec::with_capacity(models.len());
    // A model whose name is already valid keeps it.
    let taken: Vec<String> =
        models.iter().filter(|m| ModelName::parse(&m.called).is_ok()).map(|m| m.called.clone()).collect();
    for model in models {
        let Some(name) = free_name(&model.called, &owners, &taken) else { continue };
        owners.insert(name.as_str().to_owned(), name.as_str().to_owned());
        named.push(Named { name, model });
    }
    let mut ports: BTreeMap<u16, String> = BTreeMap::new();
    let mut sockets: BTreeMap<String, String> = BTreeMap::new();
    for Named { name, model } in &mut named {
        aliases(name, model, &mut owners);
        let place = model.place.clone();
        if let Some(port) = model.port
            && let Some(owner) = claim(&mut ports, port, name)
        {
            model.port = None;
            model.remark(&place, format!("port {port}"), Why::Taken(owner));
        }
        if let Some(host) = model.host.clone().filter(|host| host.contains('/')) {
            // A unix socket has no port.
            model.port = None;
            if let Some(owner) = claim(&mut sockets, host.clone(), name) {
                model.host = None;
                model.remark(&place, format!("host {host}"), Why::Taken(owner));
            }
        }
    }
    named
}

/// Returns who has `thing` already; if nobody, `name` has it from now on.
fn claim<K: Ord>(owners: &mut BTreeMap<K, String>, thing: K, name: &ModelName) -> Option<String> {
    match owners.get(&thing) {
        Some(owner) => Some(format!("`{owner}`")),
        None => {
            owners.insert(thing, name.as_str().to_owned());
            None
        }
    }
}

/// Keeps the aliases that no other model has; the model's name in the source is
/// one, unless it is the model's name.
fn aliases(name: &ModelName, model: &mut Model, owners: &mut BTreeMap<String, String>) {
    let place = model.place.clone();
    let called = model.called.trim().to_owned();
    let mut wanted = std::mem::take(&mut model.aliases);
    if called != name.as_str() {
        wanted.insert(0, called);
    }
    for alias in wanted {
        if alias == name.as_str() || model.aliases.contains(&alias) {
            continue;
        }
        if alias.trim().is_empty() || alias.contains(|c: char| c == ',' || c.is_control()) {
            let problem = "an alias must not be blank, and must not contain commas or control characters".to_owned();
            model.remark(&place, format!("the name `{alias}`"), Why::BadValue(problem));
        } else if let Some(owner) = claim(owners, alias.clone(), name) {
            model.remark(&place, format!("the alias `{alias}`"), Why::Taken(owner));
        } else {
            model.aliases.push(alias);
        }
    }
}

/// Makes a unique name from `called`: `a`, `a-2`, `a-3`, …
fn free_name(called: &str, owners: &BTreeMap<String, String>, taken: &[String]) -> Option<ModelName> {
    let clean = cleaned(called);
    let numbered = (2..).map(|number| format!("{}-{number}", &clean[..clean.len().min(ROOM)]));
    // On some disks, names that differ only in case are the same file.
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    std::iter::once(clean.clone())
        .chain(numbered)
        .find(|name| {
            let is_own = name == called;
            !owners.keys().any(|owner| same(owner, name)) && (is_own || !taken.iter().any(|other| same(other, name)))
        })
        .and_then(|name| ModelName::parse(&name).ok())
}

/// Replaces every run of invalid characters in `called` by a `-`.
pub(super) fn cleaned(called: &str) -> String {
    let mut clean = String::new();
    for c in called.chars() {
        match c {
            c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') => clean.push(c),
            _ if clean.ends_with('-') => {}
            _ => clean.push('-'),
        }
    }
    let clean = clean.trim_start_matches(['-', '.', '_']);
    let clean = clean[..clean.len().min(ModelName::MAX_LENGTH)].trim_end_matches('-');
    if clean.is_empty() { "model".to_owned() } else { clean.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::remark::SourceLocation;
    use crate::model::DesiredState;

    fn named(called: &[&str]) -> Vec<(String, Vec<String>)> {
        let model = |called: &&str| Model::new(*called, SourceLocation::whole("x"), DesiredState::Running);
        let settled = settle(called.iter().map(model).collect());
        settled.into_iter().map(|named| (named.name.to_string(), named.model.aliases)).collect()
    }

    #[test]
    fn every_model_gets_a_name_and_keeps_the_old_one_as_an_alias() {
        let all = named(&["org/Qwen:Q4", "Größe L", "🦙", "", "a", &"x".repeat(80)]);
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["org-Qwen-Q4", "Gr-e-L", "model", "model-2", "a", &"x".repeat(63)]);
        assert_eq!(all[0].1, ["org/Qwen:Q4"]);
        assert!(all[3].1.is_empty() && all[4].1.is_empty());
    }

    #[test]
    fn a_generated_name_never_takes_a_given_one() {
        let names: Vec<String> = named(&["a b", "a-b", "A-B", "a:b"]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a-b-2", "a-b", "A-B-3", "a-b-4"]);
    }
}
