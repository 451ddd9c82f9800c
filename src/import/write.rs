//! Writes a model as a definition, with comments that say where it came from and
//! what of its source is missing.

use std::fmt::Write as _;

use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, Value};

use super::model::{Model, Secret};
use super::names::Named;
use super::remark::{Kind, Remark, Why};
use super::room::Group;
use super::toml_value;
use crate::model::DesiredState;
use crate::model::text::printable;

/// Returns the definition's text.
#[must_use]
pub fn definition(named: &Named) -> String {
    let Named { name, model } = named;
    let mut document = DocumentMut::new();
    top(document.as_table_mut(), model);
    if !model.labels.is_empty() {
        let labels = model.labels.iter().map(|(key, text)| (key.as_str(), Value::from(text.as_str())));
        put(document.as_table_mut(), "labels", Value::InlineTable(labels.collect::<InlineTable>()));
    }
    let parameters = model.parameters.iter().filter_map(|(key, json)| Some((key.as_str(), toml_value::of(json)?)));
    table(&mut document, "parameters", parameters);
    table(&mut document, "env", model.env.iter().map(|(key, text)| (key.as_str(), Value::from(text.as_str()))));
    secrets(&mut document, name.as_str(), model);
    let seconds = |seconds: u64| Value::from(format!("{seconds}s"));
    table(&mut document, "ready", model.ready_timeout.map(|n| ("timeout", seconds(n))).into_iter());
    table(&mut document, "update", model.drain.map(|n| ("drain", seconds(n))).into_iter());
    let idle = model
        .stop_after
        .filter(|_| model.state != DesiredState::Running)
        .map(|n| if n == 0 { Value::from("off") } else { seconds(n) });
    table(&mut document, "idle", idle.map(|value| ("stop_after", value)).into_iter());
    let listed = model.unlisted.then(|| ("listed", Value::from(false)));
    let limit = model.max_in_flight.map(|limit| ("max_in_flight", Value::from(i64::from(limit))));
    table(&mut document, "serve", listed.into_iter().chain(limit));
    format!("{}\n{document}", head(named))
}

/// Returns the text of `_groups.toml`; `None`: there are no groups.
#[must_use]
pub fn groups(groups: &[Group]) -> Option<String> {
    let mut document = DocumentMut::new();
    for Group { name, max_running, .. } in groups {
        let max_running = Value::from(i64::try_from(*max_running).unwrap_or(i64::MAX));
        table(&mut document, name, std::iter::once(("max_running", max_running)));
    }
    let source = printable(&groups.first()?.place.source().to_string());
    Some(format!("# Imported by herdsman from {source}: how many models of a group run at once.\n\n{document}"))
}

fn top(root: &mut Table, model: &Model) {
    if model.state == DesiredState::Stopped {
        put(root, "state", "stopped".into());
        comment(root, "state", "remove this line to run it");
    }
    if model.state == DesiredState::OnDemand {
        put(root, "state", "on_demand".into());
        comment(root, "state", "starts with the first request to `herdsman watch --listen`");
    }
    if let Some(model_type) = model.model_type {
        put(root, "type", model_type.as_str().into());
    }
    for (key, text) in &model.weights {
        put(root, key, text.as_str().into());
    }
    if let Some(host) = &model.host {
        put(root, "host", host.as_str().into());
    }
    if let Some(port) = model.port {
        put(root, "port", i64::from(port).into());
    }
    if let Some(binary) = &model.binary {
        put(root, "binary", binary.as_str().into());
    }
    match &model.groups[..] {
        [] => {}
        [group] => put(root, "group", group.as_str().into()),
        groups => put(root, "group", Value::Array(groups.iter().map(String::as_str).collect::<Array>())),
    }
    if let Some(priority) = model.priority {
        put(root, "priority", i64::from(priority).into());
    }
    if model.never_evict {
        put(root, "evict", "never".into());
    }
    if !model.aliases.is_empty() {
        put(root, "aliases", Value::Array(model.aliases.iter().map(String::as_str).collect::<Array>()));
    }
    if let Some(description) = &model.description {
        put(root, "description", description.as_str().into());
    }
}

fn secrets(document: &mut DocumentMut, name: &str, model: &Model) {
    let source = |key: &str, secret: &Secret| {
        let (kind, text) = match secret {
            Secret::File(path) => ("file", path.clone()),
            Secret::Env(variable) => ("env", variable.clone()),
            Secret::ToFill => ("file", format!("/run/secrets/{name}-{}", key.replace('_', "-"))),
        };
        Value::InlineTable([(kind, Value::from(text))].into_iter().collect::<InlineTable>())
    };
    let values: Vec<_> = model.secrets.iter().map(|(key, secret)| (*key, source(key, secret))).collect();
    table(document, "secrets", values.into_iter());
    let Some(written) = document.get_mut("secrets").and_then(Item::as_table_mut) else { return };
    for (key, secret) in &model.secrets {
        if *secret == Secret::ToFill {
            comment(written, key, "put it in this file, or say where it is; { env = \"NAME\" } works too");
        }
    }
}

fn put(table: &mut Table, key: &str, value: Value) {
    table.insert(key, Item::Value(value));
}

/// Adds a comment after the value of `key`.
fn comment(table: &mut Table, key: &str, text: &str) {
    if let Some(value) = table.get_mut(key).and_then(Item::as_value_mut) {
        value.decor_mut().set_suffix(format!("   # {text}"));
    }
}

/// Adds a table, if it has any entry.
fn table<'a>(document: &mut DocumentMut, name: &str, entries: impl Iterator<Item = (&'a str, Value)>) {
    let mut table = Table::new();
    for (key, value) in entries {
        put(&mut table, key, value);
    }
    if !table.is_empty() {
        document.insert(name, Item::Table(table));
    }
}

/// Returns the comment that a definition starts with.
fn head(Named { name, model }: &Named) -> String {
    let mut head = format!("# Imported by herdsman from {}", printable(&model.place.to_string()));
    if model.called != name.as_str() {
        let _ = write!(head, ", which calls it {:?}", printable(&model.called));
    }
    head.push_str(".\n");
    section(&mut head, "Check before it runs:", model, |why| why.kind() == Kind::Check);
    section(&mut head, "Written differently here:", model, |why| why.kind() == Kind::Changed);
    section(&mut head, "Not imported, yours to decide:", model, |why| why.kind() == Kind::Lost);
    section(&mut head, "Fill in:", model, |why| why.kind() == Kind::Secret);
    section(&mut head, "No equivalent here:", model, |why| why.kind() == Kind::Dropped);
    head
}

fn section(head: &mut String, title: &str, model: &Model, belongs: impl Fn(&Why) -> bool) {
    let mut remarks = model.remarks.iter().filter(|Remark { why, .. }| belongs(why)).peekable();
    if remarks.peek().is_some() {
        let _ = write!(head, "#\n# {title}\n");
    }
    for remark in remarks {
        let _ = writeln!(head, "# - {remark}");
    }
}
