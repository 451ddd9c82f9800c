//! Options as command lines and the environment spell them, rather than
//! definitions: for code that reads how others start llama-server.

use super::{Catalogue, Named, OptionSpec, owned};

impl Catalogue {
    /// Finds the option that a word of a command line names, long or short, and
    /// whether it is its negation (`--no-mmap`, `-nkvo`). Like llama-server,
    /// accepts `_` for `-` in long names.
    #[must_use]
    pub fn argument(&self, word: &str) -> Option<(&OptionSpec, bool)> {
        if let Some(long) = word.strip_prefix("--") {
            let Named { index, negated } = *self.long.get(&long.replace('_', "-"))?;
            return Some((self.options.get(index)?, negated));
        }
        let option = self.by_short(word.strip_prefix('-')?)?;
        // The help lists short negations among the short names; they start like
        // this.
        Some((option, option.negation.is_some() && word.starts_with("-n")))
    }

    /// Finds the option that a variable sets, and whether it is its negation:
    /// `LLAMA_ARG_NO_MMAP` turns off what `LLAMA_ARG_MMAP` sets.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<(&OptionSpec, bool)> {
        let by_name = |name: &str| self.options().find(|option| option.env.as_deref() == Some(name));
        if let Some(option) = by_name(name) {
            return Some((option, false));
        }
        let positive = format!("LLAMA_ARG_{}", name.strip_prefix("LLAMA_ARG_NO_")?);
        by_name(&positive).filter(|option| option.negation.is_some()).map(|option| (option, true))
    }
}

impl OptionSpec {
    /// Why it cannot be set in `[parameters]`, and what to do instead, as a help
    /// sentence; `None`: it can.
    #[must_use]
    pub fn instead(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Whether the reason is that herdsman sets it itself, or has another key for
    /// it, so that a server without it is the same.
    #[must_use]
    pub fn is_owned(&self) -> bool {
        owned::is_owned(&self.key)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_word_of_a_command_line_is_found_by_any_spelling() {
        let catalogue = Catalogue::embedded();
        let found = |word: &str| catalogue.argument(word).map(|(option, negated)| (option.key.clone(), negated));
        let is = |key: &str, negated| Some((key.to_owned(), negated));
        assert_eq!(found("-c"), is("ctx_size", false));
        assert_eq!(found("--ctx_size"), is("ctx_size", false));
        assert_eq!(found("-ngl"), is("gpu_layers", false));
        assert_eq!(found("--no-mmap"), is("mmap", true));
        assert_eq!(found("-nkvo"), is("kv_offload", true));
        assert_eq!(found("-kvo"), is("kv_offload", false));
        assert_eq!(found("-no-kvu"), is("kv_unified", true));
        assert_eq!(found("--no-host"), is("no_host", false), "that is a name of its own");
        assert_eq!([found("ctx-size"), found("--x"), found("-"), found("")], [None, None, None, None]);
    }

    #[test]
    fn a_variable_is_found_and_so_is_its_negation() {
        let catalogue = Catalogue::embedded();
        let found = |name: &str| catalogue.variable(name).map(|(option, negated)| (option.key.clone(), negated));
        assert_eq!(found("LLAMA_ARG_CTX_SIZE"), Some(("ctx_size".to_owned(), false)));
        assert_eq!(found("LLAMA_ARG_NO_MMAP"), Some(("mmap".to_owned(), true)));
        assert_eq!(found("LLAMA_ARG_NO_CTX_SIZE"), None);
        assert_eq!(found("PATH"), None);
    }

    #[test]
    fn short_names_starting_with_n_are_negations_only_beside_the_positive() {
        let catalogue = Catalogue::embedded();
        let shorts = catalogue.options().flat_map(|o| o.spellings.iter().map(move |s| (o, &s.0)));
        let negations: Vec<&str> = shorts
            .filter(|(_, name)| catalogue.argument(name).is_some_and(|(_, negated)| negated) && !name.starts_with("--"))
            .map(|(_, name)| name.as_str())
            .collect();
        assert_eq!(negations, ["-nkvo", "-nr", "-ndio", "-no-kvu", "-nocb", "-no-ag"]);
    }
}
