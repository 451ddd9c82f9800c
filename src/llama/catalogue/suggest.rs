//! Suggestions: the key or value that somebody probably meant.

use super::Catalogue;

/// The same things in other programs' words (Ollama, vLLM, the Python bindings, and
/// llama.cpp's own API and source).
const ELSEWHERE: [(&str, &str); 23] = [
    ("n-ctx", "ctx_size"),
    ("num-ctx", "ctx_size"),
    ("ctx", "ctx_size"),
    ("context", "ctx_size"),
    ("context-size", "ctx_size"),
    ("context-length", "ctx_size"),
    ("context-window", "ctx_size"),
    ("max-model-len", "ctx_size"),
    ("n-batch", "batch_size"),
    ("n-ubatch", "ubatch_size"),
    ("num-batch", "batch_size"),
    ("n-threads", "threads"),
    ("num-thread", "threads"),
    ("num-threads", "threads"),
    ("num-gpu", "gpu_layers"),
    ("gpu", "gpu_layers"),
    ("n-parallel", "parallel"),
    ("num-predict", "predict"),
    ("max-tokens", "predict"),
    ("repetition-penalty", "repeat_penalty"),
    ("cache-type", "cache_type_k"),
    ("rope-frequency-base", "rope_freq_base"),
    ("draft-model", "spec_draft_model"),
];

/// Returns the candidate nearest to `wanted`, if it is near enough to be a typo.
pub(super) fn nearest<'a>(wanted: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // One typo per three characters: `ctx_sze` is `ctx_size`, `foo` is nothing.
    let limit = (wanted.chars().count() / 3).clamp(1, 3);
    candidates
        // The distance is at least the difference in length, which is quick to
        // compute.
        .filter(|candidate| candidate.len().abs_diff(wanted.len()) <= limit * char::MAX.len_utf8())
        .map(|candidate| (strsim::damerau_levenshtein(wanted, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

impl Catalogue {
    /// Returns the key meant by `name`, which is not a key: dashed, without leading
    /// dashes.
    pub(super) fn suggestion(&self, name: &str) -> Option<String> {
        let key_of = |key: &str| self.get(key).map(|option| option.key.clone());
        let name = name.to_lowercase();
        if let Some((_, key)) = ELSEWHERE.iter().find(|(other, _)| *other == name) {
            return key_of(key);
        }
        self.by_short(&name)
            .or_else(|| self.by_long(&name))
            .or_else(|| self.by_long(name.strip_suffix('s')?))
            .or_else(|| self.by_long(name.strip_prefix("no-")?))
            .or_else(|| self.by_long(nearest(&name, self.long_names())?))
            .map(|option| option.key.clone())
    }
}
