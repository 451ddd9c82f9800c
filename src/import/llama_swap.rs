//! llama-swap's `config.yaml`, or the files of its `-config-dir`.
//!
//! llama-swap starts a model on request and swaps it for another, so every model is
//! `on_demand`, in groups that say which may run together ([`room`]). What it loads
//! at its own start (`hooks.on_startup.preload`) is declared running, where that
//! leaves room for the others.

mod instead;
mod matrix;
mod room;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use super::cmd::Reading;
use super::macros::{Macros, PORT};
use super::model::{LeftOut, Model};
use super::options::{Options, seconds};
use super::remark::{Reason, Remark, SourceLocation, Why, one_address};
use super::room::leave_room;
use super::secret::may_hold_one;
use super::source::{Problem, Read};
use super::yaml::{self, Node, Pair};
use crate::model::DesiredState;
use room::Room;

/// What the whole file says about every model.
struct Shared<'a> {
    options: &'a Options<'a>,
    variable: &'a dyn Fn(&str) -> Option<String>,
    macros: Macros,
    /// What it loads at its start, as the file names it, and where.
    preload: Vec<(String, SourceLocation)>,
    /// `healthCheckTimeout`, seconds.
    ready_timeout: Option<u64>,
    /// `globalTTL`, seconds.
    ttl: Option<i64>,
    room: Room,
}

/// Reads the files of one llama-swap as one configuration. `variable` returns the
/// environment's variables. Problems come with the number of their file.
pub(super) fn read(
    files: &[(&str, SourceLocation)],
    options: &Options<'_>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Read, (usize, Vec<Problem>)> {
    let mut roots = Vec::with_capacity(files.len());
    for (number, (text, place)) in files.iter().enumerate() {
        let root = root(text).map_err(|problem| (number, vec![problem]))?;
        roots.extend(root.map(|root| (number, root, place)));
    }
    let whole = |message: &str| vec![Problem::new(0..0, message, "pass llama-swap's config.yaml")];
    if roots.is_empty() {
        return Err((0, whole("the file is empty")));
    }
    if !roots.iter().any(|(_, root, _)| root.get("models").is_some()) {
        return Err((0, whole("this is not a llama-swap configuration: it has no `models`")));
    }
    let mut read = Read::default();
    let mut shared = Shared {
        options,
        variable,
        macros: Macros::default(),
        preload: Vec::new(),
        ready_timeout: None,
        ttl: None,
        room: Room::default(),
    };
    for (number, root, place) in &roots {
        let mut problems = Vec::new();
        globals(root, place, &mut shared, &mut read, &mut problems);
        if !problems.is_empty() {
            return Err((*number, problems));
        }
    }
    if let Some((_, _, place)) = roots.first() {
        read.remarks.push(one_address(place));
    }
    let entries = |root: &Node| root.get("models").and_then(|models| models.entries().map(<[Pair]>::to_vec));
    let all: Vec<Pair> = roots.iter().filter_map(|(_, root, _)| entries(root)).flatten().collect();
    preloaded(&all, &mut shared, &mut read);
    let mut known: BTreeMap<String, SourceLocation> = BTreeMap::new();
    for (number, root, place) in &roots {
        let mut problems = Vec::new();
        models(&shared, root, place, &mut known, &mut read, &mut problems);
        if !problems.is_empty() {
            return Err((*number, problems));
        }
    }
    if let Some((_, _, place)) = roots.first() {
        shared.room.apply(&mut read, place);
    }
    leave_room(&mut read, "preload");
    for model in read.models.iter_mut().filter(|model| model.state == DesiredState::Running) {
        if let Some(ttl) = model.stop_after.filter(|ttl| *ttl > 0) {
            let why = "preloaded, so it always runs here: `state = \"on_demand\"` lets it stop when it is idle";
            let place = model.place.clone();
            model.remark(&place, format!("ttl: {ttl}"), Why::Became(why.to_owned()));
        }
    }
    Ok(read)
}

/// Returns the map that a file contains; `None`: it is empty.
fn root(text: &str) -> Result<Option<Rc<Node>>, Problem> {
    let root = yaml::parse(text).map_err(|p| Problem::new(p.span, p.message, "llama-swap cannot read it either"))?;
    match root.filter(|root| !root.is_null()) {
        Some(root) if root.entries().is_none() => {
            let message = "this is not a llama-swap configuration: it is not a map";
            Err(Problem::new(0..0, message, "pass llama-swap's config.yaml"))
        }
        root => Ok(root),
    }
}

/// Reads the models of one file; `known` are those of earlier files.
fn models(
    shared: &Shared<'_>,
    root: &Node,
    place: &SourceLocation,
    known: &mut BTreeMap<String, SourceLocation>,
    read: &mut Read,
    problems: &mut Vec<Problem>,
) {
    let Some(models) = root.get("models") else { return };
    let Some(entries) = models.entries() else {
        let message = format!("`models` must be a map of models, but is {}", models.kind());
        return problems.push(Problem::new(models.span.clone(), message, "write one key per model"));
    };
    if entries.is_empty() {
        problems.push(Problem::new(models.span.clone(), "`models` has no models", "write one key per model"));
    }
    for (key, node) in entries {
        let id = key.text().unwrap_or_default().to_owned();
        if let Some(before) = known.insert(id.clone(), place.line(key.line)) {
            let message = format!("the model `{}` is also defined in {before}", crate::model::text::printable(&id));
            problems.push(Problem::new(key.span.clone(), message, "llama-swap refuses this: remove one of the two"));
        }
        one(shared, key, node, place, read, problems);
    }
}

fn globals(root: &Node, place: &SourceLocation, shared: &mut Shared<'_>, read: &mut Read, problems: &mut Vec<Problem>) {
    for (key, value) in root.entries().unwrap_or_default() {
        let (name, place) = (key.text().unwrap_or_default(), place.line(key.line));
        match name {
            "models" => {}
            "macros" => define(value, &mut shared.macros, problems),
            "healthCheckTimeout" => match seconds(value.text().unwrap_or("0")) {
                Ok(timeout) => shared.ready_timeout = Some(timeout),
                Err(why) => read.remarks.push(Remark::new(&place, shown(name, value), why)),
            },
            "globalTTL" => shared.ttl = number(value, name, problems),
            "groups" => shared.room.groups(value, &place),
            "matrix" => shared.room.matrix(value, &place),
            "routing" => shared.room.routing(value, &place, read),
            "hooks" => hooks(value, &place, shared, read, problems),
            _ => {
                let why = instead::of_file(name);
                read.remarks.push(Remark::new(&place, shown(name, value), why));
            }
        }
    }
}

/// Imports what is preloaded; the other hooks have no counterpart.
fn hooks(node: &Node, place: &SourceLocation, shared: &mut Shared<'_>, read: &mut Read, problems: &mut Vec<Problem>) {
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
fn preloaded(models: &[Pair], shared: &mut Shared<'_>, read: &mut Read) {
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

/// Formats a key with its value, if that is text without a secret.
fn shown(name: &str, value: &Node) -> String {
    match value.text() {
        Some(text) if !may_hold_one(name, text) => format!("{name}: {}", text.trim()),
        _ => name.to_owned(),
    }
}

fn define(node: &Node, macros: &mut Macros, problems: &mut Vec<Problem>) {
    let Some(entries) = node.entries() else {
        if !node.is_null() {
            let message = format!("`macros` must be a map, but is {}", node.kind());
            problems.push(Problem::new(node.span.clone(), message, "write one key per macro"));
        }
        return;
    };
    for (key, value) in entries {
        // Structured ones are only used in `metadata`, which is not imported.
        if let (Some(name), Some(text)) = (key.text(), value.text()) {
            macros.define(name, text.trim_end_matches('\n'));
        }
    }
}

fn number(node: &Node, key: &str, problems: &mut Vec<Problem>) -> Option<i64> {
    let number = node.text().and_then(|text| text.parse().ok());
    if number.is_none() && !node.is_null() {
        let message = format!("`{key}` must be a whole number");
        problems.push(Problem::new(node.span.clone(), message, "write a number of seconds"));
    }
    number
}

/// Whether YAML reads it as true.
fn is_true(node: &Node) -> bool {
    node.text().is_some_and(|text| matches!(&*text.to_ascii_lowercase(), "true" | "yes" | "on" | "y"))
}

fn texts(node: &Node, key: &str, problems: &mut Vec<Problem>) -> Vec<String> {
    let one = |item: &Rc<Node>| {
        // Newer files describe an alias by a map.
        item.text().or_else(|| item.get("id")?.text()).map(str::to_owned)
    };
    let items: Option<Vec<String>> = node.items().map(|items| items.iter().map(one).collect()).unwrap_or_default();
    if items.is_none() && !node.is_null() {
        let message = format!("`{key}` must be a list of strings");
        problems.push(Problem::new(node.span.clone(), message, "write one `- text` per line"));
    }
    items.unwrap_or_default()
}

/// Reads one model into `read`.
fn one(
    shared: &Shared<'_>,
    key: &Node,
    node: &Node,
    place: &SourceLocation,
    read: &mut Read,
    problems: &mut Vec<Problem>,
) {
    let (Some(id), place) = (key.text(), place.line(key.line)) else {
        problems.push(Problem::new(key.span.clone(), "a model's name must be a string", "name the model"));
        return;
    };
    if node.entries().is_none() && !node.is_null() {
        let message = format!("the model `{id}` must be a map, but is {}", node.kind());
        problems.push(Problem::new(node.span.clone(), message, "write `cmd:` and its other keys below its name"));
        return;
    }
    let before = problems.len();
    match model(shared, id, node, &place, problems) {
        Ok(model) if problems.len() == before => read.models.push(model),
        Ok(_) => {}
        Err(why) => read.left_out.push(LeftOut::new(id, place, why)),
    }
}

fn model(
    shared: &Shared<'_>,
    id: &str,
    node: &Node,
    place: &SourceLocation,
    problems: &mut Vec<Problem>,
) -> Result<Model, Reason> {
    let mut macros = shared.macros.clone();
    if let Some(own) = node.get("macros") {
        define(own, &mut macros, problems);
    }
    macros.define("MODEL_ID", id);
    let is_preloaded = shared.preload.iter().any(|(preloaded, _)| preloaded == id);
    let state = if is_preloaded { DesiredState::Running } else { DesiredState::OnDemand };
    let mut model = Model::new(id, place.clone(), state);
    model.ready_timeout = shared.ready_timeout.filter(|seconds| *seconds > 0);
    let mut ttl = shared.ttl;
    for (key, value) in node.entries().unwrap_or_default() {
        let place = place.line(key.line);
        let text = || value.text().map(str::to_owned);
        match key.text().unwrap_or_default() {
            "cmd" | "macros" | "proxy" | "env" => {}
            "name" => label(&mut model, text()),
            "description" => model.description = text(),
            "aliases" => texts(value, "aliases", problems).iter().for_each(|alias| model.alias(alias)),
            "unlisted" => model.unlisted = is_true(value),
            "concurrencyLimit" => limit(&mut model, value, &place, problems),
            "filters" => filters(&mut model, value, &place, &macros)?,
            "ttl" => ttl = number(value, "ttl", problems).filter(|ttl| *ttl >= 0).or(ttl),
            "checkEndpoint" if value.text() == Some("/health") => {}
            "checkEndpoint" => {
                model.remark(&place, shown("checkEndpoint", value), Why::NoCounterpart("herdsman checks `/health`"))
            }
            name => model.remark(&place, shown(name, value), instead::of_model(name)),
        }
    }
    let reading = Reading { options: shared.options, variable: shared.variable, place };
    if let Some(env) = node.get("env") {
        for entry in texts(env, "env", problems) {
            let entry = macros.expand(&entry)?;
            let (name, value) = entry.split_once('=').unwrap_or((&entry, ""));
            reading.variable(shared.options, &mut model, name, value, &place.line(env.line))?;
        }
    }
    let command = node.get("cmd");
    let text = command.and_then(|cmd| cmd.text()).filter(|cmd| !cmd.trim().is_empty()).ok_or(Reason::NoCommand)?;
    reading.read(&mut model, &macros.expand(text)?)?;
    open_host(&mut model, place);
    idle(&mut model, ttl, place);
    if let Some(proxy) = node.get("proxy")
        && !proxy.text().is_some_and(|url| leads_here(url, model.port))
    {
        model.remark(&place.line(proxy.line), shown("proxy", proxy), Why::NoCounterpart(instead::ADDRESS));
    }
    Ok(model)
}

/// A display name becomes a label: `description` is another key of llama-swap.
fn label(model: &mut Model, name: Option<String>) {
    if let Some(name) = name {
        model.labels.insert("display_name".to_owned(), name);
    }
}

/// Whether a proxy's address is the one that the server on `port` has anyway.
fn leads_here(url: &str, port: Option<u16>) -> bool {
    let address = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    match address.rsplit_once(':') {
        Some((host, PORT)) => matches!(host, "localhost" | "127.0.0.1" | "0.0.0.0"),
        Some((_, stated)) => port.is_some_and(|port| stated == port.to_string()),
        None => false,
    }
}

/// A server that llama-swap starts needs no address for others: clients ask llama-swap.
/// Here it would answer them without the gateway's keys.
fn open_host(model: &mut Model, place: &SourceLocation) {
    let Some(host) = model.host.clone() else { return };
    let is_loopback = host.parse::<IpAddr>().map_or(host == "localhost", |ip| ip.is_loopback());
    if !is_loopback && !host.contains('/') {
        model.remark(place, format!("--host {host}"), Why::Check(instead::OPEN_HOST.to_owned()));
    }
}

/// `ttl` stops a model that had no request for so many seconds; 0 is never.
fn idle(model: &mut Model, ttl: Option<i64>, place: &SourceLocation) {
    let ttl = ttl.unwrap_or_default();
    model.stop_after = match seconds(&ttl.to_string()) {
        Ok(ttl) => Some(ttl),
        Err(why) => {
            model.remark(place, format!("ttl: {ttl}"), why);
            Some(0)
        }
    };
}

/// `concurrencyLimit`; 0 is llama-swap's own limit.
fn limit(model: &mut Model, value: &Node, place: &SourceLocation, problems: &mut Vec<Problem>) {
    let Some(stated) = number(value, "concurrencyLimit", problems).filter(|limit| *limit > 0) else { return };
    model.max_in_flight = u32::try_from(stated).ok();
    let became = "becomes `max_in_flight`: further requests wait, rather than fail with 429";
    model.remark(place, format!("concurrencyLimit: {stated}"), Why::Became(became.to_owned()));
}

/// llama-swap rewrites requests; herdsman does not. The names that it rewrites by
/// still reach the model.
fn filters(model: &mut Model, node: &Node, place: &SourceLocation, macros: &Macros) -> Result<(), Reason> {
    for (key, value) in node.entries().unwrap_or_default() {
        let name = key.text().unwrap_or_default();
        if name == "setParamsByID" {
            for (id, _) in value.entries().unwrap_or_default() {
                model.alias(&macros.expand(id.text().unwrap_or_default())?);
            }
        }
        let why = "herdsman passes requests on unchanged; `[parameters]` sets what a request leaves out";
        model.remark(&place.line(key.line), shown(&format!("filters.{name}"), value), Why::BadValue(why.to_owned()));
    }
    Ok(())
}
