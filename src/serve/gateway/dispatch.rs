//! A request of the gateway, on one screen: for which model, and where it goes.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{LOCATION, SEC_WEBSOCKET_VERSION};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use percent_encoding::percent_decode_str;

use super::errors::{Error, MODEL_MISSING, Shape};
use super::forward::{self, Outgoing};
use super::naming::Spool;
use super::own::{self, Own};
use super::record::{End, Record};
use super::routes::Route;
use super::tunnel::Upgrade;
use super::{Gateway, headers, naming};
use crate::serve::access::Caller;
use crate::serve::access::passed_on::Arrived;
use crate::serve::body::{Answer, empty};

/// Answers a request that is for the gateway: itself, or by forwarding it.
pub async fn answer(
    gateway: &Gateway,
    spool: &Spool,
    caller: &Caller,
    mut parts: Parts,
    body: Incoming,
    upgrade: OnUpgrade,
    mut record: Record,
) -> Answer {
    let body = match own::answer(gateway, caller, &mut parts, body).await {
        Own::Answer(answer) => return record.answers(answer),
        Own::To(lease, body) => return forward::to_holder(gateway, spool, lease, &parts, body, record).await,
        Own::NotOurs(body) => body,
    };
    let knows = |name: &str| gateway.routes().find(name).is_some_and(|route| caller.may_use(&route.model));
    let target = match Target::of(&parts, knows) {
        Ok(target) => target,
        Err(answer) => {
            record.answered(answer.status().as_u16());
            record.ends(End::Complete);
            return *answer;
        }
    };
    let shape = Shape::of(&target.path);
    let outgoing: Result<Outgoing, Error> = async {
        let settings = Arc::clone(&gateway.settings());
        let mut named = match target.model {
            None => naming::name(&parts, body, &settings, spool).await?,
            Some(_) => naming::as_it_is(&parts, body, &settings, spool)?,
        };
        // Without its query.
        let below = target.model.as_ref().map(|_| target.path.split('?').next().unwrap_or_default());
        let uses = own::uses(&parts, below);
        let asked = target.model.or(named.model.take());
        let (asked, route) = match find(gateway, caller, asked) {
            Err(error) if error.code == Some(MODEL_MISSING) => {
                return Err(named.flaw().await.map_or(error, |flaw| Error::not_json(&flaw)));
            }
            found => found?,
        };
        record.model(&route.model);
        Ok(Outgoing {
            model: route.model.clone(),
            asked,
            uses,
            path: target.path,
            shape,
            expects_events: named.streams || headers::accepts_events(&parts),
            named,
            upgrade: Upgrade::of(upgrade, &parts),
            parts,
        })
    }
    .await;
    let failed = match outgoing {
        Ok(outgoing) => return forward::answer(gateway, outgoing, record).await,
        Err(error) => error,
    };
    record.answered(failed.status.as_u16());
    record.ends(End::Complete);
    failed.answer(shape)
}

/// Waits for the first pass, as long as for a model: before it no model is known, and
/// each would seem to be missing.
pub(in crate::serve) async fn models_are_known(gateway: &Gateway, parts: &Parts) -> Result<(), Error> {
    if gateway.routes().are_known() || parts.uri.path() == "/health" {
        return Ok(());
    }
    let known = gateway.known_routes();
    let Some(hold) = gateway.settings().hold else {
        known.await;
        return Ok(());
    };
    let arrived = parts.extensions.get().map_or_else(Instant::now, |Arrived(at)| *at);
    let waited = tokio::time::timeout_at((arrived + hold).into(), known).await;
    waited.map(drop).map_err(|_| Error::no_models_yet())
}

/// Where a request points to.
struct Target {
    /// The model that the path names.
    model: Option<String>,
    /// The path and query below an instance's root, as the client sent them.
    path: String,
}

impl Target {
    /// Reads `/upstream/NAME/…`; every other path is for the instance as it is. A name
    /// may hold slashes, as they are or as `%2F`: the longest one that is known counts.
    fn of(parts: &Parts, knows: impl Fn(&str) -> bool) -> Result<Self, Box<Answer>> {
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        if !path.starts_with('/') {
            return Err(Box::new(Error::invalid("the request names no path").answer(Shape::OpenAi)));
        }
        let Some(rest) = path.strip_prefix("/upstream/") else {
            let is_api = path.starts_with("/v1/") && headers::asks_for_upgrade(parts);
            return if is_api {
                Err(Box::new(no_web_sockets()))
            } else {
                Ok(Self { model: None, path: path.to_owned() })
            };
        };
        let end = rest.find('?').unwrap_or(rest.len());
        let ends = rest[..end].match_indices('/').map(|(at, _)| at).chain([end]);
        let mut names = ends.take_while(|at| *at <= LONGEST_NAME).map(|at| (decoded(&rest[..at]), at));
        let first = names.next().unwrap_or_else(|| (decoded(&rest[..end]), end));
        let longest = names.filter(|(name, _)| knows(name)).last();
        let (name, at) = longest.unwrap_or(first);
        let below = &rest[at..];
        if !below.starts_with('/') {
            return Err(Box::new(moved(&format!("/upstream/{}/{below}", &rest[..at]))));
        }
        Ok(Self { model: Some(name), path: below.to_owned() })
    }
}

/// The longest name with slashes that a path is searched for, bytes as they are sent.
const LONGEST_NAME: usize = 1024;

fn decoded(name: &str) -> String {
    percent_decode_str(name).decode_utf8_lossy().into_owned()
}

/// Returns the model that is meant by `asked`, and what the client calls it. A default
/// that the caller may not use is none for it.
fn find(gateway: &Gateway, caller: &Caller, asked: Option<String>) -> Result<(String, Arc<Route>), Error> {
    let routes = gateway.routes();
    let usable = || routes.all().filter(|route| caller.may_use(&route.model));
    // One that is not listed can be used by its name, and nobody learns the name here.
    let listed = || usable().filter(|route| route.listed);
    let is_theirs = |name: &String| match routes.find(name) {
        Some(route) => caller.may_use(&route.model),
        // A mistake in the settings is their owner's to see.
        None => caller.admin,
    };
    let default = || gateway.settings().default_model.clone().filter(is_theirs);
    let Some(asked) = asked.or_else(default) else {
        let Some(only) = only(listed()).or_else(|| only(usable())) else {
            return Err(Error::invalid(
                "the request names no model; add \"model\" to its body, or set `default_model` under `[serve]`",
            )
            .with_code(MODEL_MISSING));
        };
        return Ok((only.model.to_string(), Arc::clone(only)));
    };
    match routes.find(&asked).filter(|route| caller.may_use(&route.model)) {
        Some(route) => Ok((asked, Arc::clone(route))),
        None => Err(Error::unknown(&asked, own::models::names(&routes, caller))),
    }
}

/// Returns the only one of them; `None`: there are none, or several.
fn only<T>(mut of: impl Iterator<Item = T>) -> Option<T> {
    let first = of.next()?;
    of.next().is_none().then_some(first)
}

/// A page's relative links need the slash at the end of its address.
fn moved(to: &str) -> Answer {
    let mut answer = Response::new(empty());
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    match to.parse() {
        Ok(location) => drop(answer.headers_mut().insert(LOCATION, location)),
        Err(_) => *answer.status_mut() = StatusCode::NOT_FOUND,
    }
    answer
}

/// The API has none, and a client that waits for one should not wait for a model.
fn no_web_sockets() -> Answer {
    let message = "this path does not speak web socket; send an HTTP request";
    let mut answer = Error::new(StatusCode::UPGRADE_REQUIRED, "invalid_request_error", message).answer(Shape::OpenAi);
    answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, 13.into());
    answer
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use hyper::Request;

    use super::super::routes::{About, Routes, Standing};
    use super::*;
    use crate::owner::settings::serve::Serve;
    use crate::sys::runtime::runtime;

    fn route(model: &str) -> Route {
        Route {
            model: model.parse().unwrap(),
            aliases: vec![format!("{model}-alias")],
            listed: true,
            on_demand: false,
            standing: Standing::Coming,
            about: About::default(),
        }
    }

    #[test]
    fn a_model_that_is_not_listed_is_used_by_its_name_and_suggested_to_nobody() {
        let hidden = Route { listed: false, ..route("chat-b") };
        let gateway = Gateway::new(Serve::default(), || {});
        let found = |asked: Option<&str>| match find(&gateway, &Caller::anyone(), asked.map(str::to_owned)) {
            Ok((_, route)) => route.model.to_string(),
            Err(error) => error.message,
        };
        gateway.publish(Routes::new(Instant::now(), vec![route("chat-a"), hidden.clone()]));
        assert_eq!(found(Some("chat-b-alias")), "chat-b");
        assert_eq!(found(Some("chat-c")), "there is no model \"chat-c\"; did you mean chat-a?");
        assert_eq!(found(None), "chat-a", "the only one that a client sees");
        gateway.publish(Routes::new(Instant::now(), vec![hidden.clone()]));
        assert_eq!(found(None), "chat-b");
        gateway.publish(Routes::new(Instant::now(), vec![hidden, Route { listed: false, ..route("chat-d") }]));
        assert!(found(None).starts_with("the request names no model"));
    }

    #[test]
    fn a_request_that_waited_elsewhere_waits_for_the_first_pass_no_longer_than_others() {
        let hold = Duration::from_secs(60);
        let gateway = Gateway::new(Serve { hold: Some(hold), ..Serve::default() }, || {});
        let mut parts = Request::builder().uri("/v1/models").body(()).unwrap().into_parts().0;
        parts.extensions.insert(Arrived(Instant::now().checked_sub(hold).unwrap()));
        let known = runtime().unwrap().block_on(async {
            tokio::time::timeout(Duration::from_secs(10), models_are_known(&gateway, &parts)).await
        });
        assert_eq!(known.unwrap().unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn a_key_does_not_learn_of_a_default_that_it_may_not_use() {
        let gateway = |default: &str| {
            let default_model = Some(default.to_owned());
            let gateway = Gateway::new(Serve { default_model, ..Serve::default() }, || {});
            gateway.publish(Routes::new(Instant::now(), ["chat-a", "chat-b", "secret"].map(route).into()));
            gateway
        };
        let keyed =
            |models: &str| Caller { name: Some("ann".into()), models: [models.to_owned()].into(), admin: false };
        let found = |default: &str, caller: &Caller| match find(&gateway(default), caller, None) {
            Ok((_, route)) => route.model.to_string(),
            Err(error) => error.message,
        };
        let missing = "the request names no model; add \"model\" to its body, or set `default_model` under `[serve]`";
        for default in ["secret", "secret-alias", "gone"] {
            assert_eq!(found(default, &keyed("chat-*")), missing, "{default}");
            assert_eq!(found(default, &keyed("chat-a")), "chat-a", "the only one of this key");
        }
        assert_eq!(found("chat-b-alias", &keyed("chat-*")), "chat-b");
        assert_eq!(found("secret", &Caller::anyone()), "secret");
        assert_eq!(found("gone", &Caller::anyone()), "there is no model \"gone\"; GET /v1/models lists the models");
    }

    #[test]
    fn a_key_is_for_names_of_models_and_an_alias_stands_for_one() {
        let gateway = Gateway::new(Serve::default(), || {});
        gateway.publish(Routes::new(Instant::now(), ["chat-a", "chat-b"].map(route).into()));
        let found = |pattern: &str, asked: &str| {
            let caller = Caller { name: Some("ann".into()), models: [pattern.to_owned()].into(), admin: false };
            find(&gateway, &caller, Some(asked.to_owned())).map(|(_, route)| route.model.to_string()).ok()
        };
        assert_eq!(found("chat-a", "chat-a-alias").as_deref(), Some("chat-a"));
        assert_eq!(found("chat-a", "chat-b-alias"), None);
        assert_eq!(found("chat-a-alias", "chat-a-alias"), None, "the pattern names no model");
    }

    #[test]
    fn the_longest_known_name_after_upstream_is_the_model() {
        let read = |uri: &str| {
            let parts = Request::builder().uri(uri).body(()).unwrap().into_parts().0;
            match Target::of(&parts, |name| ["a", "org/model", "org/model/big"].contains(&name)) {
                Ok(Target { model, path }) => format!("{} {path}", model.unwrap_or_default()),
                Err(answer) => format!("to {}", answer.headers()[LOCATION].to_str().unwrap()),
            }
        };
        let cases = [
            ("/v1/models?model=a/b", " /v1/models?model=a/b"),
            ("/upstream/a/", "a /"),
            ("/upstream/a/x/y?q=/z", "a /x/y?q=/z"),
            ("/upstream/a?q=/z", "to /upstream/a/?q=/z"),
            ("/upstream/org/model/props", "org/model /props"),
            ("/upstream/org%2Fmodel/props", "org/model /props"),
            ("/upstream/org/model/big/%2F", "org/model/big /%2F"),
            ("/upstream/org/model", "to /upstream/org/model/"),
            ("/upstream/org%2fmodel", "to /upstream/org%2fmodel/"),
            ("/upstream/none/of/them", "none /of/them"),
            ("/upstream/none", "to /upstream/none/"),
        ];
        for (uri, expected) in cases {
            assert_eq!(read(uri), expected, "{uri}");
        }
    }
}
