//! Which directories to watch for changes of the definitions, or of the revision
//! they come from.
//!
//! The watcher watches directories, not files: editors and git replace files, and
//! Kubernetes swaps a link (`..data`). Along the path to the directory, and to each
//! definition that is a link, it watches every directory that holds a link for that
//! name. It also watches the parent of the directory, which may be renamed, deleted
//! or created again. If a name on the path is missing, it waits for that name.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys::links::{MOST_LINKS, names};

/// A directory to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WatchedDir {
    /// Which names in it matter.
    pub names: BTreeSet<OsString>,
    /// Whether it holds the definitions: then all of those matter, too.
    pub definitions: bool,
    /// Device and inode, when it was looked at.
    pub identity: (u64, u64),
}

impl WatchedDir {
    /// A directory in which no name matters yet.
    pub fn at(directory: &Path) -> Self {
        let identity = fs::metadata(directory).map(|meta| (meta.dev(), meta.ino())).unwrap_or_default();
        Self { identity, ..Self::default() }
    }

    /// Whether something that happened to `name` matters.
    pub fn concerns(&self, name: &OsStr) -> bool {
        self.names.contains(name) || self.definitions && name.as_bytes().ends_with(b".toml")
    }
}

/// The directories to watch for `files`, absolute paths, now.
pub(super) fn places_of(files: &BTreeSet<PathBuf>) -> BTreeMap<PathBuf, WatchedDir> {
    let mut walk = Walk::default();
    for file in files {
        walk.to(file);
    }
    walk.identified()
}

/// The directories to watch for definitions in `dir`, an absolute path, now.
pub(super) fn places(dir: &Path) -> BTreeMap<PathBuf, WatchedDir> {
    let mut walk = Walk::default();
    if let Some(real) = walk.to(dir) {
        for entry in fs::read_dir(&real).into_iter().flatten().flatten() {
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if is_link && entry.file_name().as_bytes().ends_with(b".toml") {
                walk.to(&entry.path());
            }
        }
        walk.place(&real).definitions = true;
    }
    walk.identified()
}

#[derive(Default)]
struct Walk(BTreeMap<PathBuf, WatchedDir>);

impl Walk {
    /// What was noted, each directory as it is now.
    fn identified(self) -> BTreeMap<PathBuf, WatchedDir> {
        let identified = |(path, place): (PathBuf, WatchedDir)| {
            (path.clone(), WatchedDir { identity: WatchedDir::at(&path).identity, ..place })
        };
        self.0.into_iter().map(identified).collect()
    }

    /// Goes to `path`, noting what may lead elsewhere tomorrow; where it leads
    /// today, `None` if nowhere.
    fn to(&mut self, path: &Path) -> Option<PathBuf> {
        let mut left: VecDeque<OsString> = names(path);
        let (mut here, mut links) = (PathBuf::from("/"), 0);
        while let Some(name) = left.pop_front() {
            if name == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&name);
            let metadata = fs::symlink_metadata(&next);
            let is_link = metadata.as_ref().is_ok_and(fs::Metadata::is_symlink);
            let is_directory = metadata.as_ref().is_ok_and(fs::Metadata::is_dir);
            if !is_directory || left.is_empty() {
                self.place(&here).names.insert(name);
            }
            metadata.ok().filter(|_| is_directory || is_link || left.is_empty())?;
            if !is_link {
                here = next;
                continue;
            }
            links += 1;
            let target = fs::read_link(&next).ok().filter(|_| links <= MOST_LINKS)?;
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            names(&target).into_iter().rev().for_each(|name| left.push_front(name));
        }
        Some(here)
    }

    fn place(&mut self, directory: &Path) -> &mut WatchedDir {
        self.0.entry(directory.to_owned()).or_default()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// What is watched below `root`, as `directory: names`.
    fn watched(root: &Path, dir: &Path) -> Vec<String> {
        let shown = |(path, place): (PathBuf, WatchedDir)| {
            let path = path.strip_prefix(root).ok()?.to_str()?.to_owned();
            let mut names: Vec<_> = place.names.iter().map(|name| name.to_string_lossy().into_owned()).collect();
            names.extend(place.definitions.then(|| "*.toml".to_owned()));
            Some(format!("{}: {}", if path.is_empty() { "." } else { &path }, names.join(" ")))
        };
        places(dir).into_iter().filter_map(shown).collect()
    }

    fn root() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        (dir, path)
    }

    #[test]
    fn a_plain_directory_and_its_name_in_the_parent() {
        let (_dir, root) = root();
        fs::create_dir(root.join("models.d")).unwrap();
        fs::write(root.join("models.d/a.toml"), "").unwrap();
        assert_eq!(watched(&root, &root.join("models.d")), [".: models.d", "models.d: *.toml"]);
    }

    #[test]
    fn a_directory_that_is_not_there_is_waited_for_where_the_way_ends() {
        let (_dir, root) = root();
        assert_eq!(watched(&root, &root.join("srv/models.d")), [".: srv"]);
        fs::create_dir(root.join("srv")).unwrap();
        assert_eq!(watched(&root, &root.join("srv/models.d")), ["srv: models.d"]);
    }

    #[test]
    fn links_on_the_way_and_links_to_definitions_are_followed() {
        let (_dir, root) = root();
        fs::create_dir_all(root.join("releases/5/models.d")).unwrap();
        fs::create_dir(root.join("shared")).unwrap();
        fs::write(root.join("shared/a.toml"), "").unwrap();
        symlink("releases/5", root.join("current")).unwrap();
        symlink("../../../shared/a.toml", root.join("releases/5/models.d/a.toml")).unwrap();
        assert_eq!(
            watched(&root, &root.join("current/models.d")),
            [".: current", "releases/5: models.d", "releases/5/models.d: a.toml *.toml", "shared: a.toml"]
        );
    }

    #[test]
    fn a_config_map_is_watched_where_its_link_is_swapped() {
        let (_dir, root) = root();
        fs::create_dir_all(root.join("models.d/..2026")).unwrap();
        fs::write(root.join("models.d/..2026/a.toml"), "").unwrap();
        symlink("..2026", root.join("models.d/..data")).unwrap();
        symlink("..data/a.toml", root.join("models.d/a.toml")).unwrap();
        assert_eq!(
            watched(&root, &root.join("models.d")),
            [".: models.d", "models.d: ..data a.toml *.toml", "models.d/..2026: a.toml"]
        );
    }

    #[test]
    fn links_in_a_circle_lead_nowhere() {
        let (_dir, root) = root();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        assert_eq!(watched(&root, &root.join("a")), [".: a b"]);
    }
}
