//! `[parameters]`, `[env]` and the weights, as one llama-server understands them:
//! every option under its canonical name, whatever spelling a file uses.

use std::ops::Range;
use std::sync::Arc;

use toml::de::DeTable;

use super::Knowledge;
use super::draft::{Draft, Weights};
use super::paths;
use super::suggest;
use super::unchecked;
use super::value::{Chosen, Located, Reader, Value};
use crate::llama::catalogue::{Catalogue, OptionMatch, OptionSpec};
use crate::model::{Diagnostic, Table};

/// The most files that one option may name: every pass looks at each of them.
const MOST_FILES: usize = 1000;

/// What a file sets that depends on the llama-server.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// By canonical name.
    pub settings: Table<Arc<str>, Chosen>,
    /// `[env]`.
    pub env: Table<Arc<str>, Located<String>>,
}

/// Reads `[parameters]` and `[env]` of `draft` against the options of the
/// llama-server; their paths are relative to the directory `base`.
pub(super) fn read(reader: &mut Reader<'_, '_>, draft: &Draft<'_, '_>, known: &Knowledge, base: &str) -> Options {
    let catalogue = known.catalogue();
    let is_stand_in = matches!(known, Knowledge::StandIn { .. });
    let settings =
        draft.parameters.map(|table| parameters(reader, table, &catalogue, is_stand_in, base)).unwrap_or_default();
    let env = draft.env.map(|table| environment(reader, table, &catalogue)).unwrap_or_default();
    Options { settings, env }
}

fn parameters(
    reader: &mut Reader<'_, '_>,
    table: &DeTable<'_>,
    catalogue: &Catalogue,
    is_stand_in: bool,
    base: &str,
) -> Table<Arc<str>, Chosen> {
    let mut settings = Table::default();
    // A few dozen at most, so a linear search is fine.
    let mut keys: Vec<(&str, Range<usize>)> = Vec::with_capacity(table.len());
    for (key, value) in table {
        if reader.is_full() {
            break;
        }
        let name = key.get_ref().as_ref();
        let (option, negated) = match catalogue.find(name) {
            OptionMatch::Option { option, negated } => (option, negated),
            OptionMatch::Owned { instead } => {
                let message = format!("`{name}` cannot be set under `[parameters]`");
                reader.problem(key.span(), message, "", instead);
                continue;
            }
            OptionMatch::Unknown { .. } if is_stand_in => {
                if let Some((key, chosen)) = unchecked::option(reader, name, key.span(), value) {
                    settings.insert(reader.names.shared(&key), chosen);
                }
                continue;
            }
            OptionMatch::Unknown { suggestion } => {
                unknown(reader, name, key.span(), suggestion);
                continue;
            }
        };
        if let Some((_, first)) = keys.iter().find(|(known, _)| *known == option.key) {
            stated_twice(reader, &option.key, first.clone(), key.span());
            continue;
        }
        keys.push((&option.key, key.span()));
        let is_other = is_stand_in && unchecked::is_other_choice(option, value, negated);
        let chosen = match is_other {
            true => Some(unchecked::choice(reader, option, value)),
            false => choose(reader, option, value, negated, base),
        };
        if let Some(chosen) = chosen {
            settings.insert(reader.names.shared(&option.key), chosen);
        }
    }
    settings
}

/// Converts the value of one option.
fn choose(
    reader: &mut Reader<'_, '_>,
    option: &OptionSpec,
    value: &Value<'_>,
    negated: bool,
    base: &str,
) -> Option<Chosen> {
    let found = match option.setting(value.get_ref(), negated, &|path| paths::resolve(base, path)) {
        Ok(found) => found,
        Err(problem) => {
            let mut diagnostic = reader.source.error(value.span(), problem.message);
            (diagnostic.label, diagnostic.help) = (problem.label, problem.help);
            reader.problems.push(diagnostic);
            return None;
        }
    };
    if option.path.is_some() {
        reader.odd_paths(value);
    }
    let files: Vec<_> = found.files.iter().flat_map(super::files::shards).take(MOST_FILES + 1).collect();
    if files.len() > MOST_FILES {
        let message = format!("`{}` names more than {MOST_FILES} files", option.key);
        reader.problem(
            value.span(),
            message,
            "",
            "name the first file of the split model, and check its number of parts",
        );
        return None;
    }
    let origin = reader.source.origin(&value.span());
    Some(Chosen { setting: found.setting, json: found.json, files, origin })
}

fn unknown(reader: &mut Reader<'_, '_>, name: &str, span: Range<usize>, suggestion: Option<String>) {
    let help = match (suggest::elsewhere(name, "parameters"), suggestion) {
        (Some(elsewhere), _) => elsewhere,
        (None, Some(near)) => format!("did you mean `{near}`?"),
        (None, None) => "`llama-server --help` lists its options".to_owned(),
    };
    reader.problem(span, format!("llama-server has no option `{name}`"), "", help);
}

/// Reports two spellings of one option: points at both, the later one first.
fn stated_twice(reader: &mut Reader<'_, '_>, option: &str, one: Range<usize>, other: Range<usize>) {
    let (first, second) = if one.start < other.start { (one, other) } else { (other, one) };
    let problem = reader.source.error(second, format!("the option `{option}` is set twice"));
    let problem = problem.label("the same option").also(first, "first set here");
    reader.problems.push(problem.help("remove one of the two"));
}

fn environment(
    reader: &mut Reader<'_, '_>,
    table: &DeTable<'_>,
    catalogue: &Catalogue,
) -> Table<Arc<str>, Located<String>> {
    let mut env = Table::default();
    for (key, value) in table {
        if reader.is_full() {
            break;
        }
        let name = key.get_ref().as_ref();
        if name.is_empty() || name.contains(['=', '\0']) {
            let help = "a variable's name must not be empty, and must not contain `=` or NUL";
            reader.problem(key.span(), format!("{name:?} is not a valid variable name"), "", help);
        } else if let Some(instead) = catalogue.owned_env(name) {
            reader.problem(key.span(), format!("`{name}` cannot be set under `[env]`"), "", instead);
        } else if let Some(text) = reader.string(name, value) {
            let stated = reader.located(text.to_owned(), value.span());
            env.insert(reader.names.shared(name), stated);
        }
    }
    env
}

/// Returns the one key that sets the weights, by canonical option name.
pub(super) fn weights(
    reader: &mut Reader<'_, '_>,
    given: &[Weights<'_, '_>],
    catalogue: &Catalogue,
    base: &str,
) -> Option<(&'static str, Chosen)> {
    let [one] = given else {
        reader.problems.push(not_exactly_one(reader, given));
        return None;
    };
    let text = reader.string(one.key, one.value)?;
    if let Some((message, help)) = malformed(one.key, text) {
        reader.problem(one.value.span(), message, "", help);
        return None;
    }
    let Some(option) = catalogue.get(one.key) else {
        let message = format!("this llama-server has no option `{}`", one.key);
        reader.problem(one.key_span.clone(), message, "", "use a newer llama-server");
        return None;
    };
    choose(reader, option, one.value, false, base).map(|chosen| (one.key, chosen))
}

fn not_exactly_one(reader: &Reader<'_, '_>, given: &[Weights<'_, '_>]) -> Diagnostic {
    let mut given: Vec<_> = given.iter().collect();
    given.sort_by_key(|weights| weights.key_span.start);
    match given[..] {
        [first, second, ..] => {
            let message = format!("`{}` and `{}` both say which weights to load", first.key, second.key);
            let problem = reader.source.error(second.key_span.clone(), message).label("the second source");
            problem.also(first.key_span.clone(), "the first source").help("keep the one you want and remove the others")
        }
        _ => Diagnostic::error(reader.source.file.clone(), "a definition needs `model`, `hf_repo` or `model_url`")
            .help(
                "add `model = \"path/to/weights.gguf\"`, `hf_repo = \"org/repo:quant\"` or `model_url = \"https://…\"`",
            ),
    }
}

/// What is wrong with the text of a weights key, and the fix.
pub(crate) fn malformed(key: &str, text: &str) -> Option<(String, &'static str)> {
    match key {
        _ if text.trim().is_empty() => Some((format!("`{key}` is empty"), "say which weights to load")),
        "hf_repo" if !is_repository(text) => Some((
            format!("{text:?} is not a Hugging Face repository"),
            "write it like `\"org/repo\"` or `\"org/repo:Q4_K_M\"`",
        )),
        "model_url" if !(text.starts_with("https://") || text.starts_with("http://")) => {
            Some((format!("{text:?} is not a download URL"), "start it with `https://`"))
        }
        _ => None,
    }
}

/// `org/repo`, optionally with `:quant`.
fn is_repository(text: &str) -> bool {
    let (repository, quant) = text.split_once(':').unwrap_or((text, "any"));
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    repository.split_once('/').is_some_and(|(org, repo)| word(org) && word(repo)) && word(quant)
}
