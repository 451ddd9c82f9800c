//! `GET /v1/models`: the lists of OpenAI, of llama-server's router and of
//! llama-swap in one.

use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::answers::json;
use super::meta::Meta;
use crate::serve::access::Caller;
use crate::serve::body::Answer;
use crate::serve::gateway::Gateway;
use crate::serve::gateway::errors::{Error, Shape};
use crate::serve::gateway::routes::{Route, Routes, Standing};

/// One entry.
#[derive(Serialize)]
pub(super) struct Entry<'r> {
    id: &'r str,
    aliases: &'r [String],
    tags: [&'r str; 0],
    object: &'static str,
    owned_by: &'static str,
    created: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'r str>,
    status: Status<'r>,
    architecture: Architecture,
    source: &'static str,
    can_remove: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<Meta>,
}

#[derive(Serialize)]
struct Status<'r> {
    value: &'static str,
    args: &'r [String],
    preset: String,
}

#[derive(Serialize)]
struct Architecture {
    input_modalities: Vec<&'static str>,
    output_modalities: [&'static str; 1],
}

/// Answers with every model that the caller may use and lists show, in order of name.
pub(super) fn list(gateway: &Gateway, caller: &Caller) -> Answer {
    let routes = gateway.routes();
    let entries: Vec<_> = visible(&routes, caller).map(|route| entry(gateway, caller, route)).collect();
    json(StatusCode::OK, &json!({"object": "list", "data": entries}))
}

/// Answers with one model, by name or alias; lists need not show it.
pub(super) fn one(gateway: &Gateway, caller: &Caller, name: &str) -> Answer {
    let routes = gateway.routes();
    match find(&routes, caller, name) {
        Some(route) => json(StatusCode::OK, &entry(gateway, caller, route)),
        None => Error::unknown(name, names(&routes, caller)).answer(Shape::OpenAi),
    }
}

/// Returns the models that the caller may use and lists show, in order of name.
pub(super) fn visible<'r>(routes: &'r Routes, caller: &Caller) -> impl Iterator<Item = &'r Route> {
    routes.all().map(AsRef::as_ref).filter(|route| route.listed && caller.may_use(&route.model))
}

/// Returns the model with this name or alias, if the caller may use it.
pub(super) fn find<'r>(routes: &'r Routes, caller: &Caller, name: &str) -> Option<&'r Route> {
    routes.find(name).map(AsRef::as_ref).filter(|route| caller.may_use(&route.model))
}

/// Returns every name and alias that the caller may use and lists show.
pub(in crate::serve::gateway) fn names<'r>(routes: &'r Routes, caller: &Caller) -> impl Iterator<Item = &'r str> {
    let aliases = |route: &'r Route| route.aliases.iter().map(String::as_str);
    visible(routes, caller).flat_map(move |route| std::iter::once(route.model.as_str()).chain(aliases(route)))
}

/// Returns what lists say about a model. Its command line is for who may change it.
pub(super) fn entry<'r>(gateway: &Gateway, caller: &Caller, route: &'r Route) -> Entry<'r> {
    let about = &route.about;
    let takes_images = about.command.iter().any(|arg| matches!(arg.as_str(), "--mmproj" | "-mm" | "--mmproj-url"));
    let args = if caller.admin { about.command.as_slice() } else { &[] };
    Entry {
        id: route.model.as_str(),
        aliases: &route.aliases,
        tags: [],
        object: "model",
        owned_by: "llamacpp",
        created: about.created,
        description: about.description.as_deref(),
        status: Status { value: status(&route.standing), args, preset: String::new() },
        architecture: Architecture {
            input_modalities: if takes_images { vec!["text", "image"] } else { vec!["text"] },
            output_modalities: ["text"],
        },
        source: "models_dir",
        can_remove: false,
        meta: match &route.standing {
            Standing::Ready(backend) => gateway.0.own.metas.of(&backend.instance),
            _ => None,
        },
    }
}

/// Returns the router's word for where a model stands.
pub(super) const fn status(standing: &Standing) -> &'static str {
    match standing {
        Standing::Ready(_) => "loaded",
        Standing::Coming => "loading",
        Standing::OnDemand | Standing::Unavailable(_) => "unloaded",
    }
}
