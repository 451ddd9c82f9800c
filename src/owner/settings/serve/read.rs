//! Reads `[serve]`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytesize::ByteSize;
use toml::de::{DeTable, DeValue};

use super::listen::Listen;
use super::{Key, Serve, Tls};
use crate::definition::draft;
use crate::definition::value::{Reader, Value};
use crate::owner::host_file::unknown;
use crate::owner::settings::Text;

pub(in crate::owner::settings) const KEYS: [&str; 14] = [
    "listen",
    "hosts",
    "default_model",
    "hold",
    "max_wait",
    "max_waiting",
    "max_body",
    "keep_alive_comments",
    "open",
    "keys",
    "cors_origins",
    "tls",
    "edit",
    "commit",
];

pub(in crate::owner::settings) const KEYS_OF_A_KEY: [&str; 4] = ["name", "key", "models", "admin"];

pub(in crate::owner::settings) const KEYS_OF_TLS: [&str; 2] = ["cert", "key"];

/// What stands for no limit where a duration is needed.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Reads the table; `base` is the directory its paths are relative to.
pub(in crate::owner::settings) fn read(reader: &mut Reader<'_, '_>, value: &Value<'_>, base: &str) -> Option<Serve> {
    let table = reader.table("serve", value)?;
    let mut serve = Serve::default();
    let mut commit = None;
    for (key, value) in table {
        if reader.is_full() {
            break;
        }
        match key.get_ref().as_ref() {
            "listen" => serve.listen = listen(reader, value),
            "hosts" => serve.hosts = hosts(reader, value),
            "default_model" => serve.default_model = text(reader, "default_model", value),
            "hold" => serve.hold = limit(reader, "hold", value).unwrap_or(serve.hold),
            "max_wait" => {
                let most = limit(reader, "max_wait", value);
                serve.max_wait = most.map_or(serve.max_wait, |most| most.unwrap_or(FOREVER));
            }
            "max_waiting" => serve.max_waiting = count(reader, value).unwrap_or(serve.max_waiting),
            "max_body" => serve.max_body = size(reader, value).unwrap_or(serve.max_body),
            "keep_alive_comments" => {
                let every = limit(reader, "keep_alive_comments", value);
                serve.keep_alive_comments = every.unwrap_or(serve.keep_alive_comments);
            }
            "open" => serve.open = boolean(reader, "open", value),
            "keys" => serve.keys = keys(reader, value, base),
            "cors_origins" => serve.cors_origins = origins(reader, value),
            "tls" => serve.tls = tls(reader, value, base),
            "edit" => serve.edit = boolean(reader, "edit", value),
            "commit" => {
                serve.commit = boolean(reader, "commit", value);
                commit = Some(value.span());
            }
            other => unknown(reader, other, key.span(), ("`[serve]`", &KEYS)),
        }
    }
    if let Some(span) = commit.filter(|_| serve.commit && !serve.edit) {
        let help = "add `edit = true`, or remove `commit`";
        reader.problem(span, "`commit` is only for edits, and those are off", "", help);
    }
    Some(serve)
}

fn boolean(reader: &mut Reader<'_, '_>, key: &str, value: &Value<'_>) -> bool {
    reader.boolean(key, value).is_some_and(|stated| stated.value)
}

/// Reads a text that is not blank.
fn text(reader: &mut Reader<'_, '_>, key: &str, value: &Value<'_>) -> Option<String> {
    let text = reader.string(key, value)?;
    if text.trim().is_empty() {
        reader.problem(value.span(), format!("`{key}` is empty"), "", format!("set `{key}`, or leave it out"));
        return None;
    }
    Some(text.to_owned())
}

/// Reads a string, or an array of strings.
fn texts<'v>(reader: &mut Reader<'_, '_>, key: &str, value: &'v Value<'_>) -> Vec<(&'v str, Range<usize>)> {
    let Some(array) = value.get_ref().as_array() else {
        return reader.string(key, value).map(|text| (text, value.span())).into_iter().collect();
    };
    let mut texts = Vec::new();
    for item in array {
        if reader.is_full() {
            break;
        }
        texts.extend(reader.element(key, item).map(|text| (text, item.span())));
    }
    texts
}

fn listen(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Vec<String> {
    let mut addresses = Vec::new();
    for (text, span) in texts(reader, "listen", value) {
        if text.parse::<Listen>().is_ok() {
            addresses.push(text.to_owned());
        } else {
            let help = "use an IP address or `localhost` with a port, such as `\"127.0.0.1:8080\"`, or \
                        `\"unix:/run/herdsman/gateway.sock\"`";
            reader.problem(span, format!("{text:?} is not an address to listen on"), "", help);
        }
    }
    addresses
}

fn hosts(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Vec<String> {
    let mut hosts = Vec::new();
    for (text, span) in texts(reader, "hosts", value) {
        let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if text.is_empty() || !is_name(text) {
            let help = "write only the name, without scheme and port, such as `\"llm.example.org\"`";
            reader.problem(span, format!("{text:?} is not a host name"), "", help);
        } else {
            hosts.push(text.to_ascii_lowercase());
        }
    }
    hosts
}

/// Reads a duration, of which `0` and `"off"` mean none.
#[expect(clippy::option_option, reason = "not valid, or none")]
fn limit(reader: &mut Reader<'_, '_>, key: &str, value: &Value<'_>) -> Option<Option<Duration>> {
    let is_zero = value.get_ref().as_integer().is_some_and(|integer| integer.as_str() == "0");
    if is_zero || matches!(value.get_ref().as_str(), Some("0" | "off")) {
        return Some(None);
    }
    let stated = draft::duration(reader, key, value)?.value;
    Some(Some(stated).filter(|stated| !stated.is_zero()))
}

fn integer(value: &Value<'_>) -> Option<u64> {
    let integer = value.get_ref().as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn count(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Option<usize> {
    let count = integer(value).and_then(|count| usize::try_from(count).ok());
    if count.is_none() {
        let help = "write a whole number such as `1000`, or `0` for no limit";
        reader.problem(value.span(), "`max_waiting` is not a number of requests", "", help);
    }
    count.map(|count| if count == 0 { usize::MAX } else { count })
}

/// Reads a number of bytes, of which 0 means any.
#[expect(clippy::option_option, reason = "not valid, or any")]
fn size(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Option<Option<u64>> {
    let stated = value.get_ref().as_str().and_then(|text| text.parse::<ByteSize>().ok());
    let Some(bytes) = stated.map(|size| size.as_u64()).or_else(|| integer(value)) else {
        let help = "write it like `\"256MiB\"`, or `0` for no limit";
        reader.problem(value.span(), "`max_body` is not a size", "", help);
        return None;
    };
    Some(Some(bytes).filter(|bytes| *bytes > 0))
}

fn origins(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Vec<String> {
    let mut origins = Vec::new();
    for (text, span) in texts(reader, "cors_origins", value) {
        let url = reqwest::Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        match url.map(|url| url.origin().ascii_serialization()) {
            _ if text == "*" => origins.push(text.to_owned()),
            Some(origin) if origin.eq_ignore_ascii_case(text) => origins.push(origin),
            Some(origin) => {
                let help = format!("an origin has no path: write `\"{origin}\"`");
                reader.problem(span, format!("{text:?} is not an origin"), "", help);
            }
            None => {
                let help = "write it as browsers send it, such as `\"https://chat.example.org\"`, or `\"*\"` for any";
                reader.problem(span, format!("{text:?} is not an origin"), "", help);
            }
        }
    }
    origins
}

fn tls(reader: &mut Reader<'_, '_>, value: &Value<'_>, base: &str) -> Option<Tls> {
    const HELP: &str = "write `tls = { cert = \"/path/to/fullchain.pem\", key = \"/path/to/privkey.pem\" }`";
    let table = reader.table("serve.tls", value)?;
    let (mut cert, mut key) = (None, None);
    for (name, value) in table {
        let path = |reader: &mut Reader<'_, '_>| {
            let path = text(reader, name.get_ref(), value)?;
            reader.odd_paths(value);
            Some(Path::new(base).join(path))
        };
        match name.get_ref().as_ref() {
            "cert" => cert = Some(path(reader)),
            "key" => key = Some(path(reader)),
            other => unknown(reader, other, name.span(), ("`tls`", &KEYS_OF_TLS)),
        }
    }
    for (name, is_missing) in [("cert", cert.is_none()), ("key", key.is_none())] {
        if is_missing {
            reader.problem(value.span(), format!("`tls` lacks `{name}`"), "", HELP);
        }
    }
    Some(Tls { cert: cert??, key: key?? })
}

fn keys(reader: &mut Reader<'_, '_>, value: &Value<'_>, base: &str) -> Vec<Key> {
    let Some(array) = value.get_ref().as_array() else {
        let help = "start each key with a line `[[serve.keys]]`";
        reader.wrong_kind("serve.keys", value, "an array of tables", help);
        return Vec::new();
    };
    let (mut keys, mut names) = (Vec::new(), BTreeSet::new());
    for item in array {
        if reader.is_full() {
            break;
        }
        let DeValue::Table(table) = item.get_ref() else {
            reader.wrong_kind("serve.keys", item, "a table", "start each key with a line `[[serve.keys]]`");
            continue;
        };
        let Some(key) = key(reader, table, item.span(), base) else { continue };
        if !names.insert(key.name.clone()) {
            let help = "give each key its own name: metrics and the activity list show it";
            reader.problem(item.span(), format!("two keys have the name {:?}", key.name), "", help);
        }
        keys.push(key);
    }
    keys
}

/// Reads one `[[serve.keys]]`.
fn key(reader: &mut Reader<'_, '_>, table: &DeTable<'_>, span: Range<usize>, base: &str) -> Option<Key> {
    let (mut name, mut secret, mut models, mut admin) = (None, None, vec!["*".to_owned()], false);
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "name" => name = Some(text(reader, "name", value)),
            "key" => secret = Some(source(reader, value, base)),
            "models" => models = patterns(reader, value),
            "admin" => admin = boolean(reader, "admin", value),
            other => unknown(reader, other, key.span(), ("`[[serve.keys]]`", &KEYS_OF_A_KEY)),
        }
    }
    if name.is_none() {
        let help = "add `name = \"ann\"`: metrics and the activity list show it";
        reader.problem(span.clone(), "a key has no name", "", help);
    }
    if secret.is_none() {
        let help = "add `key = { file = \"/run/secrets/…\" }` or `key = { env = \"NAME\" }`";
        reader.problem(span, "`[[serve.keys]]` lacks `key`", "", help);
    }
    Some(Key { name: name??, key: secret??, models, admin })
}

/// Reads where a key is kept. The settings of a host are often readable by others, so
/// they do not contain it.
fn source(reader: &mut Reader<'_, '_>, value: &Value<'_>, base: &str) -> Option<Text> {
    if value.get_ref().as_table().is_none() {
        let help = "say where to find it: `key = { file = \"/run/secrets/…\" }` or `key = { env = \"NAME\" }`";
        reader.problem(value.span(), "`key` must not be in the settings themselves", "", help);
        return None;
    }
    draft::secret(reader, "key", value, base).map(|stated| Text::Secret(stated.value))
}

fn patterns(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Vec<String> {
    let mut patterns = Vec::new();
    for (text, span) in texts(reader, "models", value) {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-*".contains(&byte);
        if text.is_empty() || !text.bytes().all(fits) {
            let help = "use model names, in which `*` stands for any text, such as `\"chat-*\"`";
            reader.problem(span, format!("{text:?} fits no model"), "", help);
        } else {
            patterns.push(text.to_owned());
        }
    }
    patterns
}
