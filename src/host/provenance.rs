//! Finds the commit that definitions were read from.
//!
//! herdsman asks Git after it has read the files, so it must prove that the answer
//! is about the same moment: HEAD is the same before and after `git status`, and
//! the files are still those that were read. Otherwise the commit stays unknown.
//!
//! A failure of Git is reported once and delays at most one pass: after a slow
//! failure, herdsman does not ask Git for a while.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::definition::DEFAULTS_FILE;
use crate::git::{Changed, GitError, WorkTree};
use crate::model::{Commit, ModelName, Provenance};

/// A failure that takes longer is one to keep away from.
const LONG: Duration = Duration::from_secs(2);
const KEEP_AWAY: Duration = Duration::from_secs(600);

/// Asks Git, and remembers how that went.
#[derive(Debug, Default)]
pub(super) struct Asker {
    said: Option<String>,
    not_before: Option<Instant>,
}

impl Asker {
    /// Returns the commits of these definitions, and a new problem of Git.
    /// `as_read`: whether the files are still what was read.
    pub fn ask(
        &mut self,
        sources: &BTreeMap<ModelName, &Path>,
        as_read: impl FnOnce() -> bool,
    ) -> (BTreeMap<ModelName, Provenance>, Option<String>) {
        let begun = Instant::now();
        if self.not_before.is_some_and(|then| begun < then) {
            return (BTreeMap::new(), None);
        }
        match all(sources) {
            Ok(found) => {
                *self = Self::default();
                (if as_read() { found } else { BTreeMap::new() }, None)
            }
            Err(error) => {
                self.not_before = (begun.elapsed() > LONG).then(|| Instant::now() + KEEP_AWAY);
                let message = format!("the history records no commits: {error}");
                let is_new = self.said.as_ref() != Some(&message);
                self.said = Some(message.clone());
                (BTreeMap::new(), is_new.then_some(message))
            }
        }
    }
}

fn all(sources: &BTreeMap<ModelName, &Path>) -> Result<BTreeMap<ModelName, Provenance>, GitError> {
    let mut places = Checkouts::default();
    let mut found = BTreeMap::new();
    for (model, source) in sources {
        found.extend(places.provenance(source)?.map(|provenance| (model.clone(), provenance)));
    }
    if places.are_still_so()? { Ok(found) } else { Ok(BTreeMap::new()) }
}

/// A directory in a work tree, as Git described it.
struct Checkout {
    tree: WorkTree,
    commit: Commit,
    changed: Changed,
}

/// Every directory that was asked about; `None`: not in Git, or without a commit.
#[derive(Default)]
struct Checkouts(BTreeMap<PathBuf, Option<Checkout>>);

impl Checkouts {
    fn provenance(&mut self, source: &Path) -> Result<Option<Provenance>, GitError> {
        let (Some(dir), Some(_)) = (source.parent(), source.file_name()) else { return Ok(None) };
        // A link belongs to where it is, what it leads to to where that is.
        let defaults = Some(dir.join(DEFAULTS_FILE)).filter(|path| path.symlink_metadata().is_ok());
        let targets = [Some(source), defaults.as_deref()].into_iter().flatten().filter_map(|p| p.canonicalize().ok());
        let files: Vec<PathBuf> = targets.chain(defaults.clone()).collect();
        let Some(commit) = self.of(source)?.map(|(place, _)| place.commit.clone()) else { return Ok(None) };
        let mut dirty = false;
        for file in files.iter().map(PathBuf::as_path).chain([source]) {
            dirty |=
                !self.of(file)?.is_some_and(|(place, name)| place.commit == commit && !place.changed.contains(&name));
        }
        Ok(Some(Provenance { commit, dirty }))
    }

    /// The place of a file, and its name there.
    fn of(&mut self, file: &Path) -> Result<Option<(&Checkout, std::ffi::OsString)>, GitError> {
        let (Some(dir), Some(name)) = (file.parent().and_then(|dir| dir.canonicalize().ok()), file.file_name()) else {
            return Ok(None);
        };
        if !self.0.contains_key(&dir) {
            self.0.insert(dir.clone(), Checkout::look(&dir)?);
        }
        Ok(self.0.get(&dir).and_then(Option::as_ref).map(|place| (place, name.to_owned())))
    }

    fn are_still_so(&self) -> Result<bool, GitError> {
        for place in self.0.values().flatten() {
            if place.tree.head()?.as_ref() != Some(&place.commit) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Checkout {
    fn look(dir: &Path) -> Result<Option<Self>, GitError> {
        let Some(tree) = WorkTree::holding(dir)? else { return Ok(None) };
        let Some(commit) = tree.head()? else { return Ok(None) };
        Ok(Some(Self { changed: tree.changed()?, tree, commit }))
    }
}
