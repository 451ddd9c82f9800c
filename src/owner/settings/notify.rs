//! `[notify]`: whom to notify, and about what.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use toml::de::DeValue;

use crate::definition::value::{Reader, Value};
use crate::definition::{SecretError, draft, read_secret};
use crate::model::{ModelName, NewsKind, SecretSource};
use crate::owner::host_file::unknown;

/// How long a command or a receiver may take by default.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest timeout allowed.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(300);

pub(super) const KEYS: [&str; 6] = ["command", "webhook", "headers", "timeout", "events", "models"];

/// Whom to notify, and about what: a command, a webhook, or both.
#[derive(Clone, Debug)]
pub struct Notify {
    /// A program and its arguments; no shell.
    pub command: Option<Vec<String>>,
    /// A URL to POST to.
    pub webhook: Option<Webhook>,
    /// How long one try may take.
    pub timeout: Duration,
    /// The events to report.
    pub events: BTreeSet<NewsKind>,
    /// The models to report on; `None`: all.
    pub models: Option<BTreeSet<ModelName>>,
}

/// Where and how to POST.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The URL.
    pub url: Text,
    /// Headers besides those that herdsman sets.
    pub headers: Vec<(HeaderName, Text)>,
}

/// A text, or where to read it; never shown, because either may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Text {
    /// In the settings themselves.
    Given(String),
    /// Where it is read before each use.
    Secret(SecretSource),
}

impl Text {
    /// Returns the text, read now.
    ///
    /// # Errors
    /// Its file or variable cannot be read.
    pub fn read(&self) -> Result<String, SecretError> {
        match self {
            Self::Given(text) => Ok(text.clone()),
            Self::Secret(source) => read_secret(source),
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("…"),
            Self::Secret(source) => write!(f, "{source}"),
        }
    }
}

/// Reads the table; `base` is the directory its paths are relative to.
pub(super) fn read(reader: &mut Reader<'_, '_>, value: &Value<'_>, base: &str) -> Option<Notify> {
    let table = reader.table("notify", value)?;
    let mut notify = Notify {
        command: None,
        webhook: None,
        timeout: TIMEOUT,
        events: NewsKind::ALL.into_iter().collect(),
        models: None,
    };
    let (mut url, mut headers, mut headers_at, mut has_receiver) = (None, Vec::new(), None, false);
    for (key, value) in table {
        if reader.is_full() {
            break;
        }
        match key.get_ref().as_ref() {
            "command" => {
                has_receiver = true;
                notify.command = command(reader, value);
            }
            "webhook" => {
                has_receiver = true;
                url = webhook(reader, value, base);
            }
            "headers" => {
                headers_at = Some(key.span());
                headers = read_headers(reader, value, base);
            }
            "timeout" => notify.timeout = timeout(reader, value).unwrap_or(TIMEOUT),
            "events" => notify.events = events(reader, value),
            "models" => notify.models = Some(models(reader, value)),
            other => unknown(reader, other, key.span(), ("`[notify]`", &KEYS)),
        }
    }
    if !has_receiver {
        let help = "set `command = [\"/path/to/program\"]`, `webhook = \"https://…\"`, or both";
        reader.problem(value.span(), "`[notify]` has neither `command` nor `webhook`", "", help);
    }
    if let (Some(span), false) = (headers_at, table.iter().any(|(key, _)| key.get_ref() == "webhook")) {
        reader.problem(span, "`[notify.headers]` without a webhook", "", "set `webhook`, or remove the headers");
    }
    notify.webhook = url.map(|url| Webhook { url, headers });
    Some(notify)
}

/// Returns the strings of an array that must not be empty.
fn texts<'v>(
    reader: &mut Reader<'_, '_>,
    key: &str,
    value: &'v Value<'_>,
    example: &str,
) -> Vec<(&'v str, std::ops::Range<usize>)> {
    let Some(array) = value.get_ref().as_array() else {
        reader.wrong_kind(key, value, "an array of strings", format!("write `{key} = {example}`"));
        return Vec::new();
    };
    if array.is_empty() {
        reader.problem(value.span(), format!("`{key}` is empty"), "", format!("write `{key} = {example}`"));
    }
    let mut texts = Vec::new();
    for item in array {
        if reader.is_full() {
            break;
        }
        texts.extend(reader.element(key, item).map(|text| (text, item.span())));
    }
    texts
}

fn command(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Option<Vec<String>> {
    const EXAMPLE: &str = "[\"/usr/local/bin/tell\", \"argument\"]";
    let words = texts(reader, "command", value, EXAMPLE);
    let (program, span) = words.first()?;
    if !program.starts_with('/') {
        let help = "use its absolute path, so that it does not depend on who starts herdsman, or where";
        reader.problem(span.clone(), format!("`command`: {program:?} is not an absolute path"), "", help);
    }
    Some(words.into_iter().map(|(word, _)| word.to_owned()).collect())
}

/// Reads a text, or `{ file = … }` or `{ env = … }`.
fn text(reader: &mut Reader<'_, '_>, key: &str, value: &Value<'_>, base: &str) -> Option<Text> {
    match value.get_ref() {
        DeValue::Table(_) => draft::secret(reader, key, value, base).map(|stated| Text::Secret(stated.value)),
        _ => reader.string(key, value).map(|text| Text::Given(text.to_owned())),
    }
}

fn webhook(reader: &mut Reader<'_, '_>, value: &Value<'_>, base: &str) -> Option<Text> {
    let text = text(reader, "webhook", value, base)?;
    if let Text::Given(url) = &text
        && let Err(wrong) = address(url)
    {
        reader.problem(value.span(), format!("`webhook` {wrong}"), "", "write it like `\"https://example.org/hook\"`");
    }
    Some(text)
}

/// Parses a URL to POST to. Messages never contain it, because it may hold a
/// secret.
pub(crate) fn address(text: &str) -> Result<reqwest::Url, String> {
    let url = reqwest::Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err("is neither http nor https".to_owned()),
    }
}

fn read_headers(reader: &mut Reader<'_, '_>, value: &Value<'_>, base: &str) -> Vec<(HeaderName, Text)> {
    let mut headers = Vec::new();
    let Some(table) = reader.table("notify.headers", value) else { return headers };
    for (key, value) in table {
        if reader.is_full() {
            break;
        }
        let name = key.get_ref().as_ref();
        let Ok(header) = name.parse::<HeaderName>() else {
            let help = "a header name contains only letters, digits and `-`";
            reader.problem(key.span(), format!("{name:?} is not a valid header name"), "", help);
            continue;
        };
        let Some(text) = text(reader, name, value, base) else { continue };
        if let Text::Given(given) = &text
            && HeaderValue::from_str(given).is_err()
        {
            let help = "use one line of text without control characters";
            reader.problem(value.span(), format!("the value of `{name}` is not a valid header value"), "", help);
        }
        headers.push((header, text));
    }
    headers
}

fn timeout(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> Option<Duration> {
    let stated = draft::positive(reader, "timeout", value)?;
    if stated.value > LONGEST_TIMEOUT {
        let help = "use at most `\"5m\"`; herdsman retries a failed delivery later";
        reader.problem(value.span(), "`timeout` is too long", "", help);
    }
    Some(stated.value)
}

fn events(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> BTreeSet<NewsKind> {
    let Some(array) = value.get_ref().as_array().filter(|array| !array.is_empty()) else {
        texts(reader, "events", value, "[\"failed\", \"recovered\"]");
        return BTreeSet::new();
    };
    let words = NewsKind::ALL.map(|kind| (kind.as_str(), kind));
    let mut events = BTreeSet::new();
    for item in array {
        if reader.is_full() {
            break;
        }
        events.extend(reader.word("events", item, &words).map(|stated| stated.value));
    }
    events
}

fn models(reader: &mut Reader<'_, '_>, value: &Value<'_>) -> BTreeSet<ModelName> {
    let mut models = BTreeSet::new();
    for (text, span) in texts(reader, "models", value, "[\"qwen3-8b\"]") {
        if reader.is_full() {
            break;
        }
        match ModelName::parse(text) {
            Ok(name) => drop(models.insert(name)),
            Err(error) => {
                let help = "list model names, or leave `models` out to be notified about all models";
                reader.problem(span, format!("{text:?} is not a valid model name"), &error.to_string(), help);
            }
        }
    }
    models
}
