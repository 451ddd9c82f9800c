//! The policy's file: keys and values, with a diagnostic for every problem, as for
//! definitions.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Policy;
use super::pattern::Pattern;
use crate::definition::value::{Reader, Value};
use crate::definition::{Catalogue, parse_host, suggest};
use crate::model::Diagnostic;
use crate::owner::host_file;

/// A key of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Directories that weights may be in.
    ModelRoots,
    /// Directories that other input files may be in.
    FileRoots,
    /// Directories that options allowed by the policy may write to.
    WriteRoots,
    /// Directories that unix sockets may be in.
    SocketRoots,
    /// Directories that secret files may be in.
    SecretRoots,
    /// llama-servers that definitions may name, and directories of them.
    Binaries,
    /// Addresses to listen on.
    Hosts,
    /// Ports that definitions may declare.
    Ports,
    /// How many models there may be.
    MaxModels,
    /// Where llama-server may download from.
    Downloads,
    /// Options allowed although they can do harm or are unknown.
    AllowOptions,
    /// Options denied in addition.
    DenyOptions,
    /// Variables that `[env]` may set.
    AllowEnv,
    /// Variables that `[env]` may not set.
    DenyEnv,
    /// Variables in herdsman's environment that `[secrets]` may name.
    SecretEnv,
    /// Users besides root who may own the definitions.
    Owners,
}

impl Key {
    /// Every key.
    pub const ALL: [Self; 16] = [
        Self::ModelRoots,
        Self::FileRoots,
        Self::WriteRoots,
        Self::SocketRoots,
        Self::SecretRoots,
        Self::Binaries,
        Self::Hosts,
        Self::Ports,
        Self::MaxModels,
        Self::Downloads,
        Self::AllowOptions,
        Self::DenyOptions,
        Self::AllowEnv,
        Self::DenyEnv,
        Self::SecretEnv,
        Self::Owners,
    ];

    /// As files spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ModelRoots => "model_roots",
            Self::FileRoots => "file_roots",
            Self::WriteRoots => "write_roots",
            Self::SocketRoots => "socket_roots",
            Self::SecretRoots => "secret_roots",
            Self::Binaries => "binaries",
            Self::Hosts => "hosts",
            Self::Ports => "ports",
            Self::MaxModels => "max_models",
            Self::Downloads => "downloads",
            Self::AllowOptions => "allow_options",
            Self::DenyOptions => "deny_options",
            Self::AllowEnv => "allow_env",
            Self::DenyEnv => "deny_env",
            Self::SecretEnv => "secret_env",
            Self::Owners => "owners",
        }
    }
}

/// Parses the policy in `text`; `file` is its path, absolute.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn parse(file: &Arc<str>, text: &str) -> Result<Policy, Vec<Diagnostic>> {
    let mut policy = Policy::empty(Arc::clone(file));
    let known = Key::ALL.map(Key::as_str);
    host_file::keys(Path::new(&**file), file, text, ("a policy", &known), false, |reader, line, key, value| {
        let known = Key::ALL.into_iter().find(|known| known.as_str() == key);
        if let Some(known) = known {
            policy.lines.insert(known, line);
            take(reader, &mut policy, known, value);
        }
        known.is_some()
    })?;
    Ok(policy)
}

fn take(reader: &mut Reader<'_, '_>, policy: &mut Policy, key: Key, value: &Value<'_>) {
    match key {
        Key::ModelRoots | Key::FileRoots | Key::WriteRoots | Key::SocketRoots | Key::SecretRoots | Key::Binaries => {
            drop(policy.roots.insert(key, list(reader, key, value, path)))
        }
        Key::Hosts => policy.hosts = Some(list(reader, key, value, address)),
        Key::Ports => policy.ports = ports(reader, value).unwrap_or(policy.ports),
        Key::MaxModels => policy.max_models = Some(number(reader, key, value).unwrap_or_default()),
        Key::Downloads => policy.downloads = list(reader, key, value, download),
        Key::AllowOptions => policy.allow_options = list(reader, key, value, allowed_option).into_iter().collect(),
        Key::DenyOptions => policy.deny_options = list(reader, key, value, denied_option).into_iter().collect(),
        Key::AllowEnv => policy.allow_env = list(reader, key, value, variable),
        Key::DenyEnv => policy.deny_env = list(reader, key, value, variable),
        Key::SecretEnv => policy.secret_env = list(reader, key, value, variable),
        Key::Owners => policy.owners = owners(reader, value),
    }
}

/// What is wrong with an element, and the fix.
type Wrong = (String, String);

/// An array of texts, each read by `read`.
fn list<T>(
    reader: &mut Reader<'_, '_>,
    key: Key,
    value: &Value<'_>,
    read: impl Fn(&str) -> Result<T, Wrong>,
) -> Vec<T> {
    let key = key.as_str();
    let Some(array) = value.get_ref().as_array() else {
        reader.wrong_kind(key, value, "an array of strings", format!("write `{key} = [\"…\"]`"));
        return Vec::new();
    };
    let mut read_so_far = Vec::new();
    for element in array {
        if reader.is_full() {
            break;
        }
        let Some(text) = reader.element(key, element) else { continue };
        match read(text) {
            Ok(one) => read_so_far.push(one),
            Err((message, help)) => reader.problem(element.span(), format!("`{key}`: {message}"), "", help),
        }
    }
    read_so_far
}

fn path(text: &str) -> Result<PathBuf, Wrong> {
    if text.starts_with('/') {
        return Ok(PathBuf::from(text));
    }
    Err((format!("{text:?} is not an absolute path"), "start it with `/`".to_owned()))
}

fn address(text: &str) -> Result<String, Wrong> {
    match parse_host(text) {
        _ if text == "*" => Ok(text.to_owned()),
        Ok(host) if !host.contains('/') => Ok(host),
        Ok(_) => Err(("unix sockets are allowed by directory".to_owned(), "use `socket_roots`".to_owned())),
        Err(problem) => Err((problem.message, "use an IP address, `\"localhost\"`, or `\"*\"` for any".to_owned())),
    }
}

fn download(text: &str) -> Result<Pattern, Wrong> {
    let begins = |with: &str| text.strip_prefix(with).is_some_and(|rest| !rest.is_empty());
    if text == "*" || ["hf:", "docker:"].into_iter().any(begins) {
        return Ok(Pattern::new(text));
    }
    // The host must end at a `/`: `https://good*` would also match
    // https://good.evil.org/.
    let is_url = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .is_some_and(|rest| rest.split_once('/').is_some_and(|(host, _)| !host.is_empty() && !host.contains('*')));
    if is_url {
        return Ok(Pattern::new(text));
    }
    let help = "write `\"hf:org/*\"`, `\"docker:ai/*\"`, `\"https://host/*\"`, or `\"*\"` for any".to_owned();
    Err((format!("{text:?} is not a download source"), help))
}

fn allowed_option(text: &str) -> Result<String, Wrong> {
    match Catalogue::embedded().canonical(text) {
        Some(key) => Ok(key.to_owned()),
        // From a newer llama-server: exactly the named options are allowed.
        None => option_name(text),
    }
}

fn denied_option(text: &str) -> Result<String, Wrong> {
    let catalogue = Catalogue::embedded();
    if let Some(key) = catalogue.canonical(text) {
        return Ok(key.to_owned());
    }
    let name = option_name(text)?;
    let nearest = suggest::nearest(&name, catalogue.options().map(|option| option.key.as_str()));
    let help = match nearest {
        Some(near) => format!("did you mean `{near}`?"),
        None => "remove it: herdsman denies unknown options anyway".to_owned(),
    };
    Err((format!("unknown option {text:?}"), help))
}

fn option_name(text: &str) -> Result<String, Wrong> {
    let name = text.trim_start_matches('-').replace('-', "_");
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.".contains(&byte)) {
        return Ok(name);
    }
    Err((format!("{text:?} is not an option name"), "write it as in definitions: `\"slot_save_path\"`".to_owned()))
}

fn variable(text: &str) -> Result<Pattern, Wrong> {
    if !text.is_empty() && !text.contains(['=', ' ', '$']) {
        return Ok(Pattern::new(text));
    }
    let help = "write only its name, with `*` for any text: `\"MY_*\"`".to_owned();
    Err((format!("{text:?} is not a valid variable name"), help))
}

fn ports(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Option<(u16, u16)> {
    let text = reader.string(Key::Ports.as_str(), value)?;
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (port(from), port(to)) {
        (Some(from), Some(to)) if from <= to => Some((from, to)),
        _ => {
            let message = format!("`ports`: {text:?} is not a port range");
            reader.problem(value.span(), message, "", "write two numbers from 1 to 65535: `\"8000-8999\"`");
            None
        }
    }
}

fn number(reader: &mut Reader<'_, '_>, key: Key, value: &Value<'_>) -> Option<usize> {
    let key = key.as_str();
    let found = value.get_ref().as_integer();
    let number = found.and_then(|integer| usize::from_str_radix(integer.as_str(), integer.radix()).ok());
    if number.is_none() {
        reader.wrong_kind(key, value, "a number of at least 0", format!("write `{key} = 20`"));
    }
    number
}

fn owners(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Vec<u32> {
    const HELP: &str = "write user ids (`id -u NAME`): `owners = [1000]`";
    let Some(array) = value.get_ref().as_array() else {
        reader.wrong_kind("owners", value, "an array of user ids", HELP);
        return Vec::new();
    };
    let mut owners = Vec::new();
    for element in array {
        let found = element.get_ref().as_integer();
        match found.and_then(|integer| u32::from_str_radix(integer.as_str(), integer.radix()).ok()) {
            Some(owner) => owners.push(owner),
            None => reader.wrong_kind("owners", element, "a user id", HELP),
        }
    }
    owners
}
