//! Follows a path name by name, as the kernel does.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// More links than this are a loop: the kernel's own limit.
pub(crate) const MOST_LINKS: usize = 40;

/// The names of a path; `..` is kept, because after a link it leads elsewhere.
pub(crate) fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().filter_map(name).collect()
}

/// Returns where `path`, absolute, leads. The missing part stays as written,
/// because it would be created there.
///
/// # Errors
/// A directory on the way cannot be read, or links form a loop.
pub(crate) fn real(path: &Path) -> io::Result<PathBuf> {
    follow(path, |_, _, _| Ok(()))
}

/// Returns where `path`, absolute, leads for every process alike. Paths in `/proc`
/// do not: `/proc/self/cwd` is one directory here and another for the llama-server
/// that opens it.
///
/// # Errors
/// Those of [`real`], or the path goes through `/proc`, wherever that is mounted.
pub(crate) fn real_for_all(path: &Path) -> Result<PathBuf, NotForAll> {
    // The last device known not to be it: a path crosses few devices.
    let mut known = None;
    follow(path, |place, metadata, _| {
        if place.starts_with("/proc") {
            return Err(NotForAll::Proc(place.to_owned()));
        }
        // The check on a link is made on what it leads to.
        let Some(metadata) = metadata.filter(|metadata| !metadata.is_symlink()) else { return Ok(()) };
        if known != Some(metadata.dev()) {
            if rustix::fs::statfs(place).map_err(io::Error::from)?.f_type == rustix::fs::PROC_SUPER_MAGIC {
                return Err(NotForAll::Proc(place.to_owned()));
            }
            known = Some(metadata.dev());
        }
        Ok(())
    })
}

/// Why a path does not lead to one place for every process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotForAll {
    /// It goes through this place in `/proc`.
    Proc(PathBuf),
    /// It cannot be followed.
    Unknown(String),
}

impl From<io::Error> for NotForAll {
    fn from(error: io::Error) -> Self {
        Self::Unknown(error.to_string())
    }
}

/// Follows `path`, absolute, and asks `may_pass` at every step, links included,
/// with what is there and whether it is the last name.
pub(crate) fn follow<E: From<io::Error>>(
    path: &Path,
    mut may_pass: impl FnMut(&Path, Option<&fs::Metadata>, bool) -> Result<(), E>,
) -> Result<PathBuf, E> {
    let mut left = names(path);
    let (mut here, mut links) = (PathBuf::from("/"), 0);
    while let Some(name) = left.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let found = fs::symlink_metadata(&next);
        may_pass(&next, found.as_ref().ok(), left.is_empty())?;
        match found {
            Ok(metadata) if metadata.is_symlink() => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(io::Error::other("its symlinks form a loop").into());
                }
                let target = fs::read_link(&next)?;
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                names(&target).into_iter().rev().for_each(|name| left.push_front(name));
            }
            Ok(_) => here = next,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => here = next,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(here)
}

/// Whether `path`, resolved, is `root` or is in it, wherever that really is. A root
/// that cannot be read contains nothing.
pub(crate) fn is_within(path: &Path, root: &Path) -> bool {
    real(root).is_ok_and(|root| path.starts_with(root))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_wherever_on_the_way_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("in/deep")).unwrap();
        fs::write(root.join("out"), "").unwrap();
        symlink("../out", root.join("in/relative")).unwrap();
        symlink(root.join("out"), root.join("in/absolute")).unwrap();
        symlink("../..", root.join("in/deep/up")).unwrap();
        symlink("../not-there", root.join("in/dangling")).unwrap();
        symlink("circle", root.join("in/circle")).unwrap();
        let leads = |from: &str, to: &str| assert_eq!(real(&root.join(from)).unwrap(), root.join(to), "{from}");
        leads("in/relative", "out");
        leads("in/absolute", "out");
        leads("in/deep/up/out", "out");
        assert_eq!(real(&root.join("in/deep/up/../x")).unwrap(), root.parent().unwrap().join("x"));
        leads("in/dangling", "not-there");
        leads("in/new/file", "in/new/file");
        assert!(real(&root.join("in/circle")).is_err());
    }

    #[test]
    fn refuses_paths_that_differ_per_process() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::write(root.join("file"), "").unwrap();
        symlink("file", root.join("link")).unwrap();
        assert_eq!(real_for_all(&root.join("link")), Ok(root.join("file")));
        assert_eq!(real_for_all(&root.join("new/file")), Ok(root.join("new/file")));
        symlink("/proc/self/cwd", root.join("cwd")).unwrap();
        symlink("cwd/Cargo.toml", root.join("far")).unwrap();
        let pid = format!("/proc/{}/root/etc", std::process::id());
        for path in ["/proc/self/cwd", "/proc/thread-self/root/x", "/proc/999999999/cwd", "/proc/../etc", &pid] {
            assert!(matches!(real_for_all(Path::new(path)), Err(NotForAll::Proc(_))), "{path}");
        }
        for path in ["/dev/fd/3", "/dev/stdin", "/dev/stdout"].into_iter().filter(|path| Path::new(path).is_symlink()) {
            assert_eq!(real_for_all(Path::new(path)), Err(NotForAll::Proc("/proc".into())), "{path}");
        }
        for path in ["cwd", "cwd/Cargo.toml", "far"] {
            assert_eq!(real_for_all(&root.join(path)), Err(NotForAll::Proc("/proc".into())), "{path}");
        }
        assert!(real_for_all(Path::new("/process")).is_ok());
        symlink("circle", root.join("circle")).unwrap();
        assert!(matches!(real_for_all(&root.join("circle")), Err(NotForAll::Unknown(_))));
    }

    #[test]
    fn a_name_that_only_begins_like_a_root_is_not_within_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        assert!(is_within(&root.join("a/b"), &root.join("a")));
        assert!(is_within(&root.join("a"), &root.join("a")));
        assert!(!is_within(&root.join("ab"), &root.join("a")));
        // A root may itself be a link.
        fs::create_dir(root.join("there")).unwrap();
        symlink("there", root.join("root")).unwrap();
        assert!(is_within(&root.join("there/x"), &root.join("root")));
    }
}
