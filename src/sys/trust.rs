//! Whether others can change what herdsman relies on.
//!
//! As root, herdsman runs what definitions, records and llama-servers say. Someone
//! who can write to one of those, or to a directory on the way there, could run
//! anything as root, so root refuses them. The way may lead through a directory
//! such as `/tmp`, where nobody can rename what belongs to others (sticky).

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::sys::links;

/// Others can change what is at a path.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub struct Untrusted {
    /// The path that was checked.
    path: PathBuf,
    /// The path that others can change: the same one, or one on the way there.
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

/// In a directory's mode: nobody can replace other people's files there.
const STICKY: u32 = 0o1000;

/// The fix for something in a directory that everybody can write to.
const ELSEWHERE: &str = "move it to a directory that only root can write to";

impl Untrusted {
    fn message(&self) -> String {
        let Self { path, place, how } = self;
        let (path, shown) = (path.display(), place.display());
        let leads = if *place == self.path { String::new() } else { format!(", on the way to {path},") };
        let (what, fix) = match how {
            How::Mode(mode) => {
                // For example `/tmp`, which everybody can write to on purpose:
                // closing it breaks the host.
                let is_shared = mode & STICKY != 0;
                let fix = if is_shared { ELSEWHERE.to_owned() } else { format!("`chmod go-w {shown}`") };
                (format!("is writable by other users (mode {mode:04o})"), fix)
            }
            How::Owner(uid) => (format!("belongs to user {uid}"), format!("`chown root {shown}`")),
        };
        let or = if is_root() { ", or run herdsman as its own user" } else { "" };
        format!("{shown}{leads} {what}, who could make herdsman run anything: {fix}{or}")
    }
}

/// As root, refuses `path` (absolute) if others can change it or anything on the
/// way there. Users in `owners` are trusted like root. A missing file cannot be
/// changed; the caller that needs it reports that it is missing.
///
/// # Errors
/// [`Untrusted`] names the first place that others can change.
pub fn require(path: &Path, owners: &[u32]) -> Result<(), Untrusted> {
    if !is_root() {
        return Ok(());
    }
    let followed = links::follow(path, |place, metadata, is_last| {
        let Some(metadata) = metadata else { return Err(Stop::Nothing) };
        let access = Access::of(metadata);
        // Nobody writes to a link, but its owner can replace it.
        let written = access.written_by_others().filter(|_| !metadata.is_symlink());
        let safe_on_the_way = access.is_sticky() && !is_last;
        match access.foreign(owners).or(written.filter(|_| !safe_on_the_way)) {
            Some(how) => Err(Stop::Untrusted(Untrusted { path: path.to_owned(), place: place.to_owned(), how })),
            None => Ok(()),
        }
    });
    match followed {
        Err(Stop::Untrusted(untrusted)) => Err(untrusted),
        Ok(_) | Err(Stop::Nothing) => Ok(()),
    }
}

/// What ends the walk.
enum Stop {
    /// Others can change this.
    Untrusted(Untrusted),
    /// There is nothing, or nothing that can be opened.
    Nothing,
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Nothing
    }
}

/// Refuses, as [`require`] does, the directory that really contains the file at
/// `path`.
///
/// # Errors
/// [`Untrusted`] names the first place that others can change.
pub fn require_directory_of(path: &Path, owners: &[u32]) -> Result<(), Untrusted> {
    let directory = |path: &Path| path.parent().unwrap_or(Path::new("/")).to_owned();
    require(&directory(path), owners)?;
    // If it cannot be followed, it cannot be opened either.
    let real = links::real(path).unwrap_or_else(|_| path.to_owned());
    require(&directory(&real), owners)
}

/// Refuses a file (absolute `path`) in which the host's owner decides something:
/// for root as [`require`] does, for others if every user can write to it.
///
/// # Errors
/// [`Untrusted`].
pub fn require_file(path: &Path) -> Result<(), Untrusted> {
    if is_root() {
        return require(path, &[]);
    }
    let mode = fs::metadata(path).map_or(0, |metadata| metadata.mode() & 0o7777);
    let untrusted = || Untrusted { path: path.to_owned(), place: path.to_owned(), how: How::Mode(mode) };
    if mode & 0o002 == 0 { Ok(()) } else { Err(untrusted()) }
}

/// Whether this is root, and so would run other people's files with more rights
/// than theirs. Root of a user namespace that has no other user (`unshare
/// --map-root-user`) has only the rights of its creator, and does not count.
fn is_root() -> bool {
    static IS_ROOT: LazyLock<bool> = LazyLock::new(|| rustix::process::geteuid().is_root() && !is_alone(&UID_MAP));
    *IS_ROOT
}

/// `FIRST FIRST-OUTSIDE COUNT` of each range of users of this namespace; herdsman
/// neither leaves it nor changes its user.
static UID_MAP: LazyLock<String> = LazyLock::new(|| fs::read_to_string("/proc/self/uid_map").unwrap_or_default());

fn is_alone(map: &str) -> bool {
    map.split_whitespace().skip(2).step_by(3).eq(["1"])
}

/// Who can write to a file or directory, according to its metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Access {
    pub fn of(metadata: &impl MetadataExt) -> Self {
        Self { uid: metadata.uid(), gid: metadata.gid(), mode: metadata.mode() & 0o7777 }
    }

    /// As root, refuses the file or directory at `path`, without checking the
    /// directories above it.
    pub fn require(self, path: &Path, owners: &[u32]) -> Result<(), Untrusted> {
        if !is_root() {
            return Ok(());
        }
        match self.foreign(owners).or(self.written_by_others()) {
            Some(how) => Err(Untrusted { path: path.to_owned(), place: path.to_owned(), how }),
            None => Ok(()),
        }
    }

    /// The owner, unless it is root or trusted like root. A user without a number
    /// in this namespace is the one who created it.
    fn foreign(self, owners: &[u32]) -> Option<How> {
        let trusted = self.uid == 0 || owners.contains(&self.uid) || self.uid == UNMAPPED && is_in_a_namespace();
        (!trusted).then_some(How::Owner(self.uid))
    }

    /// Its mode, if that lets others write. Root's own group is root's.
    fn written_by_others(self) -> Option<How> {
        let group = self.mode & 0o020 != 0 && self.gid != 0;
        (group || self.mode & 0o002 != 0).then_some(How::Mode(self.mode))
    }

    /// Whether its contents are safe from others who can write to it.
    fn is_sticky(self) -> bool {
        self.mode & STICKY != 0
    }
}

/// The kernel's stand-in for a user that the namespace does not have.
const UNMAPPED: u32 = 65534;

/// Whether this user namespace has only some of the machine's users.
fn is_in_a_namespace() -> bool {
    !UID_MAP.split_whitespace().eq(["0", "0", "4294967295"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_of_its_own_namespace_is_not_root() {
        assert!(is_alone("         0       1000          1\n"));
        assert!(!is_alone("         0          0 4294967295\n"));
        assert!(!is_alone("         0     100000      65536\n"));
        assert!(!is_alone("0 1000 1\n1 100000 65536\n") && !is_alone(""));
    }

    #[test]
    fn owner_group_and_mode_decide_who_can_write() {
        let access = |uid, gid, mode| Access { uid, gid, mode };
        assert_eq!(access(0, 0, 0o775).written_by_others(), None, "root's own group");
        assert_eq!(access(0, 7, 0o775).written_by_others(), Some(How::Mode(0o775)));
        assert_eq!(access(0, 0, 0o1777).written_by_others(), Some(How::Mode(0o1777)));
        assert_eq!(access(7, 7, 0o755).foreign(&[]), Some(How::Owner(7)));
        assert_eq!(access(7, 7, 0o755).foreign(&[7]), None);
    }
}
