//! The routes of llama-swap that scripts and widgets use.

use hyper::StatusCode;
use serde_json::json;

use super::answers::{json, not_admin, text};
use super::{models, router};
use crate::serve::access::Caller;
use crate::serve::body::Answer;
use crate::serve::gateway::{Gateway, Standing};

/// `GET /running`: the models that run, in order of name. Their command lines are for
/// who may change them.
pub(super) fn running(gateway: &Gateway, caller: &Caller) -> Answer {
    let routes = gateway.routes();
    // Those that lists do not show run all the same.
    let usable = routes.all().filter(|route| caller.may_use(&route.model));
    let running: Vec<_> = usable
        .filter_map(|route| {
            let about = &route.about;
            let (state, url) = match &route.standing {
                Standing::Ready(backend) => ("ready", backend.address.url().unwrap_or_default()),
                // Whatever comes after that.
                _ if about.is_stopping => ("stopping", String::new()),
                Standing::Coming => ("starting", String::new()),
                Standing::OnDemand | Standing::Unavailable(_) => return None,
            };
            Some(json!({
                "model": route.model,
                "state": state,
                "cmd": if caller.admin { joined(&about.command) } else { String::new() },
                "proxy": url,
                "ttl": about.ttl,
                "name": route.model,
                "description": about.description.as_deref().unwrap_or_default(),
            }))
        })
        .collect();
    json(StatusCode::OK, &json!({"running": running}))
}

/// Writes a command line as a shell reads it.
fn joined(command: &[String]) -> String {
    shlex::try_join(command.iter().map(String::as_str)).unwrap_or_default()
}

/// Unloads every on-demand model that runs; the others run on.
/// Returns `done`, or why not.
pub(super) fn unload_all(gateway: &Gateway, caller: &Caller, done: Answer) -> Answer {
    if !caller.admin {
        return not_admin();
    }
    for route in gateway.routes().all() {
        if caller.may_use(&route.model) && route.unloads() && router::is_wanted(gateway, route) {
            gateway.unload(&route.model);
        }
    }
    done
}

/// `POST /api/models/unload/NAME`. A model that does not run is as it should be.
pub(super) fn unload(gateway: &Gateway, caller: &Caller, name: &str) -> Answer {
    let routes = gateway.routes();
    let Some(route) = models::find(&routes, caller, name) else {
        return text(StatusCode::NOT_FOUND, "model not found");
    };
    if !caller.admin {
        return not_admin();
    }
    if router::is_wanted(gateway, route) {
        if !route.unloads() {
            return text(StatusCode::BAD_REQUEST, router::runs_for_good(&route.model));
        }
        gateway.unload(&route.model);
    }
    text(StatusCode::OK, "OK")
}
