//! What each option of llama-server can do to the host.
//!
//! herdsman refuses an option in every definition unless it is in the table below
//! or in `harmless.txt`; a test checks all options of the pinned llama-server. An
//! option of another llama-server that is in neither is refused until the policy
//! allows it, because nobody has reviewed it.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::Key;

/// What an option does that the host's owner has to agree to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Nothing.
    Harmless,
    /// Reads a file, which must be in the directories of this key.
    Reads(Key),
    /// Downloads: its value must be one of `downloads`.
    Downloads,
    /// Names a file within a download.
    NamesDownload,
    /// Does harm, and how. Even where `allow_options` allows it, a path it takes
    /// must be in the directories of this key.
    Denied(&'static str, Option<Key>),
}

const RUNS: &str = "it lets anyone who can reach the server run programs and read and write files on this host";
const WRITES: &str = "it opens files for writing";
const SERVES: &str = "it serves this host's files to anyone who can reach the server";
const REACHES: &str = "it makes the server connect to other hosts";

/// Options that are not harmless.
const OPTIONS: [(&str, Use); 33] = [
    ("model", Use::Reads(Key::ModelRoots)),
    ("mmproj", Use::Reads(Key::ModelRoots)),
    ("lora", Use::Reads(Key::ModelRoots)),
    ("lora_scaled", Use::Reads(Key::ModelRoots)),
    ("control_vector", Use::Reads(Key::ModelRoots)),
    ("control_vector_scaled", Use::Reads(Key::ModelRoots)),
    ("spec_draft_model", Use::Reads(Key::ModelRoots)),
    ("chat_template_file", Use::Reads(Key::FileRoots)),
    ("grammar_file", Use::Reads(Key::FileRoots)),
    ("json_schema_file", Use::Reads(Key::FileRoots)),
    ("lookup_cache_static", Use::Reads(Key::FileRoots)),
    ("ssl_cert_file", Use::Reads(Key::FileRoots)),
    ("ssl_key_file", Use::Reads(Key::FileRoots)),
    ("ui_config_file", Use::Reads(Key::FileRoots)),
    ("docker_repo", Use::Downloads),
    ("hf_repo", Use::Downloads),
    ("mmproj_url", Use::Downloads),
    ("model_url", Use::Downloads),
    ("spec_draft_hf", Use::Downloads),
    ("hf_file", Use::NamesDownload),
    ("agent", Use::Denied(RUNS, None)),
    ("mcp_servers_config", Use::Denied(RUNS, Some(Key::FileRoots))),
    ("mcp_servers_json", Use::Denied(RUNS, None)),
    ("tools", Use::Denied(RUNS, None)),
    ("tools_runtime", Use::Denied(RUNS, None)),
    ("log_prompts_dir", Use::Denied(WRITES, Some(Key::WriteRoots))),
    ("lookup_cache_dynamic", Use::Denied(WRITES, Some(Key::WriteRoots))),
    ("slot_save_path", Use::Denied(WRITES, Some(Key::WriteRoots))),
    ("media_path", Use::Denied(SERVES, Some(Key::FileRoots))),
    ("path", Use::Denied(SERVES, Some(Key::FileRoots))),
    ("rpc", Use::Denied(REACHES, None)),
    ("ui_mcp_proxy", Use::Denied(REACHES, None)),
    // Of other versions.
    ("prompt_cache", Use::Denied(WRITES, Some(Key::WriteRoots))),
];

/// The keys of options that take no path, no address and no code, and write
/// nothing: reviewed one by one.
const HARMLESS: &str = include_str!("harmless.txt");

/// Returns what the option `key` does; `None`: nobody has reviewed it.
pub(super) fn use_of(key: &str) -> Option<Use> {
    static KNOWN: LazyLock<HashSet<&str>> = LazyLock::new(|| harmless().collect());
    let listed = OPTIONS.iter().find(|(listed, _)| *listed == key).map(|(_, what)| *what);
    listed.or_else(|| KNOWN.contains(key).then_some(Use::Harmless))
}

fn harmless() -> impl Iterator<Item = &'static str> {
    HARMLESS.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Catalogue;
    use crate::llama::catalogue::{OptionMatch, PathRole};

    #[test]
    fn every_option_of_the_pinned_llama_server_is_decided_once() {
        for option in Catalogue::embedded().options() {
            let refused = matches!(Catalogue::embedded().find(&option.key), OptionMatch::Owned { .. });
            let at_the_top = ["model", "hf_repo", "model_url"].contains(&option.key.as_str());
            assert!(
                use_of(&option.key).is_some() || refused && !at_the_top,
                "what can `{}` do to the host? Put it into the table of src/owner/policy/options.rs, or, if it takes no \
                 path, no address and no code and writes nothing, into src/owner/policy/harmless.txt",
                option.key
            );
            let listed = usize::from(OPTIONS.iter().any(|(key, _)| *key == option.key));
            let harmless = harmless().filter(|key| *key == option.key).count();
            assert!(listed + harmless <= 1, "`{}` is decided twice", option.key);
        }
    }

    #[test]
    fn no_option_that_takes_a_path_or_an_address_counts_as_harmless() {
        let takes_a_path = |metavar: &str| {
            let metavar = metavar.to_ascii_uppercase();
            ["PATH", "FNAME", "FILE", "URL", "REPO", "SERVERS", "<USER>", "DIR"]
                .iter()
                .any(|word| metavar.contains(word))
        };
        for option in Catalogue::embedded().options() {
            let takes = option.path.is_some() || takes_a_path(&option.metavar);
            assert!(!takes || use_of(&option.key) != Some(Use::Harmless), "{} {}", option.key, option.metavar);
            // A path that is written to, or a directory, is not just read.
            let read = matches!(use_of(&option.key), Some(Use::Reads(_)));
            assert!(!read || matches!(option.path, Some(PathRole::Input { .. })), "{}", option.key);
        }
    }

    #[test]
    fn every_harmless_entry_is_an_option() {
        let unknown = harmless().find(|key| Catalogue::embedded().get(key).is_none());
        assert_eq!(unknown, None);
    }

    #[test]
    fn no_variable_gets_an_option_past_the_checks() {
        let catalogue = Catalogue::embedded();
        for option in catalogue.options() {
            if let Some(variable) = &option.env {
                assert!(catalogue.owned_env(variable).is_some(), "{variable}");
                assert!(super::super::environment::harm(variable).is_some(), "{variable}");
            }
        }
    }
}
