//! Reads a secret where its definition says it is.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;

use crate::model::SecretSource;

/// The most bytes a secret may have: the kernel takes 128 KiB for one
/// variable of an environment.
const MAX: u64 = 64 << 10;

/// A secret that cannot be given to a process. Never holds its value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The variable is not in herdsman's environment.
    #[error("is not set")]
    Unset,
    /// An empty key would leave the server open to all.
    #[error("is empty")]
    Empty,
    /// The value is longer than 64 KiB.
    #[error("is longer than 64 KiB")]
    TooLong,
    /// A variable of an environment cannot hold a NUL.
    #[error("holds a NUL byte")]
    Nul,
}

/// The secret as it is right now, without the one trailing newline of a file.
///
/// # Errors
/// [`SecretError`]; it does not name the source, the caller does.
pub fn read_secret(source: &SecretSource) -> Result<Vec<u8>, SecretError> {
    let value = match source {
        SecretSource::File(path) => {
            let mut value = Vec::new();
            File::open(path)?.take(MAX + 2).read_to_end(&mut value)?;
            if value.last() == Some(&b'\n') {
                value.pop();
            }
            value
        }
        SecretSource::Env(name) => std::env::var_os(name).ok_or(SecretError::Unset)?.into_vec(),
    };
    match value {
        value if value.is_empty() => Err(SecretError::Empty),
        value if value.len() as u64 > MAX => Err(SecretError::TooLong),
        value if value.contains(&0) => Err(SecretError::Nul),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn file(content: &[u8]) -> Result<Vec<u8>, SecretError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, content).unwrap();
        read_secret(&SecretSource::File(path.to_str().unwrap().to_owned()))
    }

    #[test]
    fn one_trailing_newline_is_not_part_of_it() {
        assert_eq!(file(b"key").unwrap(), b"key");
        assert_eq!(file(b"key\n").unwrap(), b"key");
        assert_eq!(file(b"key\n\n").unwrap(), b"key\n");
    }

    #[test]
    fn a_secret_that_would_not_protect_or_not_fit_is_refused() {
        assert!(matches!(file(b"\n"), Err(SecretError::Empty)));
        assert!(matches!(file(b"a\0b"), Err(SecretError::Nul)));
        assert!(matches!(file(&vec![b'x'; 70_000]), Err(SecretError::TooLong)));
        assert!(file(&vec![b'x'; 65_536]).is_ok());
        let missing = read_secret(&SecretSource::File("/no/such/secret".to_owned()));
        assert!(matches!(missing, Err(SecretError::Unreadable(_))));
        let unset = read_secret(&SecretSource::Env("HERDSMAN_NO_SUCH_VARIABLE".to_owned()));
        assert!(matches!(unset, Err(SecretError::Unset)));
    }
}
