//! The words of a llama-server's command line.

use super::given::{Given, Occurrence};
use super::model::Model;
use super::options::Options;
use super::remark::{SourceLocation, Why};
use super::repeated;
use crate::llama::catalogue::{ListStyle, OptionSpec, Repeated, ValueKind};

/// Adds to `model` what the words after the program's name set.
pub fn read(options: &Options<'_>, model: &mut Model, words: &[String], place: &SourceLocation) {
    let catalogue = std::sync::Arc::clone(&options.catalogue);
    // In the order in which each option is first set.
    let mut all: Vec<(&OptionSpec, Vec<Occurrence>)> = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let Some((option, negated)) = catalogue.argument(word) else {
            unknown(options, model, word, &mut words, |word| catalogue.argument(word).is_some(), place);
            continue;
        };
        let given = match (&option.kind, &option.list) {
            (ValueKind::Flag, _) => Given::Bare,
            (_, ListStyle::Words(count)) => Given::Words(words.by_ref().take(*count).cloned().collect()),
            _ if words.peek().is_none_or(|next| is_no_value(option, next)) => Given::Bare,
            _ => words.next().map_or(Given::Bare, |value| Given::Text(value.clone())),
        };
        let shown = match &given {
            Given::Text(text) if !super::names_a_secret(&option.key) => format!("{word} {text}"),
            _ => word.clone(),
        };
        let stated = Occurrence { negated, spelt: word.clone(), given, place: place.clone(), shown };
        match all.iter_mut().find(|(known, _)| known.key == option.key) {
            Some((_, before)) => before.push(stated),
            None => all.push((option, vec![stated])),
        }
    }
    for (option, mut stated) in all {
        if let Some(variable) = model.variables.remove(&option.key) {
            if option.repeated != Repeated::Last {
                stated.insert(0, variable);
            } else if !stated.last().is_some_and(|last| last.is_same(&variable)) {
                model.remark(&variable.place, variable.shown, Why::OnCommandLine);
            }
        }
        repeated::set(options, model, option, &stated);
    }
}

/// Whether the next word is not the option's value: older llama-servers took
/// `--flash-attn` without one.
fn is_no_value(option: &OptionSpec, next: &str) -> bool {
    let knows = |word: &str| option.choices.iter().any(|choice| choice == word);
    knows("on") && next.starts_with('-') && !(next == "-1" && knows("auto"))
}

/// Handles a word that names no option, with what seems to be its value.
fn unknown<'a>(
    options: &Options<'_>,
    model: &mut Model,
    word: &str,
    words: &mut std::iter::Peekable<impl Iterator<Item = &'a String>>,
    is_option: impl Fn(&str) -> bool,
    place: &SourceLocation,
) {
    if !word.starts_with('-') {
        return model.remark(place, word, Why::StrayWord);
    }
    let mut values = Vec::new();
    while let Some(value) = words.next_if(|next| !next.starts_with("--") && !is_option(next)) {
        values.push(value.clone());
    }
    if options.keep_unknown(model, word, &values, place) {
        return;
    }
    let mut what = word.to_owned();
    for value in &values {
        what.push(' ');
        what.push_str(if super::names_a_secret(word) { "…" } else { value });
    }
    if let Some((name, _)) = word.split_once('=').filter(|(name, _)| super::names_a_secret(name)) {
        what = format!("{name}=…");
    }
    model.remark(place, what, options.unknown());
}

/// Returns the name of a program without its directory.
pub fn program(word: &str) -> &str {
    word.rsplit(['/', '\\']).next().unwrap_or(word)
}

/// Whether a program is llama-server, judging by its name: also
/// `llama-server-b10434` and `llama-server.exe`, but not a script.
pub fn is_llama_server(word: &str) -> bool {
    let name = program(word);
    name.strip_prefix("llama-server").is_some_and(|rest| {
        (rest.is_empty() || rest.starts_with(['-', '_', '.'])) && ![".sh", ".py"].iter().any(|end| rest.ends_with(end))
    })
}
