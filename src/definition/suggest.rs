//! Did-you-mean for keys and words, and the keys each place knows.

/// Keys of a definition that are no tables.
pub(crate) const TOP_LEVEL: [&str; 11] =
    ["type", "state", "name", "model", "hf_repo", "model_url", "host", "port", "aliases", "binary", "description"];
/// Tables of a definition.
pub(crate) const TABLES: [&str; 6] = ["labels", "parameters", "env", "secrets", "ready", "update"];
/// Keys of `[secrets]`.
pub(crate) const SECRETS: [&str; 2] = ["api_key", "hf_token"];
/// Keys of `[ready]`.
pub(crate) const READY: [&str; 3] = ["timeout", "unhealthy_after", "require_gpu"];
/// Keys of `[update]`.
pub(crate) const UPDATE: [&str; 2] = ["drain", "on_failure"];

/// The candidate that `text` most likely was meant to be: at most a third of
/// it mistyped, or one of them begins the other.
pub(crate) fn nearest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let text = text.to_ascii_lowercase().replace('-', "_");
    let distance = |candidate: &str| strsim::damerau_levenshtein(&text, candidate);
    let (distance, best) = candidates.into_iter().map(|c| (distance(c), c)).min_by_key(|(distance, _)| *distance)?;
    (distance <= text.chars().count().max(best.len()).div_ceil(3)).then_some(best)
}

/// The place that knows `key`, in words, if it is not the place `here`.
pub(crate) fn elsewhere(key: &str, here: &str) -> Option<String> {
    let key = &*key.replace('-', "_");
    if !here.is_empty() && TOP_LEVEL.contains(&key) {
        return Some(format!("`{key}` goes at the top of the file, before the first `[table]`"));
    }
    if !here.is_empty() && TABLES.contains(&key) {
        return Some(format!("`[{key}]` is a table of its own, not part of `[{here}]`"));
    }
    [("secrets", &SECRETS[..]), ("ready", &READY[..]), ("update", &UPDATE[..])]
        .into_iter()
        .find(|(table, keys)| *table != here && keys.contains(&key))
        .map(|(table, _)| format!("put it under `[{table}]`"))
}

/// `a`, `b` or `c`, as values to choose from.
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
    fn a_slip_is_recognised_and_another_word_is_not() {
        assert_eq!(nearest("prot", TOP_LEVEL), Some("port"));
        assert_eq!(nearest("hf-repo", TOP_LEVEL), Some("hf_repo"));
        assert_eq!(nearest("Parameter", TABLES), Some("parameters"));
        assert_eq!(nearest("modle", TOP_LEVEL), Some("model"));
        assert_eq!(nearest("gpu", TOP_LEVEL), None);
        assert_eq!(nearest("", TOP_LEVEL), None);
    }

    #[test]
    fn a_key_at_the_wrong_place_is_told_its_own() {
        assert_eq!(elsewhere("drain", "").as_deref(), Some("put it under `[update]`"));
        assert_eq!(elsewhere("drain", "update"), None);
        assert!(elsewhere("state", "parameters").is_some_and(|help| help.contains("top of the file")));
        assert!(elsewhere("env", "parameters").is_some_and(|help| help.contains("table of its own")));
        assert_eq!(elsewhere("colour", "ready"), None);
    }
}
