//! Following a path name by name, as the kernel does.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

/// More links than this lead in a circle: what the kernel allows, too.
pub(crate) const MOST_LINKS: usize = 40;

/// The names on a path; `..` is kept, for after a link it leads elsewhere.
pub(crate) fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().filter_map(name).collect()
}

/// Where `path`, absolute, leads; the part of it that is not there stands as
/// it is written, for that is where it would be made.
///
/// # Errors
/// A directory on the way cannot be looked at, or links lead in a circle.
pub(crate) fn real(path: &Path) -> io::Result<PathBuf> {
    let mut left = names(path);
    let (mut here, mut links) = (PathBuf::from("/"), 0);
    while let Some(name) = left.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        match fs::symlink_metadata(&next) {
            Ok(metadata) if metadata.is_symlink() => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(io::Error::other("its links lead in a circle"));
                }
                let target = fs::read_link(&next)?;
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                names(&target).into_iter().rev().for_each(|name| left.push_front(name));
            }
            Ok(_) => here = next,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => here = next,
            Err(error) => return Err(error),
        }
    }
    Ok(here)
}

/// Whether `path`, real, is `root` or lies in it, wherever that really is. A
/// root that cannot be looked at holds nothing.
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
