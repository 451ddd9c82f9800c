//! The llama-servers of this machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::definition::catalogue::binary;
use crate::definition::{Catalogue, Catalogues};
use crate::model::BinaryIdentity;
use crate::plan::Binary;
use crate::policy::Policy;
use crate::trust;

/// The llama-servers of this machine, each looked at once in a pass.
pub(super) struct Binaries {
    default: Option<String>,
    write: bool,
    cache: PathBuf,
    known: Mutex<BTreeMap<Option<String>, Result<Known, String>>>,
    /// The options of every llama-server seen so far.
    catalogues: Mutex<BTreeMap<BinaryIdentity, Arc<Catalogue>>>,
    /// Says which llama-servers definitions may name.
    pub policy: Option<Arc<Policy>>,
}

/// A usable llama-server and the options it knows.
type Known = (Binary, Arc<Catalogue>);

impl Binaries {
    /// Those that definitions name, and `default`. What is learnt of their options
    /// lies in `cache`, and is added to if this may `write`.
    pub fn new(default: Option<String>, cache: PathBuf, write: bool) -> Self {
        Self { default, write, cache, known: Mutex::default(), catalogues: Mutex::default(), policy: None }
    }

    /// A llama-server may be replaced between two passes.
    pub fn look_again(&self) {
        lock(&self.known).clear();
    }

    /// The one that is meant by a definition's `binary`.
    pub fn find(&self, declared: Option<&str>) -> Result<Known, String> {
        let key = declared.map(str::to_owned);
        let mut known = lock(&self.known);
        known.entry(key).or_insert_with(|| self.look(declared)).clone()
    }

    fn look(&self, declared: Option<&str>) -> Result<Known, String> {
        let named = declared.or(self.default.as_deref());
        let path = binary::locate(named, std::env::var_os("PATH").as_deref()).map_err(|p| p.to_string())?;
        // It is run to ask for its options, so this comes before.
        if let (Some(policy), Some(_)) = (&self.policy, declared) {
            policy.allows_binary(&path)?;
        }
        trust::require(&path, &[]).map_err(|untrusted| untrusted.to_string())?;
        let identity = binary::identify(&path).map_err(|p| p.to_string())?;
        if let Some(catalogue) = lock(&self.catalogues).get(&identity) {
            return Ok((Binary { path, identity }, Arc::clone(catalogue)));
        }
        // A program that is not llama-server is found before anything stops
        // for it.
        let catalogue =
            binary::catalogue(&path, &identity, Some(&self.cache), self.write).map_err(|p| p.to_string())?;
        lock(&self.catalogues).insert(identity.clone(), Arc::clone(&catalogue));
        Ok((Binary { path, identity }, catalogue))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Catalogues for Binaries {
    /// The options of the llama-server that will run; where there is none,
    /// those of the pinned one.
    fn catalogue(&self, binary: Option<&str>) -> Arc<Catalogue> {
        self.find(binary).map_or_else(|_| Catalogue::embedded(), |(_, catalogue)| catalogue)
    }
}
