//! The keys of clients: found in a request, and compared.
//!
//! Only digests are kept, and digests are compared in constant time. The files of keys
//! are looked at again and again, apart from requests, so that a slow disk delays none:
//! a key that was changed or removed stops working with the next look.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blake3::Hash;
use hyper::header::{AUTHORIZATION, HeaderMap};

use super::Caller;
use crate::model::SecretSource;
use crate::owner::settings::Text;
use crate::owner::settings::serve;
use crate::sys::seen::Seen;

/// All keys.
#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

/// One key, and what it allows.
#[derive(Debug)]
struct Key {
    text: Text,
    caller: Caller,
    read: Mutex<Option<Read>>,
}

/// A key as it was read; without a digest, it could not be.
#[derive(Clone, Copy, Debug)]
struct Read {
    digest: Option<Hash>,
    seen: Option<Seen>,
}

impl Keys {
    /// Reads the keys. One that cannot be read is reported, and fits nothing until it
    /// can.
    pub fn new(keys: &[serve::Key]) -> Self {
        let keys = keys.iter().map(|key| Key {
            text: key.key.clone(),
            caller: Caller {
                name: Some(key.name.as_str().into()),
                models: key.models.clone().into(),
                admin: key.admin,
            },
            read: Mutex::new(None),
        });
        let keys = Self(keys.collect());
        keys.look();
        keys
    }

    /// Reads the keys whose files have changed.
    pub fn look(&self) {
        self.0.iter().for_each(Key::look);
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns who has one of these keys.
    pub fn caller(&self, presented: &[Hash]) -> Option<&Caller> {
        let has = |key: &&Key| key.digest().is_some_and(|digest| presented.contains(&digest));
        self.0.iter().find(has).map(|key| &key.caller)
    }

    /// Returns who has the key of this name.
    pub fn named(&self, name: &str) -> Option<&Caller> {
        self.0.iter().map(|key| &key.caller).find(|caller| caller.name.as_deref() == Some(name))
    }
}

impl Key {
    /// Returns the digest of the key as it was read last.
    fn digest(&self) -> Option<Hash> {
        self.last().and_then(|read| read.digest)
    }

    fn last(&self) -> MutexGuard<'_, Option<Read>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the key if its file has changed.
    fn look(&self) {
        let file = match &self.text {
            Text::Secret(SecretSource::File(path)) => Some(Path::new(path)),
            Text::Secret(SecretSource::Env(_)) | Text::Given(_) => None,
        };
        let last = *self.last();
        if let Some(Read { seen, .. }) = last
            && file.zip(seen).is_none_or(|(file, seen)| seen.is_unchanged(file))
        {
            return;
        }
        let seen = file.map(Seen::of);
        let digest = self.text.read().map(|key| blake3::hash(key.as_bytes()));
        let worked = last.is_none_or(|read| read.digest.is_some());
        if let Err(error) = &digest
            && worked
        {
            let name = self.caller.name.as_deref().unwrap_or_default();
            tracing::warn!("the key {name:?} does not work: {error}");
        }
        *self.last() = Some(Read { digest: digest.ok(), seen });
    }
}

/// Returns the digests of the keys that a request presents.
pub(super) fn presented(headers: &HeaderMap) -> Vec<Hash> {
    let plain = headers.get_all("x-api-key").into_iter().map(|value| blake3::hash(value.as_bytes()));
    let authorized = headers.get_all(AUTHORIZATION).into_iter().map(|value| {
        let (scheme, key) = value.to_str().ok().and_then(|value| value.split_once(' ')).unwrap_or_default();
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => blake3::hash(&password(key.trim()).unwrap_or_default()),
            // What is no scheme that herdsman knows is a key that fits nothing.
            "bearer" => blake3::hash(key.trim().as_bytes()),
            _ => blake3::hash(b""),
        }
    });
    plain.chain(authorized).collect()
}

/// Returns the password of Basic credentials.
fn password(credentials: &str) -> Option<Vec<u8>> {
    let decoded = STANDARD.decode(credentials).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded[colon + 1..].to_vec())
}
