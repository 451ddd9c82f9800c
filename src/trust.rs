//! Whether others can change what herdsman goes by.
//!
//! As root herdsman runs what definitions, records and llama-servers say. Who
//! can write to one of those, or to a directory on the way there, could run
//! anything as root: so root refuses them. A directory such as `/tmp`, where
//! nobody can rename what belongs to another (sticky), may be on the way.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Links that lead in a circle.
const MOST_LINKS: usize = 40;

/// Others can change what is at a path.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.told())]
pub struct Untrusted {
    /// What was asked for.
    path: PathBuf,
    /// What on the way there others can change; the same where it is that.
    place: PathBuf,
    how: How,
}

/// How others can change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// Its mode lets them.
    Mode(u32),
    /// It belongs to another user.
    Owner(u32),
}

impl Untrusted {
    fn told(&self) -> String {
        let Self { path, place, how } = self;
        let (path, shown) = (path.display(), place.display());
        let leads = if *place == self.path { String::new() } else { format!(", on the way to {path},") };
        let (what, fix) = match how {
            How::Mode(mode) => (format!("can be written by others (mode {mode:04o})"), format!("`chmod go-w {shown}`")),
            How::Owner(uid) => (format!("belongs to user {uid}, not to root"), format!("`chown root {shown}`")),
        };
        format!(
            "{shown}{leads} {what}, who could make herdsman run anything as root: {fix}, or run herdsman as a user of its own"
        )
    }
}

/// Refuses `path`, absolute, if this is root and others can change it, or what
/// the way there leads through. Users in `owners` are trusted like root. What
/// is not there cannot be changed: whoever needs it says that it is missing.
///
/// # Errors
/// [`Untrusted`] names the first place that others can change.
pub fn require(path: &Path, owners: &[u32]) -> Result<(), Untrusted> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let untrusted = |place: &Path, how| Untrusted { path: path.to_owned(), place: place.to_owned(), how };
    let (mut left, mut here, mut links) = (names(path), PathBuf::from("/"), 0);
    while let Some(name) = left.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&name);
        let Ok(metadata) = fs::symlink_metadata(&next) else { return Ok(()) };
        if let Some(uid) = foreign(&metadata, owners) {
            return Err(untrusted(&next, How::Owner(uid)));
        }
        if metadata.is_symlink() {
            let target = fs::read_link(&next).unwrap_or_default();
            links += 1;
            if links > MOST_LINKS {
                return Ok(());
            }
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            names(&target).into_iter().rev().for_each(|name| left.push_front(name));
            continue;
        }
        if let Some(mode) = written_by_others(&metadata, left.is_empty()) {
            return Err(untrusted(&next, How::Mode(mode)));
        }
        here = next;
    }
    Ok(())
}

/// The owner, if that is neither root nor trusted like it. A user of another
/// namespace, who has no number here, is the one who gave us ours.
fn foreign(metadata: &Metadata, owners: &[u32]) -> Option<u32> {
    let uid = metadata.uid();
    (uid != 0 && !owners.contains(&uid) && !(uid == UNMAPPED && is_in_a_namespace())).then_some(uid)
}

/// What the kernel shows in place of a number that a namespace does not know.
const UNMAPPED: u32 = 65534;

/// Whether this user namespace knows only some of the machine's users.
fn is_in_a_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    !map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// The mode, if it lets others write. Root's own group is root's.
fn written_by_others(metadata: &Metadata, is_last: bool) -> Option<u32> {
    let mode = metadata.mode() & 0o7777;
    let group = mode & 0o020 != 0 && metadata.gid() != 0;
    let sticky = mode & 0o1000 != 0 && !is_last;
    ((group || mode & 0o002 != 0) && !sticky).then_some(mode)
}

/// The names on a path; `..` is kept, for after a link it leads elsewhere.
fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::Prefix(_) | Component::RootDir | Component::CurDir => None,
    };
    path.components().filter_map(name).collect()
}
