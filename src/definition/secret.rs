//! Secrets: read at every start from where the definition says. The spec has only a
//! keyed digest, and no value outlives the call that reads it unless the caller
//! keeps it.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Mutex;

use crate::model::{SecretRef, SecretSource};
use crate::sys::regular;

/// The longest secret that is read, bytes: keys and tokens are far shorter.
const LONGEST: u64 = 64 * 1024;

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret file {path}: {cause}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The variable is not set in herdsman's environment.
    #[error("the variable {0} is not set in herdsman's environment")]
    Unset(String),
    /// It is empty. An empty key would leave the server open.
    #[error("the secret from {0} is empty")]
    Empty(SecretSource),
    /// It is longer than 64 KiB.
    #[error("the secret from {0} is longer than 64 KiB")]
    TooLong(SecretSource),
    /// It is not UTF-8, or contains a NUL, which no environment can hold, or
    /// another control character, which no HTTP header can hold.
    #[error("the secret from {0} is not one line of text")]
    NotText(SecretSource),
}

/// Reads a secret's value, without one trailing newline.
///
/// # Errors
/// [`SecretError`] says what is wrong and names the file or variable, never
/// the value.
pub fn read_secret(source: &SecretSource) -> Result<String, SecretError> {
    let bytes = match source {
        SecretSource::File(path) => {
            let unreadable = |cause| SecretError::Unreadable { path: path.clone(), cause };
            let (file, _) = regular::open(Path::new(path)).map_err(unreadable)?;
            let mut bytes = Vec::new();
            file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(unreadable)?;
            bytes
        }
        SecretSource::Env(name) => {
            let value = std::env::var_os(name).ok_or_else(|| SecretError::Unset(name.clone()))?;
            std::os::unix::ffi::OsStringExt::into_vec(value)
        }
    };
    if u64::try_from(bytes.len()).is_ok_and(|length| length > LONGEST) {
        return Err(SecretError::TooLong(source.clone()));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| SecretError::NotText(source.clone()))?;
    let end = text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).map_or(text.len(), str::len);
    text.truncate(end);
    match text {
        text if text.is_empty() => Err(SecretError::Empty(source.clone())),
        text if text.chars().any(char::is_control) => Err(SecretError::NotText(source.clone())),
        text => Ok(text),
    }
}

/// References with their digests; each source is read once per load.
pub(super) struct SecretCache {
    key: [u8; 32],
    known: Mutex<HashMap<String, String>>,
}

impl SecretCache {
    pub fn new(key: [u8; 32]) -> Self {
        Self { key, known: Mutex::default() }
    }

    /// The reference to `source`; its digest is empty if it cannot be read.
    pub fn reference(&self, source: &SecretSource) -> SecretRef {
        let name = source.to_string();
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let digest = known.entry(name).or_insert_with(|| match read_secret(source) {
            Ok(value) => blake3::keyed_hash(&self.key, value.as_bytes()).to_hex()[..32].to_owned(),
            // The host checks report it, and only for a model that should run.
            Err(_) => String::new(),
        });
        SecretRef { source: source.clone(), digest: digest.clone() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn file(content: &[u8]) -> (tempfile::TempDir, SecretSource) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, content).unwrap();
        (dir, SecretSource::File(path.to_str().unwrap().to_owned()))
    }

    #[test]
    fn one_trailing_newline_is_not_part_of_a_secret() {
        for (content, value) in [("k", "k"), ("k\n", "k"), ("k\r\n", "k"), (" k ", " k ")] {
            let (_dir, source) = file(content.as_bytes());
            assert_eq!(read_secret(&source).unwrap(), value);
        }
    }

    #[test]
    fn refuses_variables_no_environment_can_hold() {
        let (_dir, empty) = file(b"\n");
        assert!(matches!(read_secret(&empty), Err(SecretError::Empty(_))));
        for content in [&b"a\0b"[..], b"\xff", b"k\n\n", b"a\nb"] {
            let (_dir, source) = file(content);
            assert!(matches!(read_secret(&source), Err(SecretError::NotText(_))));
        }
        let (_dir, long) = file(&vec![b'x'; 70_000]);
        assert!(matches!(read_secret(&long), Err(SecretError::TooLong(_))));
        let missing = SecretSource::File("/nonexistent/key".into());
        assert!(matches!(read_secret(&missing), Err(SecretError::Unreadable { .. })));
        let unset = SecretSource::Env("HERDSMAN_TEST_NO_SUCH_VARIABLE".into());
        assert!(matches!(read_secret(&unset), Err(SecretError::Unset(_))));
    }

    #[test]
    fn the_digest_changes_with_value_and_key() {
        let digest = |content: &[u8], key| {
            let (_dir, source) = file(content);
            SecretCache::new([key; 32]).reference(&source).digest
        };
        assert_eq!(digest(b"a", 1), digest(b"a\n", 1));
        assert_ne!(digest(b"a", 1), digest(b"b", 1));
        assert_ne!(digest(b"a", 1), digest(b"a", 2));
        assert_eq!(digest(b"a", 1).len(), 32);
        assert_eq!(digest(b"", 1), "");
    }
}
