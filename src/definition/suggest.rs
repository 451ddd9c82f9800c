//! Did-you-mean for keys and words.

use super::keys::{IdleKey, Key, ReadyKey, SecretKey, ServeKey, UpdateKey};

/// What people call the weights elsewhere, and the key that is meant.
const ELSEWHERE: [(&str, Key); 17] = [
    ("model_path", Key::Model),
    ("model_file", Key::Model),
    ("path", Key::Model),
    ("file", Key::Model),
    ("filename", Key::Model),
    ("gguf", Key::Model),
    ("gguf_path", Key::Model),
    ("gguf_file", Key::Model),
    ("weights", Key::Model),
    ("repo", Key::HfRepo),
    ("repo_id", Key::HfRepo),
    ("hf", Key::HfRepo),
    ("hf_model", Key::HfRepo),
    ("url", Key::ModelUrl),
    ("download_url", Key::ModelUrl),
    ("alias", Key::Aliases),
    ("groups", Key::Group),
];

/// The key at the top of a definition that `text` means in other programs' words.
pub(super) fn in_other_words(text: &str) -> Option<Key> {
    let text = &*text.to_ascii_lowercase().replace('-', "_");
    ELSEWHERE.iter().find(|(word, _)| *word == text).map(|(_, key)| *key)
}

/// The candidate that `text` most likely means: at most a third of it is mistyped.
pub(crate) fn nearest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    closest(&text.to_ascii_lowercase().replace('-', "_"), candidates)
}

/// [`nearest`] for words that are not spelled like keys, such as model names.
pub(crate) fn closest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let distance = |candidate: &str| strsim::damerau_levenshtein(text, candidate);
    let (distance, best) = candidates.into_iter().map(|c| (distance(c), c)).min_by_key(|(distance, _)| *distance)?;
    (distance <= text.chars().count().max(best.len()).div_ceil(3)).then_some(best)
}

/// Says which table has `key`, if it is not the table `here`.
pub(crate) fn elsewhere(key: &str, here: &str) -> Option<String> {
    let key = &*key.replace('-', "_");
    match Key::find(key) {
        Some(table) if table.is_table() && !here.is_empty() => {
            return Some(format!("`[{key}]` is a separate table, not part of `[{here}]`"));
        }
        Some(_) if !here.is_empty() => {
            return Some(format!("`{key}` goes at the top of the file, before the first `[table]`"));
        }
        _ => {}
    }
    let tables = [
        (Key::Secrets, SecretKey::NAMES),
        (Key::Ready, ReadyKey::NAMES),
        (Key::Update, UpdateKey::NAMES),
        (Key::Idle, IdleKey::NAMES),
        (Key::Serve, ServeKey::NAMES),
    ];
    tables
        .into_iter()
        .map(|(table, keys)| (table.as_str(), keys))
        .find(|(table, keys)| *table != here && keys.contains(&key))
        .map(|(table, _)| format!("put it under `[{table}]`"))
}

/// `a`, `b` or `c`, as a choice of values.
pub(crate) fn alternatives<'c>(words: impl Iterator<Item = &'c str>) -> String {
    let words: Vec<_> = words.map(|word| format!("`\"{word}\"`")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_typos_but_not_other_words() {
        let near = |text| nearest(text, Key::NAMES.iter().copied());
        assert_eq!(near("prot"), Some("port"));
        assert_eq!(near("hf-repo"), Some("hf_repo"));
        assert_eq!(near("Parameter"), Some("parameters"));
        assert_eq!(near("modle"), Some("model"));
        assert_eq!(near("gpu"), None);
        assert_eq!(near(""), None);
    }

    #[test]
    fn knows_the_words_of_other_programs() {
        let means = |text| in_other_words(text).map(Key::as_str);
        assert_eq!(
            ["model_path", "Model-Path", "gguf", "repo_id", "url"].map(means),
            ["model", "model", "model", "hf_repo", "model_url"].map(Some)
        );
        assert_eq!(["model", "mdoel", "ctx", ""].map(means), [None; 4]);
        let is_key = |word: &str| Key::find(word).is_some();
        assert!(!ELSEWHERE.iter().any(|(word, _)| is_key(word)));
    }

    #[test]
    fn points_a_misplaced_key_to_its_table() {
        assert_eq!(elsewhere("drain", "").as_deref(), Some("put it under `[update]`"));
        assert_eq!(elsewhere("drain", "update"), None);
        assert_eq!(elsewhere("stop_after", "").as_deref(), Some("put it under `[idle]`"));
        assert_eq!(elsewhere("max-in-flight", "update").as_deref(), Some("put it under `[serve]`"));
        assert!(elsewhere("state", "parameters").is_some_and(|help| help.contains("top of the file")));
        assert!(elsewhere("env", "parameters").is_some_and(|help| help.contains("separate table")));
        assert_eq!(elsewhere("colour", "ready"), None);
    }
}
