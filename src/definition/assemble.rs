//! One definition file, from its text to a [`Definition`]: what it sets, what the
//! defaults add, and what the disk says about the files it names.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::Knowledge;
use super::defaults::{Binding, Bindings, Defaults, FILE_NAME};
use super::draft::{self, Common, Draft, FileKind};
use super::files::FileCache;
use super::groups::{self, Groups};
use super::host;
use super::names::Names;
use super::options::{self, Options};
use super::outcome::{Claim, Claims, Outcome};
use super::paths;
use super::secret::SecretCache;
use super::source::Source;
use super::syntax;
use super::value::{Chosen, Located, Reader};
use crate::model::{
    Definition, Diagnostic, IdlePolicy, Memo, ModelName, Origin, Placement, ReadyPolicy, ServePolicy, Spec, Table,
    Unresolved, Unusable, UpdatePolicy,
};

/// What all definitions of a directory share.
pub(super) struct Context<'a> {
    /// The directory, which paths are relative to.
    pub base: &'a str,
    pub defaults: Option<&'a Defaults<'a, 'a>>,
    /// Whether the defaults file itself has errors.
    pub defaults_broken: bool,
    pub groups: &'a Groups,
    pub bindings: &'a Bindings<'a>,
    pub files: &'a FileCache,
    pub secrets: &'a SecretCache,
}

/// Returns the outcome of a file that is unusable for a reason other than its keys.
pub(super) fn unreadable(path: Arc<str>, file: Arc<str>, stem: &str, problem: &Diagnostic) -> Outcome {
    let name = ModelName::parse(stem).ok();
    let mut claims = Claims::default();
    claims.add(name.iter().map(|name| (Claim::Served(name.shared()), 0)));
    Outcome::Bad(Unresolved { path, file, name, problem: problem.message.clone(), llama_server: None }, claims)
}

/// Reads a definition; `stem` is its file name without `.toml`.
pub(super) fn definition(
    context: &Context<'_>,
    source: &Source<'_>,
    stem: &str,
    names: &mut Names,
) -> (Outcome, Vec<Diagnostic>) {
    let (table, errors) = DeTable::parse_recoverable(source.text);
    let table = table.get_ref();
    let mut reader = Reader::new(source, names);
    if !errors.is_empty() {
        reader.problems = syntax::problems(source, table, &errors);
        let draft = Draft { name: readable_name(&reader, table), ..Draft::default() };
        return (bad(source, &draft, stem, first(&reader.problems)), reader.problems);
    }
    let binding = context.bindings.of(binary(context, table).as_deref());
    let draft = draft::read(&mut reader, table, FileKind::Definition, &binding.catalogue, context.base);
    let mut stated = match &binding.knowledge {
        // Its options stay unread until its llama-server answers; the rest is read.
        Knowledge::Awaited(_) => Options::default(),
        knowledge => options::read(&mut reader, &draft, knowledge, context.base),
    };
    let weights = options::weights(&mut reader, &draft.weights, &binding.catalogue, context.base);
    let name = name(&mut reader, table, &draft, stem);
    socket_without_port(&mut reader, context, &draft);
    context.groups.check(&mut reader, draft.common.groups.as_ref());
    reader.problems.sort_by_key(|problem| problem.snippet.as_ref().map(|(_, span)| span.start));

    let (Some(name), Some((key, weights)), true) = (name, weights, !reader.has_errors()) else {
        return (bad(source, &draft, stem, first(&reader.problems)), reader.problems);
    };
    if let Some(shared) = broken(context, &binding, &draft) {
        let problem = format!("{shared} in the same directory has errors");
        return (bad(source, &draft, stem, problem), reader.problems);
    }
    if let Some(unusable) = binding.awaits(!reader.unchecked.is_empty()) {
        let outcome = bad(source, &draft, stem, unusable.problem.clone());
        return (awaiting(outcome, unusable), reader.problems);
    }
    let unchecked = std::mem::take(&mut reader.unchecked);
    reader.problems.extend(unchecked);
    stated.settings.insert(reader.names.shared(key), weights);
    stated.settings.add_missing(&binding.defaults.settings);
    stated.env.add_missing(&binding.defaults.env);
    let definition = build(context, &mut reader, name, draft, stated);
    (Outcome::Good(Arc::new(definition)), reader.problems)
}

/// Finds the llama-server this file runs on, before the rest of it is read.
fn binary(context: &Context<'_>, table: &DeTable<'_>) -> Option<String> {
    match table.get("binary").and_then(|value| value.get_ref().as_str()) {
        Some(text) if text.contains('/') => Some(paths::resolve(context.base, text)),
        Some(text) => Some(text.to_owned()),
        None => context.bindings.default_binary().map(str::to_owned),
    }
}

fn readable_name(reader: &Reader<'_, '_>, table: &DeTable<'_>) -> Option<Located<ModelName>> {
    let value = table.get("name")?;
    let DeValue::String(text) = value.get_ref() else { return None };
    Some(reader.located(ModelName::parse(text).ok()?, value.span()))
}

fn name(reader: &mut Reader<'_, '_>, table: &DeTable<'_>, draft: &Draft<'_, '_>, stem: &str) -> Option<ModelName> {
    if table.contains_key("name") {
        return draft.name.as_ref().map(|stated| stated.value.clone());
    }
    match ModelName::parse(stem) {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("the file name {stem:?} is not a valid model name: {error}");
            let problem = Diagnostic::error(Arc::clone(&reader.source.file), message);
            reader.problems.push(problem.help("rename the file, or set `name = \"…\"` in it"));
            None
        }
    }
}

/// Reports a port beside a unix socket, which has none.
fn socket_without_port(reader: &mut Reader<'_, '_>, context: &Context<'_>, draft: &Draft<'_, '_>) {
    let default = context.defaults.and_then(|defaults| defaults.draft.common.host.as_ref());
    let Some(host) = draft.common.host.as_ref().or(default) else { return };
    if let Some(port) = draft.port.as_ref().filter(|_| host.value.contains('/')) {
        let message = format!("`port` is set, but the server listens on the unix socket {}", host.value);
        let help = format!("remove `port`, or set `host` to an address ({} sets it to a socket)", host.origin);
        reader.problem(port.span.clone(), message, "", help);
    }
}

/// The broken file of the directory that this definition depends on, if any.
fn broken(context: &Context<'_>, binding: &Binding, draft: &Draft<'_, '_>) -> Option<&'static str> {
    if context.defaults_broken || binding.is_broken() {
        return Some(FILE_NAME);
    }
    let default = || context.defaults?.draft.common.groups.as_ref();
    let named = draft.common.groups.as_ref().or_else(default);
    let is_member = named.is_some_and(|named| !named.value.is_empty());
    (is_member && context.groups.is_broken).then_some(groups::FILE_NAME)
}

/// The first error, in short.
fn first(problems: &[Diagnostic]) -> String {
    problems.iter().find(|problem| problem.is_error()).map(|problem| problem.message.clone()).unwrap_or_default()
}

fn bad(source: &Source<'_>, draft: &Draft<'_, '_>, stem: &str, problem: String) -> Outcome {
    let line = |stated: &Origin| stated.line;
    let mut claims = Claims::default();
    let name = draft.name.as_ref().map(|stated| (stated.value.clone(), line(&stated.origin)));
    let name = name.or_else(|| Some((ModelName::parse(stem).ok()?, 0)));
    claims.add(name.iter().map(|(name, line)| (Claim::Served(name.shared()), *line)));
    claims.add(draft.port.iter().map(|port| (Claim::Port(port.value), line(&port.origin))));
    let socket = draft.common.host.iter().filter(|host| host.value.contains('/'));
    claims.add(socket.map(|host| (Claim::Socket(host.value.as_str().into()), line(&host.origin))));
    if let Some(aliases) = &draft.aliases {
        claims.add(aliases.value.iter().map(|alias| (Claim::Served(alias.as_str().into()), line(&aliases.origin))));
    }
    let (path, file) = (Arc::clone(&source.path), Arc::clone(&source.file));
    let name = name.map(|(name, _)| name);
    Outcome::Bad(Unresolved { path, file, name, problem, llama_server: None }, claims)
}

/// Marks a file that waits only for its llama-server's answer.
fn awaiting(outcome: Outcome, unusable: &Unusable) -> Outcome {
    match outcome {
        Outcome::Bad(unresolved, claims) => {
            Outcome::Bad(Unresolved { llama_server: Some(unusable.clone()), ..unresolved }, claims)
        }
        good @ Outcome::Good(_) => good,
    }
}

/// Fills in from the defaults what a definition does not set.
fn merge_common(mut stated: Common, defaults: &Common) -> Common {
    // Destructured, so that a new key does not compile until it is merged.
    let Common {
        model_type,
        state,
        host,
        binary,
        description,
        labels,
        secrets,
        timeout,
        unhealthy_after,
        require_gpu,
        drain,
        on_failure,
        groups,
        priority,
        evict,
        stop_after,
        listed,
        max_in_flight,
    } = defaults;
    stated.labels.add_missing(labels);
    stated.secrets.add_missing(secrets);
    Common {
        model_type: stated.model_type.or_else(|| model_type.clone()),
        state: stated.state.or_else(|| state.clone()),
        host: stated.host.or_else(|| host.clone()),
        binary: stated.binary.or_else(|| binary.clone()),
        description: stated.description.or_else(|| description.clone()),
        timeout: stated.timeout.or_else(|| timeout.clone()),
        unhealthy_after: stated.unhealthy_after.or_else(|| unhealthy_after.clone()),
        require_gpu: stated.require_gpu.or_else(|| require_gpu.clone()),
        drain: stated.drain.or_else(|| drain.clone()),
        on_failure: stated.on_failure.or_else(|| on_failure.clone()),
        groups: stated.groups.or_else(|| groups.clone()),
        priority: stated.priority.or_else(|| priority.clone()),
        evict: stated.evict.or_else(|| evict.clone()),
        stop_after: stated.stop_after.or_else(|| stop_after.clone()),
        listed: stated.listed.or_else(|| listed.clone()),
        max_in_flight: stated.max_in_flight.or_else(|| max_in_flight.clone()),
        labels: stated.labels,
        secrets: stated.secrets,
    }
}

/// Collects the values of a definition, and where each came from.
struct Origins<'n> {
    table: Table<Arc<str>, Origin>,
    names: &'n mut Names,
}

impl Origins<'_> {
    fn note(&mut self, field: &str, origin: Origin) {
        self.table.insert(self.names.shared(field), origin);
    }

    fn take<T>(&mut self, field: &str, stated: Option<Located<T>>) -> Option<T> {
        let Located { value, origin, span: _ } = stated?;
        self.note(field, origin);
        Some(value)
    }
}

fn build(
    context: &Context<'_>,
    reader: &mut Reader<'_, '_>,
    name: ModelName,
    draft: Draft<'_, '_>,
    options: Options,
) -> Definition {
    let common = match context.defaults {
        Some(defaults) => merge_common(draft.common, &defaults.draft.common),
        None => draft.common,
    };
    let source = reader.source;
    let mut origins = Origins { table: Table::default(), names: reader.names };
    origins.take("name", draft.name);
    let mut spec = Spec {
        host: origins.take("host", common.host).unwrap_or_else(|| host::DEFAULT.to_owned()),
        port: origins.take("port", draft.port),
        binary: origins.take("binary", common.binary),
        ..Spec::default()
    };
    for (variable, stated) in common.secrets {
        let secret = context.secrets.reference(&stated.value);
        origins.note(&format!("secrets.{variable}"), stated.origin);
        spec.secrets.insert(variable.into(), secret);
    }
    for (variable, stated) in options.env {
        origins.note(&format!("env.{variable}"), stated.origin);
        spec.env.insert(variable, stated.value);
    }
    let parameters = take_options(context, options.settings, &mut spec, &mut origins);
    let labels_origin = common.labels.values().map(|stated| stated.origin.clone()).min();
    if let Some(origin) = labels_origin {
        origins.note("labels", origin);
    }
    let (ready, update) = (ReadyPolicy::default(), UpdatePolicy::default());
    let (idle, serve) = (IdlePolicy::default(), ServePolicy::default());
    let mut definition = Definition {
        name,
        path: Arc::clone(&source.path),
        file: Arc::clone(&source.file),
        model_type: origins.take("type", common.model_type).unwrap_or_default(),
        state: origins.take("state", common.state).unwrap_or_default(),
        spec,
        parameters,
        aliases: origins.take("aliases", draft.aliases).unwrap_or_default(),
        description: origins.take("description", common.description),
        labels: common.labels.into_iter().map(|(key, stated)| (key, stated.value)).collect(),
        ready: ReadyPolicy {
            timeout: common.timeout.map_or(ready.timeout, |stated| stated.value),
            unhealthy_after: common.unhealthy_after.map_or(ready.unhealthy_after, |stated| stated.value),
            require_gpu: common.require_gpu.map_or(ready.require_gpu, |stated| stated.value),
        },
        update: UpdatePolicy {
            drain: common.drain.map_or(update.drain, |stated| stated.value),
            on_failure: common.on_failure.map_or(update.on_failure, |stated| stated.value),
        },
        idle: IdlePolicy { stop_after: origins.take("idle.stop_after", common.stop_after).unwrap_or(idle.stop_after) },
        placement: Placement {
            groups: origins.take("group", common.groups).map_or_else(Vec::new, groups::Named::into_names),
            priority: origins.take("priority", common.priority).unwrap_or_default(),
            evict: origins.take("evict", common.evict).unwrap_or_default(),
        },
        serve: ServePolicy {
            listed: origins.take("serve.listed", common.listed).unwrap_or(serve.listed),
            max_in_flight: origins.take("serve.max_in_flight", common.max_in_flight).unwrap_or(serve.max_in_flight),
        },
        origins: origins.table,
        spec_hash: Memo::default(),
        former_hash: Memo::default(),
        config_digest: Memo::default(),
    };
    give_back_spare_room(&mut definition);
    definition
}

/// Drops spare capacity: a finished definition never grows, and a watcher keeps
/// thousands.
fn give_back_spare_room(definition: &mut Definition) {
    let Spec { options, env, files, secrets, .. } = &mut definition.spec;
    options.shrink_to_fit();
    env.shrink_to_fit();
    files.shrink_to_fit();
    secrets.shrink_to_fit();
    definition.parameters.shrink_to_fit();
    definition.origins.shrink_to_fit();
}

/// Moves the options into the spec, with the identities of the files they
/// name; returns them as the row's parameters.
fn take_options(
    context: &Context<'_>,
    settings: Table<Arc<str>, Chosen>,
    spec: &mut Spec,
    origins: &mut Origins<'_>,
) -> Table<Arc<str>, serde_json::Value> {
    let mut parameters = Table::default();
    for (key, Chosen { setting, json, files, origin }) in settings {
        if matches!(&*key, "hf_repo" | "model_url") {
            origins.note("model", origin.clone());
        }
        for file in files {
            if let Some(identity) = context.files.identity(&file) {
                spec.files.insert(Arc::clone(&file), identity);
            }
            // Not a shared name: few other definitions use it.
            let field: Arc<str> = format!("file {file}").into();
            if !origins.table.contains_key(&field) {
                origins.table.insert(field, origin.clone());
            }
        }
        origins.table.insert(Arc::clone(&key), origin);
        parameters.insert(Arc::clone(&key), json);
        spec.options.insert(key, setting);
    }
    parameters
}
