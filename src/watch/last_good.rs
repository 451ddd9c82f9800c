//! The definitions as they were when they could last be read.
//!
//! While they are unreadable (git holds its lock, the directory is not mounted, a
//! burst of changes goes on), a crashed server must still come back and nothing may
//! be deleted. So the pass uses the last definitions it read, and the records for
//! models it never read. The directory itself counts as an unresolved file, which
//! blocks every deletion.
//!
//! Another pass, started by a person or cron, may read newer definitions meanwhile;
//! its records then take precedence. Old definitions never create a model, nor start
//! one that the last pass left alone, because its reason may still apply.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::model::{Definition, Desired, ModelName, ModelRecord, Records, Unresolved, meaning};
use crate::plan::is_recorded_as;

/// Why definitions are not newer that change at this moment: they are read as soon as
/// they have not changed for a while.
pub const CHANGING: &str = "the files are changing";

/// The definitions as last read, and why they are not newer.
#[derive(Debug, Default)]
pub struct LastGood {
    desired: Option<Arc<Desired>>,
    /// What was recorded when they were read.
    records: Arc<Records>,
    problem: Option<String>,
}

impl LastGood {
    /// Returns what a pass works from. A `reading` of `None` means that the files
    /// must not be read now.
    pub fn take_in<E: ToString>(
        &mut self,
        reading: Option<Result<Arc<Desired>, E>>,
        records: &Arc<Records>,
        dir: &Path,
    ) -> Arc<Desired> {
        match reading {
            Some(Ok(desired)) => {
                (self.problem, self.desired) = (None, Some(Arc::clone(&desired)));
                self.records = Arc::clone(records);
                return desired;
            }
            Some(Err(problem)) => self.problem = Some(problem.to_string()),
            None => {}
        }
        Arc::new(self.stale(records, dir))
    }

    /// Whether the definitions were ever read.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.desired.is_some()
    }

    /// Returns why the last attempt to read the definitions failed.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    fn stale(&self, records: &Records, dir: &Path) -> Desired {
        let problem = self.problem.clone().unwrap_or_else(|| CHANGING.to_owned());
        let dir: Arc<str> = dir.to_string_lossy().into();
        let unresolved = |path: Arc<str>, name| {
            let (file, problem) = (Arc::clone(&dir), problem.clone());
            Unresolved { path, file, name, problem, llama_server: None }
        };
        let mut stale = match &self.desired {
            Some(desired) => Desired::clone(desired),
            None => Desired { dir: dir.as_ref().into(), definitions: BTreeMap::new(), ..Desired::default() },
        };
        stale.definitions.retain(|name, definition| self.still_counts(name, definition, records));
        let undefined = records
            .models
            .iter()
            .filter(|(name, record)| !stale.definitions.contains_key(*name) && !self.was_seen_removed(name, record));
        let known: Vec<_> = stale.unresolved.iter().map(|file| Arc::clone(&file.path)).collect();
        let undefined = undefined.filter(|(_, record)| !known.iter().any(|path| **path == *record.source));
        stale
            .unresolved
            .extend(undefined.map(|(name, record)| unresolved(record.source.as_str().into(), Some(name.clone()))));
        stale.unresolved.push(unresolved(Arc::clone(&dir), None));
        stale
    }

    /// Whether what was read of a model matches the records, or the records have
    /// not changed since.
    fn still_counts(&self, name: &ModelName, definition: &Definition, now: &Records) -> bool {
        // An override may rest on a newer definition.
        let by_hand = now.overrides.get(name).and_then(|overrides| overrides.state.as_ref());
        if by_hand.is_some_and(|by_hand| by_hand.definition != meaning(definition)) {
            return false;
        }
        now.models.get(name).is_some_and(|now| self.is_unchanged(name, now) || is_recorded_as(definition, now))
    }

    /// Whether a model had no definition when they were last read. Its deletion
    /// waits, and so does everything else about it.
    fn was_seen_removed(&self, name: &ModelName, now: &ModelRecord) -> bool {
        self.desired.as_ref().is_some_and(|desired| !desired.definitions.contains_key(name))
            && self.is_unchanged(name, now)
    }

    /// Whether what is recorded of a model is what was when the definitions were
    /// last read. Generations have the same numbers again in a new database.
    fn is_unchanged(&self, name: &ModelName, now: &ModelRecord) -> bool {
        let unchanged = |then: &ModelRecord| {
            then.generation.hash == now.generation.hash
                && then.config_digest == now.config_digest
                && then.state == now.state
        };
        self.records.models.get(name).is_some_and(unchanged)
    }
}
