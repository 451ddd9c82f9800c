//! Definitions that are links out of their directory. They may lead to anybody's
//! file, and a message that shows a line of it would reveal it, so herdsman drops
//! every message about such a file.

use std::path::Path;
use std::sync::Arc;

use super::check::{Check, shown};
use super::{Key, Policy};
use crate::definition::{DEFAULTS_FILE, GROUPS_FILE, Refused, refuse};
use crate::model::{Desired, Diagnostic};
use crate::sys::links;

/// The files that all definitions of a directory share.
const SHARED: [&str; 2] = [DEFAULTS_FILE, GROUPS_FILE];

impl Policy {
    /// Refuses links out of the directory, unless they lead into `file_roots`.
    /// Links within it are fine, as in a mounted ConfigMap.
    pub(super) fn keep_in(&self, check: &Check<'_>, desired: &mut Arc<Desired>) {
        let dir = desired.dir.clone();
        let problem = |path: &Path, file: &Arc<str>| {
            let is_link = path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
            if !is_link || links::real_for_all(path).is_ok_and(|real| links::is_within(&real, &dir)) {
                return None;
            }
            let problem = check.within("a definition", path, Key::FileRoots)?;
            Some(Diagnostic::error(Arc::clone(file), problem.to_string()).help(self.help(&problem)))
        };
        let mut refused = Refused::default();
        for definition in desired.definitions.values() {
            let problem = problem(Path::new(&*definition.path), &definition.file);
            refused.add(definition, problem.into_iter().collect());
        }
        let mut unresolved = Vec::new();
        for (index, file) in desired.unresolved.iter().enumerate() {
            if let Some(problem) = problem(Path::new(&*file.path), &file.file) {
                unresolved.push((index, problem.message.clone()));
                refused.found.push(problem);
            }
        }
        for name in SHARED {
            let shown = format!("{}/{name}", shown(desired)).into();
            if let Some(problem) = problem(&dir.join(name), &shown) {
                refused.everything(desired, problem);
            }
        }
        if refused.found.is_empty() {
            return;
        }
        let desired_now = Arc::make_mut(desired);
        for (index, problem) in unresolved {
            desired_now.unresolved[index].problem = problem;
        }
        let is_shared = |file: &Arc<str>, name: &str| Path::new(&**file).file_name() == Some(name.as_ref());
        let same = |one: &Arc<str>, other: &Arc<str>| {
            one == other || SHARED.iter().any(|name| is_shared(one, name) && is_shared(other, name))
        };
        desired_now.diagnostics.retain(|said| !refused.found.iter().any(|problem| same(&problem.file, &said.file)));
        refuse(desired, refused);
    }
}
