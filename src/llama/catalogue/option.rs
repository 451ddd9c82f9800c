//! One option: its names from the help, and its kind of value from the help or else
//! from the measured table.

use std::sync::Arc;

use super::help::Entry;
use super::owned;
use super::repeated::{self, Repeated};
use super::types::{Range, ValueType};

/// One option of llama-server.
#[derive(Clone, Debug, PartialEq)]
pub struct OptionSpec {
    /// The name herdsman calls it by, with `_`: stable across versions.
    pub key: String,
    /// Its long names, with dashes, in the order the help prints them.
    pub names: Vec<String>,
    /// The long name that turns a flag off (`--no-mmap`).
    pub negation: Option<String>,
    /// The name to write on the command line: the canonical one if this
    /// llama-server knows it, or else its first.
    pub argument: Arc<str>,
    /// The help's name for its value (`N`, `FNAME`); empty for a flag.
    pub metavar: String,
    /// The variable llama-server also reads it from.
    pub env: Option<String>,
    /// The only values it accepts; empty: any value of its kind.
    pub choices: Vec<String>,
    /// Words it accepts besides numbers (`auto`, `all`).
    pub words: Vec<String>,
    /// The kind of one value.
    pub kind: ValueKind,
    /// How many values it takes, and how they are written.
    pub list: ListStyle,
    /// What llama-server does if it is set more than once.
    pub repeated: Repeated,
    /// Whether its value is a path, and of what.
    pub path: Option<PathRole>,
    /// Whether the help calls it deprecated.
    pub deprecated: bool,
    /// The help text: one line, except for bullets.
    pub help: String,
    /// Why it cannot be set in `[parameters]`, and what to do instead.
    pub(super) refusal: Option<String>,
    /// Every other spelling: short names and negations.
    pub(super) spellings: Vec<(String, Spelling)>,
}

/// What a name other than a plain long one means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// A long name that turns the flag off.
    Negation,
    /// A short name: not accepted in definitions, but recognised.
    Short,
}

/// The kind of one value of an option.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueKind {
    /// No value: it is present or not.
    Flag,
    /// A whole number.
    Integer(Range<i64>),
    /// A number.
    Float(Range<f64>),
    /// JSON, as text or as a TOML table.
    Json,
    /// Anything: only llama-server knows what it means.
    Text,
}

/// How an option takes several values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListStyle {
    /// It takes one value.
    Single,
    /// One word, joined by this character.
    Joined(char),
    /// The option again, for each value.
    Repeated,
    /// This many words (`START END`).
    Words(usize),
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathRole {
    /// A file llama-server reads; `scaled`: followed by `:` and a number.
    Input {
        /// Whether it is a GGUF file.
        weights: bool,
        /// Whether each path is followed by `:SCALE`.
        scaled: bool,
    },
    /// A directory, or a file llama-server writes.
    Other,
}

/// Options that read GGUF files.
const WEIGHTS: [&str; 7] =
    ["model", "lora", "lora_scaled", "control_vector", "control_vector_scaled", "mmproj", "spec_draft_model"];

impl OptionSpec {
    /// Builds an option from its entry in the help. `known` is the measured type of
    /// this key and metavar; `is_measured`: whether the option and its value were
    /// measured.
    pub(super) fn new(entry: &Entry<'_>, key: String, known: Option<&ValueType>, is_measured: bool) -> Self {
        let (names, spellings) = spellings(&entry.names);
        let text = entry.text();
        let metavar = entry.metavar;
        let kind = kind(metavar, known);
        let repeated = if is_measured { repeated::of(&key) } else { Repeated::Last };
        Self {
            negation: spellings.iter().find(|(_, s)| *s == Spelling::Negation).map(|(name, _)| name.clone()),
            argument: argument(&key, &names).into(),
            metavar: metavar.to_owned(),
            env: entry.env().map(str::to_owned),
            choices: choices(entry, &text, &kind),
            words: number_words(&kind, &text),
            list: list_style(metavar, &kind, &text, repeated),
            repeated,
            path: path_role(&key, metavar),
            deprecated: entry.lines.first().is_some_and(|line| line.contains("DEPRECATED")),
            help: entry.paragraph(),
            refusal: owned::refusal(&key, kind == ValueKind::Flag, &text),
            kind,
            key,
            names,
            spellings,
        }
    }
}

/// Returns the canonical name if it is one of `names`, or else the first of them.
fn argument(key: &str, names: &[String]) -> String {
    let canonical = dashed(key);
    if names.contains(&canonical) {
        return canonical;
    }
    names.first().cloned().unwrap_or(canonical)
}

/// `ctx_size` as llama-server spells it.
pub(super) fn dashed(key: &str) -> String {
    format!("--{}", key.replace('_', "-"))
}

/// Splits the names into long ones and other spellings. `--no-x` is a negation only
/// beside a positive name: `--no-host` has none and is a flag of its own.
fn spellings(all: &[&str]) -> (Vec<String>, Vec<(String, Spelling)>) {
    let positive = |name: &str| name.starts_with("--") && !name.starts_with("--no-");
    let has_positive = all.iter().any(|name| positive(name));
    let mut names = Vec::new();
    let mut others = Vec::new();
    for name in all {
        match name {
            name if !name.starts_with("--") => others.push(((*name).to_owned(), Spelling::Short)),
            name if positive(name) || !has_positive => names.push((*name).to_owned()),
            name => others.push(((*name).to_owned(), Spelling::Negation)),
        }
    }
    (names, others)
}

/// Returns the kind of one value. The measured type counts only for the metavar it
/// was measured with: in another version the same name may take something else.
fn kind(metavar: &str, known: Option<&ValueType>) -> ValueKind {
    if metavar.is_empty() {
        return ValueKind::Flag;
    }
    let range = metavar_range(metavar);
    match known {
        Some(ValueType::Integer(known)) => ValueKind::Integer(range.unwrap_or_else(|| known.clone())),
        Some(ValueType::Float(known)) => ValueKind::Float(known.clone()),
        Some(ValueType::Json) => ValueKind::Json,
        None => range.map_or(ValueKind::Text, ValueKind::Integer),
    }
}

/// The range of `<0...100>`.
fn metavar_range(metavar: &str) -> Option<Range<i64>> {
    let (min, max) = metavar.strip_prefix('<')?.strip_suffix('>')?.split_once("...")?;
    Some(Range {
        min: min.parse().ok()?,
        max: max.parse().ok()?,
        why: "its help gives this range, but llama-server does not check it".to_owned(),
    })
}

/// The closed set of values an option accepts, if the help lists one: in the
/// metavar (`{a,b}`, `[on|off]`, `<0|1>`, `a,b-c`), after `allowed values:`, or as
/// bullets (`- distribute: …`), which omit the default.
fn choices(entry: &Entry<'_>, text: &str, kind: &ValueKind) -> Vec<String> {
    let owned = |items: &mut dyn Iterator<Item = &str>| items.map(|item| item.trim().to_owned()).collect();
    let metavar = entry.metavar;
    let inside = |open, close| metavar.strip_prefix(open).and_then(|m: &str| m.strip_suffix(close));
    if let Some(items) = inside('{', '}') {
        return owned(&mut items.split(','));
    }
    if let Some(items) = inside('[', ']').or_else(|| inside('<', '>')).filter(|items| items.contains('|')) {
        return owned(&mut items.split('|'));
    }
    let is_word = |word: &str| word.starts_with(|c: char| c.is_ascii_lowercase()) && !word.contains("..");
    if metavar.contains(',') && metavar.split(',').all(is_word) {
        return owned(&mut metavar.split(','));
    }
    if *kind != ValueKind::Text {
        return Vec::new();
    }
    if let Some((_, list)) = text.split_once("allowed values: ") {
        let list = list.split(" (").next().unwrap_or(list);
        return owned(&mut list.split(','));
    }
    let bullets = entry.lines.iter().filter_map(|line| Some(line.strip_prefix("- ")?.split_once(':')?.0));
    let mut choices: Vec<String> = bullets.map(|b| b.trim_end_matches(" (default)").to_owned()).collect();
    if let (false, Some(default)) = (choices.is_empty(), default_word(text))
        && !choices.iter().any(|choice| choice == default)
    {
        choices.push(default.to_owned());
    }
    choices
}

/// The word of `(default: auto)`.
fn default_word(text: &str) -> Option<&str> {
    let word = text.split_once("(default: ")?.1.split(')').next()?;
    word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_').then_some(word)
}

/// The words of `either an exact number, 'auto', or 'all'`.
fn number_words(kind: &ValueKind, text: &str) -> Vec<String> {
    if !matches!(kind, ValueKind::Integer(_)) || !text.contains('\'') {
        return Vec::new();
    }
    let Some((_, rest)) = text.split_once("exact number, ") else { return Vec::new() };
    let sentence = rest.split('(').next().unwrap_or(rest);
    sentence.split('\'').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns how several values are written.
fn list_style(metavar: &str, kind: &ValueKind, text: &str, repeated: Repeated) -> ListStyle {
    let words = metavar.split(' ').count();
    if words > 1 && metavar.split(' ').all(|word| word.chars().all(|c| c.is_ascii_uppercase())) {
        ListStyle::Words(words)
    } else if metavar.contains(",..") {
        ListStyle::Joined(',')
    } else if *kind != ValueKind::Text {
        ListStyle::Single
    } else if text.contains("comma-separated") {
        ListStyle::Joined(',')
    } else if text.contains("separated by ';'") {
        ListStyle::Joined(';')
    } else if repeated == Repeated::Adds {
        ListStyle::Repeated
    } else {
        ListStyle::Single
    }
}

/// Whether an option's value is a path, judging by its metavar.
fn path_role(key: &str, metavar: &str) -> Option<PathRole> {
    // The name of a file in a Hugging Face repository.
    if key == "hf_file" {
        return None;
    }
    let scaled = metavar.starts_with("FNAME:");
    match metavar {
        // llama-server writes it, so it need not exist.
        _ if key == "lookup_cache_dynamic" || key == "log_file" => Some(PathRole::Other),
        "PATH" if !(key.ends_with("_file") || key.ends_with("_config")) => Some(PathRole::Other),
        "PATH" | "FNAME" | "FILE" => Some(PathRole::Input { weights: WEIGHTS.contains(&key), scaled }),
        _ if scaled || metavar.ends_with("_FILE") => Some(PathRole::Input { weights: WEIGHTS.contains(&key), scaled }),
        _ => None,
    }
}
