//! The words of a llama-server's command line.

use super::model::Model;
use super::options::{Given, Options, TRUTHY};
use super::remark::{Place, Why};
use crate::definition::catalogue::{ListStyle, OptionSpec, ValueKind};

/// One option and its value, of a command line.
struct Stated<'a> {
    option: &'a OptionSpec,
    negated: bool,
    spelt: &'a str,
    given: Given,
}

/// States in `model` what the words after the program's name state.
pub fn read(options: &Options<'_>, model: &mut Model, words: &[String], place: &Place) {
    let catalogue = std::sync::Arc::clone(&options.catalogue);
    let mut stated: Vec<Stated<'_>> = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let Some((option, negated)) = catalogue.argument(word) else {
            unknown(options, model, word, &mut words, |word| catalogue.argument(word).is_some(), place);
            continue;
        };
        let given = match (&option.kind, &option.list) {
            (ValueKind::Flag, _) => Given::Bare,
            (_, ListStyle::Words(count)) => Given::Words(words.by_ref().take(*count).cloned().collect()),
            _ if option.choices.iter().any(|choice| choice == "on")
                && words.peek().is_none_or(|next| !option.choices.contains(next) && next.starts_with('-')) =>
            {
                Given::Bare
            }
            _ => words.next().map_or(Given::Bare, |value| Given::Text(value.clone())),
        };
        merge(model, &mut stated, Stated { option, negated, spelt: word, given }, place);
    }
    for Stated { option, negated, spelt, given } in &stated {
        if let Some((place, variable)) = model.variables.remove(&option.key)
            && !is_same(&variable, given)
        {
            model.remark(&place, variable, Why::OnCommandLine);
        }
        options.set(model, option, *negated, given, spelt, place);
    }
}

/// Whether `NAME=VALUE` states what the command line does.
fn is_same(variable: &str, given: &Given) -> bool {
    let value = variable.split_once('=').map_or("", |(_, value)| value);
    match given {
        Given::Text(text) => text == value,
        Given::Bare => TRUTHY.contains(&value),
        _ => false,
    }
}

/// Of an option stated twice the last one counts; lists become one list.
fn merge<'a>(model: &mut Model, stated: &mut Vec<Stated<'a>>, next: Stated<'a>, place: &Place) {
    let Some(known) = stated.iter_mut().find(|known| known.option.key == next.option.key) else {
        stated.push(next);
        return;
    };
    let is_secret = super::names_a_secret(&next.option.key);
    if let (Given::Text(before), Given::Text(text), ListStyle::Joined(separator), false) =
        (&known.given, &next.given, next.option.list, is_secret)
    {
        let became = format!("one list: llama-server uses only the last `{}` of several", next.spelt);
        model.remark(place, format!("{} {text}", next.spelt), Why::Became(became));
        known.given = Given::Text(format!("{before}{separator}{text}"));
        return;
    }
    if known.given != next.given || known.negated != next.negated {
        let before = match &known.given {
            Given::Text(text) if !is_secret => format!("{} {text}", known.spelt),
            _ => known.spelt.to_owned(),
        };
        model.remark(place, before, Why::Overridden);
    }
    *known = next;
}

/// A word that names no option, with what seems to be its value.
fn unknown<'a>(
    options: &Options<'_>,
    model: &mut Model,
    word: &str,
    words: &mut std::iter::Peekable<impl Iterator<Item = &'a String>>,
    is_option: impl Fn(&str) -> bool,
    place: &Place,
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

/// The name of a program without its directory.
pub fn program(word: &str) -> &str {
    word.rsplit(['/', '\\']).next().unwrap_or(word)
}

/// Whether a program is llama-server by its name: also `llama-server-b10434`
/// and `llama-server.exe`, but no script.
pub fn is_llama_server(word: &str) -> bool {
    let name = program(word);
    name.strip_prefix("llama-server").is_some_and(|rest| {
        (rest.is_empty() || rest.starts_with(['-', '_', '.'])) && ![".sh", ".py"].iter().any(|end| rest.ends_with(end))
    })
}
