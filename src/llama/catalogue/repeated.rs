//! What llama-server does with an option that is set more than once.
//!
//! It warns for every option ("specified multiple times, … only last value will be
//! used"), and is wrong about those in the table. Measured on b10434;
//! `tests/real/repeated.rs` measures it again, and fails for an option that nobody
//! has decided about. `n_cpu_moe` and `spec_draft_n_cpu_moe` have an effect only
//! with a mixture of experts, so they were read in the source.
//!
//! A variable (`LLAMA_ARG_…`) counts as set before the command line.

/// What llama-server does with the values of an option that is set more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// The last one wins.
    Last,
    /// Each is added to those before.
    Adds,
    /// The largest wins: the experts of the first N layers are kept.
    Largest,
    /// Each is a JSON object, and later keys replace earlier ones.
    Merges,
    /// A list replaces the beginning of the one before; a single value all of it.
    Overlays,
}

/// All options, except those where the last one wins.
const TABLE: [(&str, Repeated); 27] = [
    ("alias", Repeated::Adds),
    ("api_key", Repeated::Adds),
    ("api_key_file", Repeated::Adds),
    ("chat_template_kwargs", Repeated::Merges),
    ("control_vector", Repeated::Adds),
    ("control_vector_scaled", Repeated::Adds),
    ("cpu_mask", Repeated::Adds),
    ("cpu_mask_batch", Repeated::Adds),
    ("cpu_range", Repeated::Adds),
    ("cpu_range_batch", Repeated::Adds),
    ("dry_sequence_breaker", Repeated::Adds),
    ("fit_target", Repeated::Overlays),
    ("logit_bias", Repeated::Adds),
    ("lora", Repeated::Adds),
    ("lora_scaled", Repeated::Adds),
    ("n_cpu_moe", Repeated::Largest),
    ("override_kv", Repeated::Adds),
    ("override_tensor", Repeated::Adds),
    ("reverse_prompt", Repeated::Adds),
    ("rpc", Repeated::Adds),
    ("spec_draft_cpu_mask", Repeated::Adds),
    ("spec_draft_cpu_mask_batch", Repeated::Adds),
    ("spec_draft_cpu_range", Repeated::Adds),
    ("spec_draft_n_cpu_moe", Repeated::Largest),
    ("spec_draft_override_tensor", Repeated::Adds),
    ("spec_type", Repeated::Adds),
    ("tags", Repeated::Adds),
];

/// Returns what llama-server does with the option `key`.
pub(super) fn of(key: &str) -> Repeated {
    TABLE.iter().find(|(known, _)| *known == key).map_or(Repeated::Last, |(_, repeated)| *repeated)
}

#[cfg(test)]
mod tests {
    use super::super::{Catalogue, ListStyle};
    use super::*;

    #[test]
    fn every_line_of_the_table_names_an_option_of_the_pinned_help() {
        let catalogue = Catalogue::embedded();
        for (key, repeated) in TABLE {
            let option = catalogue.get(key);
            assert!(option.is_some_and(|option| option.repeated == repeated), "{key}");
        }
        assert!(TABLE.is_sorted_by_key(|(key, _)| *key), "it is in order");
    }

    #[test]
    fn repeats_the_option_for_values_that_are_not_joined() {
        let catalogue = Catalogue::embedded();
        for option in catalogue.options() {
            let is_repeated = option.list == ListStyle::Repeated;
            let is_joined = matches!(option.list, ListStyle::Joined(_));
            let adds = option.repeated == Repeated::Adds;
            assert_eq!(is_repeated, adds && !is_joined, "{}", option.key);
        }
    }
}
