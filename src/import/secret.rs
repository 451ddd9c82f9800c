//! What may be a secret, judging by its name: a variable, an option, a key.

/// Words that suggest a secret, anywhere in a name: `DB_PASS`, `API_KEY_2`,
/// `HF_TOKEN_READ`.
const WORDS: [&str; 17] = [
    "auth",
    "authorization",
    "bearer",
    "credential",
    "credentials",
    "creds",
    "key",
    "keys",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "pwd",
    "secret",
    "secrets",
    "token",
    "tokens",
];

/// Those that are also written without a separator: `HFTOKEN`.
const ENDS: [&str; 7] = ["apikey", "apikeys", "accesskey", "secretkey", "token", "secret", "password"];

/// Endings that say where something is: `API_KEY_FILE`, `SSH_AUTH_SOCK`.
const PLACES: [&str; 4] = ["file", "path", "dir", "sock"];

/// Harmless words in these contexts: `IMAGE_MAX_TOKENS` counts, `CORS_CREDENTIALS`
/// is a flag, `PWD` alone is a directory.
const HARMLESS: [(&str, &str); 6] =
    [("max", "tokens"), ("min", "tokens"), ("n", "tokens"), ("num", "tokens"), ("cors", "credentials"), ("", "pwd")];

/// Whether something with this name may be a secret.
pub(super) fn names_a_secret(name: &str) -> bool {
    let words = words(name);
    if words.last().is_some_and(|last| PLACES.contains(&last.as_str())) {
        return false;
    }
    let before = std::iter::once("").chain(words.iter().map(String::as_str));
    words.iter().zip(before).any(|(word, before)| {
        (WORDS.contains(&word.as_str()) || ENDS.iter().any(|end| word.ends_with(end)))
            && !HARMLESS.contains(&(before, word))
    })
}

/// The words of `API_KEY_2`, `--api-key` and `apiKey`, in lower case, without
/// numbers.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for c in name.chars() {
        if !c.is_ascii_alphabetic() || (before.is_ascii_lowercase() && c.is_ascii_uppercase()) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (c.is_ascii_alphabetic(), words.last_mut()) {
            word.push(c.to_ascii_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a value under such a name may be or contain a secret.
pub(super) fn may_hold_one(name: &str, value: &str) -> bool {
    names_a_secret(name) || may_begin(value).is_some()
}

/// Where in a text a secret may start: after the first name of one, or at the `sk-`
/// of a key.
pub(super) fn may_begin(text: &str) -> Option<usize> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let mut from = 0;
    while let Some(start) = text[from..].find(is_part).map(|at| from + at) {
        let end = text[start..].find(|c| !is_part(c)).map_or(text.len(), |at| start + at);
        let name = &text[start..end];
        if name.starts_with("sk-") {
            return Some(start + "sk-".len());
        }
        if names_a_secret(name) {
            return Some(end);
        }
        from = end;
    }
    None
}

/// Whether a text is a URL with a password in it, like those of proxies:
/// `http://user:password@proxy:3128`.
pub(super) fn is_in_url(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::Catalogue;

    #[test]
    fn an_address_may_hold_a_password() {
        assert!(is_in_url("http://me:verysecret@proxy:3128/"));
        for harmless in ["http://proxy:3128", "http://me@proxy:3128", "https://host/a:b@c", "a:b@c"] {
            assert!(!is_in_url(harmless), "{harmless}");
        }
    }

    #[test]
    fn recognises_a_secret_by_a_word_in_its_name() {
        let secrets = [
            "AUTH",
            "OPENAI_KEY",
            "DB_PASS",
            "API_KEY_2",
            "API_KEY2",
            "HF_TOKEN_READ",
            "HFTOKEN",
            "MYSQL_PWD",
            "apiKeys",
            "--secret-token",
            "AWS_SECRET_ACCESS_KEY",
            "GOOGLE_CREDENTIALS",
            "API_TOKENS",
        ];
        let others = [
            "KEYBOARD",
            "MONKEY",
            "COMPASS",
            "AUTHOR",
            "MAX_TOKENS",
            "N_TOKENS",
            "TOKENIZERS_PARALLELISM",
            "API_KEY_FILE",
            "SSH_AUTH_SOCK",
            "PWD",
            "LLAMA_ARG_N_PREDICT",
            "CUDA_VISIBLE_DEVICES",
            "OMP_NUM_THREADS",
            "GGML_CUDA_ENABLE_UNIFIED_MEMORY",
            "HF_HOME",
        ];
        for (names, is_secret) in [(&secrets[..], true), (&others[..], false)] {
            for name in names {
                assert_eq!(names_a_secret(name), is_secret, "{name}");
            }
        }
    }

    #[test]
    fn exactly_two_options_are_secrets() {
        let catalogue = Catalogue::embedded();
        let keys = catalogue.options().map(|option| option.key.as_str());
        let variables = catalogue.options().filter_map(|option| option.env.as_deref());
        let mut secrets: Vec<&str> = keys.chain(variables).filter(|name| names_a_secret(name)).collect();
        secrets.sort_unstable();
        assert_eq!(secrets, ["HF_TOKEN", "LLAMA_API_KEY", "api_key", "hf_token"]);
    }

    #[test]
    fn finds_a_possible_secret_after_its_name() {
        let behind = |text: &'static str| may_begin(text).map(|at| &text[at..]);
        assert_eq!(behind("é curl -H 'Authorization: x'"), Some(": x'"));
        assert_eq!(behind("- sk-2"), Some("2"));
        assert_eq!(behind("cmd: x --api-key-file /k ask-me"), None);
    }
}
