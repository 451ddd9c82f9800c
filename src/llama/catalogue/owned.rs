//! Options and variables that a definition must not set in `[parameters]` and
//! `[env]`, each with what to do instead.

use std::collections::BTreeSet;

use super::{Catalogue, suggest};

/// Options that herdsman owns, or that make no sense for a server it runs. The
/// sentences follow "… cannot be set here:" and name the key to use.
const OWNED: [(&str, &str); 23] = [
    ("model", "`model` goes at the top level of the file: `model = \"../weights/name.gguf\"`"),
    ("hf_repo", "`hf_repo` goes at the top level of the file: `hf_repo = \"org/repo:quant\"`"),
    ("model_url", "`model_url` goes at the top level of the file: `model_url = \"https://…\"`"),
    ("host", "`host` goes at the top level of the file: `host = \"127.0.0.1\"`"),
    ("port", "`port` goes at the top level of the file: `port = 8101`"),
    ("reuse_port", "herdsman gives each model its own port: remove it"),
    ("alias", "more names go at the top level of the file: `aliases = [\"name\"]`"),
    ("tags", "herdsman marks its servers with tags: use `labels = { key = \"value\" }` at the top level"),
    ("api_key", "secrets have their own table: `[secrets]` with `api_key = { file = \"/path\" }`"),
    ("api_key_file", "secrets have their own table: `[secrets]` with `api_key = { file = \"/path\" }`"),
    ("hf_token", "secrets have their own table: `[secrets]` with `hf_token = { file = \"/path\" }`"),
    ("models_dir", ROUTER),
    ("models_preset", ROUTER),
    ("models_max", ROUTER),
    ("models_autoload", ROUTER),
    ("log_file", "herdsman keeps the log in its state directory, and reads it to explain failures: remove it"),
    ("log_disable", "herdsman reads the log to explain failures: use `verbosity` to make it shorter"),
    ("help", PRINTS),
    ("version", PRINTS),
    ("license", PRINTS),
    ("list_devices", PRINTS),
    ("cache_list", PRINTS),
    ("completion_bash", PRINTS),
];

const ROUTER: &str = "herdsman runs one server per definition, not a router: write one file per model";
const PRINTS: &str = "with it llama-server prints something and exits: remove it";

/// Variables of the process that are not options.
const VARIABLES: [(&str, &str); 4] = [
    ("LLAMA_API_KEY", "use `[secrets]` with `api_key = { file = \"/path\" }` or `api_key = { env = \"NAME\" }`"),
    ("HF_TOKEN", "use `[secrets]` with `hf_token = { file = \"/path\" }` or `hf_token = { env = \"NAME\" }`"),
    ("LLAMA_SERVER_ROUTER_PORT", "with it llama-server exits as soon as its standard input closes: remove it"),
    ("NOTIFY_SOCKET", "it belongs to the service manager that started herdsman: remove it"),
];

/// The prefix of herdsman's own markers.
const MARKS: &str = "HERDSMAN_";
/// The prefix of a service manager's watchdog variables.
const WATCHDOG: &str = "WATCHDOG_";
/// The prefix of llama-server's option variables.
const OPTIONS: &str = "LLAMA_ARG_";

/// Returns why option `key` cannot be set in `[parameters]`; `text` is its help.
pub(super) fn refusal(key: &str, is_flag: bool, text: &str) -> Option<String> {
    if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| *owned == key) {
        return Some((*instead).to_owned());
    }
    if let Some(advice) = text.strip_prefix("the argument has been removed. ") {
        return Some(format!("llama-server no longer has it: {}", keys_of(advice)));
    }
    // `--gpt-oss-20b-default` and the like also choose a port.
    if is_flag && text.contains("can download weights from the internet") {
        let instead = "it picks its own weights and port: write `hf_repo = \"org/repo:quant\"` at the top level";
        return Some(instead.to_owned());
    }
    None
}

/// Whether herdsman owns option `key`, or it makes no sense for a server it runs.
pub(super) fn is_owned(key: &str) -> bool {
    OWNED.iter().any(|(owned, _)| *owned == key)
}

/// The keys of the table.
#[cfg(test)]
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    OWNED.iter().map(|(key, _)| *key)
}

/// Rewrites llama-server's advice with options spelled as keys, and without the
/// trailing `(env: …)`.
fn keys_of(advice: &str) -> String {
    let advice = advice.split(" (env:").next().unwrap_or(advice);
    let word = |word: &str| match word.strip_prefix("--") {
        Some(name) => format!("`{}`", name.replace('-', "_")),
        None => word.to_owned(),
    };
    advice.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

impl Catalogue {
    /// Why the variable `name` cannot be set in `[env]`, as a help sentence; `None`
    /// if it can.
    ///
    /// Every variable of an option is refused, so that an option is set in one
    /// place only; llama-server also silently ignores an unknown `LLAMA_ARG_…`.
    #[must_use]
    pub fn owned_env(&self, name: &str) -> Option<String> {
        if let Some((_, instead)) = VARIABLES.iter().find(|(owned, _)| *owned == name) {
            return Some((*instead).to_owned());
        }
        if name.starts_with(MARKS) {
            return Some("herdsman marks its servers with it: choose another name".to_owned());
        }
        if name.starts_with(WATCHDOG) {
            return Some("it belongs to the service manager that started herdsman: remove it".to_owned());
        }
        if let Some(option) = self.options().find(|option| option.env.as_deref() == Some(name)) {
            let key = &option.key;
            let here = || format!("set the option itself: `{key}` under `[parameters]`");
            return Some(option.refusal.clone().unwrap_or_else(here));
        }
        name.starts_with(OPTIONS).then(|| match suggest::nearest(name, self.variables()) {
            Some(near) => format!(
                "llama-server does not read it; the option `{near}` looks similar and goes under `[parameters]`"
            ),
            None => "llama-server does not read it: options go under `[parameters]`".to_owned(),
        })
    }

    /// What [`Catalogue::owned_env`] refuses: prefixes of names, and other names.
    #[must_use]
    pub fn owned_variables(&self) -> ([&'static str; 3], BTreeSet<&str>) {
        let beginnings = [MARKS, WATCHDOG, OPTIONS];
        let names = VARIABLES.iter().map(|(name, _)| *name).chain(self.variables());
        (beginnings, names.filter(|name| !beginnings.iter().any(|begin| name.starts_with(begin))).collect())
    }

    /// The variables of all options.
    fn variables(&self) -> impl Iterator<Item = &str> {
        self.options().filter_map(|option| option.env.as_deref())
    }
}
