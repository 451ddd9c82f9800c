//! Following a path name by name, as the kernel does.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path};

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
