//! What llama-swap loads at its own start: `hooks.on_startup.preload`.

use super::super::remark::{Remark, SourceLocation, Why};
use super::super::source::{Problem, Read};
use super::super::yaml::{Node, Pair};
use super::{Shared, instead, shown, texts};

/// Imports what is preloaded; the other hooks have no counterpart.
pub(super) fn hooks(
    node: &Node,
    place: &SourceLocation,
    shared: &mut Shared<'_>,
    read: &mut Read,
    problems: &mut Vec<Problem>,
) {
    if node.entries().is_none() && !node.is_null() {
        read.remarks.push(Remark::new(place, shown("hooks", node), Why::NoCounterpart(instead::HOOKS)));
    }
    for (key, hook) in node.entries().unwrap_or_default() {
        let (name, place) = (key.text().unwrap_or_default(), place.line(key.line));
        if name != "on_startup" || (hook.entries().is_none() && !hook.is_null()) {
            read.remarks.push(Remark::new(&place, shown(name, hook), Why::NoCounterpart(instead::HOOKS)));
            continue;
        }
        for (key, value) in hook.entries().unwrap_or_default() {
            let (name, place) = (key.text().unwrap_or_default(), place.line(key.line));
            match name {
                "preload" => {
                    let names = texts(value, name, problems).into_iter();
                    shared.preload.extend(names.map(|name| (name, place.clone())));
                }
                _ => read.remarks.push(Remark::new(&place, shown(name, value), Why::NoCounterpart(instead::HOOKS))),
            }
        }
    }
}

/// Replaces preloaded aliases by the models' own names.
pub(super) fn preloaded(models: &[Pair], shared: &mut Shared<'_>, read: &mut Read) {
    let is_alias = |node: &Node, name: &str| {
        // Their problems are reported with their model.
        let aliases = node.get("aliases").map(|list| texts(list, "aliases", &mut Vec::new()));
        aliases.is_some_and(|aliases| aliases.iter().any(|alias| alias == name))
    };
    for (name, place) in &mut shared.preload {
        if models.iter().any(|(key, _)| key.text() == Some(name)) {
            continue;
        }
        match models.iter().find(|(_, node)| is_alias(node, name)).and_then(|(key, _)| key.text()) {
            Some(id) => *name = id.to_owned(),
            None => {
                let why = Why::NoCounterpart("no model has this name, so nothing is declared running for it");
                read.remarks.push(Remark::new(place, format!("preload: {name}"), why));
            }
        }
    }
}
