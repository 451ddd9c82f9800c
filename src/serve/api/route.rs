//! The paths of the API.

use hyper::Method;
use percent_encoding::percent_decode_str;

/// What a request asks for. A key is a name or an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /api/models`
    Models,
    /// `GET /api/models/{key}`
    Model(String),
    /// `POST /api/models/{key}/{command}`
    Command(String, Verb),
    /// `GET /api/models/{key}/why`
    Why(String),
    /// `GET /api/models/{key}/history`
    History(String),
    /// `GET /api/models/{key}/logs`
    Logs(String),
    /// `GET /api/plan`
    Plan,
    /// `GET /api/events`
    Events,
    /// `GET /api/machine`
    Machine,
    /// `GET /api/activity`
    Activity,
    /// `GET /api/definitions`
    Definitions,
    /// `GET /api/definitions/{file}`
    Definition(String),
    /// `PUT /api/definitions/{file}`
    WriteDefinition(String),
    /// `DELETE /api/definitions/{file}`
    DeleteDefinition(String),
    /// `POST /api/reconcile`
    Reconcile,
    /// `GET /api/openapi.json`
    Description,
}

/// How many different things can be asked: each verb is one.
#[cfg(test)]
pub(super) const COUNT: usize = 15 + Verb::ALL.len();

#[cfg(test)]
impl Route {
    /// Numbers what can be asked, so that a test finds what is missing elsewhere.
    pub(super) fn number(&self) -> usize {
        match self {
            Self::Models => 0,
            Self::Model(_) => 1,
            Self::Why(_) => 2,
            Self::History(_) => 3,
            Self::Logs(_) => 4,
            Self::Plan => 5,
            Self::Events => 6,
            Self::Machine => 7,
            Self::Activity => 8,
            Self::Description => 9,
            Self::Definitions => 10,
            Self::Definition(_) => 11,
            Self::WriteDefinition(_) => 12,
            Self::DeleteDefinition(_) => 13,
            Self::Reconcile => 14,
            Self::Command(_, verb) => 15 + *verb as usize,
        }
    }
}

/// What to do with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Run it.
    Start,
    /// Stop it.
    Stop,
    /// Replace its server.
    Restart,
    /// Leave it alone.
    Suspend,
    /// Follow its definition again.
    Resume,
}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// This.
    Route(Route),
    /// Something, but not for this method; for these.
    WrongMethod(&'static str),
    /// Nothing.
    Nothing,
    /// It is not below `/api`, or llama-swap's.
    NotOurs,
}

/// The methods of what can only be read.
const READ: &str = "GET, HEAD";

/// Returns what a request asks for.
#[must_use]
pub fn find(method: &Method, path: &str) -> Found {
    let Some(below) = path.strip_prefix("/api").filter(|below| below.is_empty() || below.starts_with('/')) else {
        return Found::NotOurs;
    };
    let segments: Vec<&str> = below.split('/').skip(1).collect();
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (route, allowed) = match *segments.as_slice() {
        // llama-swap's: see `gateway::own`.
        ["models", "unload", ..] => return Found::NotOurs,
        ["models"] => (Route::Models, READ),
        ["plan"] => (Route::Plan, READ),
        ["events"] => (Route::Events, READ),
        ["machine"] => (Route::Machine, READ),
        ["definitions"] => (Route::Definitions, READ),
        ["definitions", file] if !file.is_empty() => (definition(method, decoded(file)), "GET, HEAD, PUT, DELETE"),
        ["reconcile"] => (Route::Reconcile, "POST"),
        ["openapi.json"] => (Route::Description, READ),
        ["activity"] => (Route::Activity, READ),
        ["models", key] if !key.is_empty() => (Route::Model(decoded(key)), READ),
        ["models", key, "why"] => (Route::Why(decoded(key)), READ),
        ["models", key, "history"] => (Route::History(decoded(key)), READ),
        ["models", key, "logs"] => (Route::Logs(decoded(key)), READ),
        ["models", key, verb] => match Verb::of(verb) {
            Some(verb) => (Route::Command(decoded(key), verb), "POST"),
            None => return Found::Nothing,
        },
        _ => return Found::Nothing,
    };
    if allowed.split(", ").any(|allowed| allowed == method.as_str()) {
        Found::Route(route)
    } else {
        Found::WrongMethod(allowed)
    }
}

fn definition(method: &Method, file: String) -> Route {
    match *method {
        Method::PUT => Route::WriteDefinition(file),
        Method::DELETE => Route::DeleteDefinition(file),
        _ => Route::Definition(file),
    }
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 5] = [Self::Start, Self::Stop, Self::Restart, Self::Suspend, Self::Resume];

    /// Returns the word in the path.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
        }
    }

    fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_for_its_methods() {
        let found = |method: &str, path: &str| find(&method.parse().unwrap_or(Method::GET), path);
        let at = |route| Found::Route(route);
        let cases = [
            ("GET", "/api/models", at(Route::Models)),
            ("HEAD", "/api/models/a%20b", at(Route::Model("a b".into()))),
            ("POST", "/api/models/7/start", at(Route::Command("7".into(), Verb::Start))),
            ("GET", "/api/models/a/why", at(Route::Why("a".into()))),
            ("GET", "/api/models/a/start", Found::WrongMethod("POST")),
            ("POST", "/api/models", Found::WrongMethod("GET, HEAD")),
            ("POST", "/api/models/unload/a", Found::NotOurs),
            ("GET", "/api/models/", Found::Nothing),
            ("GET", "/api/models/a/b", Found::Nothing),
            ("GET", "/api", Found::Nothing),
            ("GET", "/apis", Found::NotOurs),
            ("GET", "/v1/models", Found::NotOurs),
        ];
        for (method, path, expected) in cases {
            assert_eq!(found(method, path), expected, "{method} {path}");
        }
    }
}
