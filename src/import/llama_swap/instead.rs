//! Keys of llama-swap without a counterpart, and what to know instead.

use super::super::remark::Why;

/// Keys of the file.
const FILE: [(&str, &str); 19] = [
    ("listen", "`herdsman watch --listen` says where herdsman serves"),
    ("startPort", "herdsman picks ports from `--port-range`"),
    ("profiles", NAMES),
    ("selectors", NAMES),
    ("peers", "herdsman serves only the models of this machine"),
    ("apiKeys", "keys for clients go into the settings, as `[[serve.keys]]`"),
    ("logLevel", LOGS),
    ("logRequests", LOGS),
    ("logTimeFormat", LOGS),
    ("logToStdout", LOGS),
    ("includeAliasesInList", "herdsman lists a model's aliases with the model"),
    ("sendLoadingState", LOADING),
    ("metricsMaxInMemory", OWN),
    ("captureBuffer", OWN),
    ("store", OWN),
    ("ui", OWN),
    ("performance", OWN),
    ("upstream", "below `/upstream/NAME/`, what a page asks for by itself starts no model"),
    ("unloadTimeout", DRAIN),
];

/// Keys of a model.
const MODEL: [(&str, &str); 9] = [
    ("cmdStop", "herdsman waits for in-flight requests (`[update] drain`), then stops the server itself"),
    ("useModelName", "llama-server answers whatever model a request names"),
    ("metadata", "not imported: notes go in `[labels]`"),
    ("sendLoadingState", LOADING),
    ("timeouts", "herdsman sets no time limit on an answer"),
    ("compat", "a web page that is left open starts no model"),
    ("unloadTimeout", DRAIN),
    ("capabilities", "llama-server says itself what its model can do"),
    ("logToStdout", LOGS),
];

const NAMES: &str = "a model answers to its name and its `aliases` only";
const LOGS: &str = "each server has its own log in the state directory";
const LOADING: &str = "`[serve] keep_alive_comments` in the settings keeps a waiting stream open";
const OWN: &str = "herdsman has its own metrics and history";
const DRAIN: &str = "`[update] drain` sets how long herdsman waits for in-flight requests";

/// What hooks are not imported.
pub(super) const HOOKS: &str = "herdsman runs no hooks: it takes only the preloaded models from them";

/// Where a server listens.
pub(super) const ADDRESS: &str = "herdsman knows where each of its servers listens; `herdsman status` shows it";

/// Why a server that listens for other machines is worth a look.
pub(super) const OPEN_HOST: &str = "other machines reach this server past the gateway and its keys: remove `host` unless they should, and give them the address of `herdsman watch --listen`";

/// What takes the place of a key of the file.
pub(super) fn of_file(name: &str) -> Why {
    of(&FILE, name)
}

/// What takes the place of a key of a model.
pub(super) fn of_model(name: &str) -> Why {
    of(&MODEL, name)
}

fn of(known: &[(&str, &'static str)], name: &str) -> Why {
    let found = known.iter().find(|(key, _)| *key == name);
    Why::NoCounterpart(found.map_or("herdsman does not know this key", |(_, why)| why))
}
