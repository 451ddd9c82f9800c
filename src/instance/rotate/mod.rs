//! Keeps servers' logs from growing without end.
//!
//! A llama-server writes to one inode for life, through a descriptor of its own
//! that appends: no pipe, no process in between that could die or block it. So
//! the file is not renamed away; its older part is copied to `<model>.log.1`
//! and then removed from the *beginning* of the live file, by `fallocate(2)`:
//!
//! ```text
//!   <model>.log  |begin ······ boundary ··· cut ········· end|<── the server appends
//!                 └─────── copied ───────────┘
//!                 └──── removed ────┘└ blank ┘└─── stays ───┘
//! ```
//!
//! The *cut* is behind a newline, so no line is split; the *boundary* is the
//! last multiple of the file system's block before it, as whole blocks can be
//! removed. What is left of the copied lines between the two becomes one line
//! of herdsman's own.
//!
//! | step | after a kill behind it, the next call |
//! |---|---|
//! | copy to `.log.0.new`, synced | copies again |
//! | rename to `.log.0` | finds the part still in the live log (compared byte for byte): blanks and removes it |
//! | blank `boundary..cut` | the same |
//! | remove `begin..boundary` | finds other bytes there: only the names are left to shift |
//! | shift: `.2` to `.3`, `.1` to `.2`, `.0` to `.1` | goes on at the gap |
//!
//! What holds throughout:
//! - Nothing is removed before a synced copy of it has its name; neither a kill
//!   nor a power cut loses a line.
//! - Bytes behind the cut are never written. Appends and `fallocate` exclude
//!   each other in the kernel, which puts each append at the end there is then.
//! - An eighth of the size stays in the live log: how a server ended, and what
//!   it said while loading, is found there.
//! - The caller holds the lock of a pass: one rotation at a time.
//!
//! Whoever reads holds no lock: `view` makes one text of all parts, `reading`
//! goes on in it across rotations.

mod live;
mod reading;
mod removal;
mod rotated;
mod view;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::sys::failpoint::{Point, reach};
use live::Live;
pub use reading::{LogReader, Part};
use removal::Removal;
use rotated::Rotated;

/// How long a log may become, and how much of what was before is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A longer log is rotated, in bytes. What is below 128 KiB, or below eight
    /// blocks of the file system, counts as that.
    pub max_bytes: u64,
    /// How many older parts are kept, `.1` being the latest; each is at most
    /// seven eighths of `max_bytes`. With 0, old lines are dropped.
    pub keep: u32,
}

impl Rotation {
    /// The least size that rotation by eighths and blocks makes sense of.
    pub const LEAST_BYTES: u64 = 128 << 10;
}

impl Default for Rotation {
    /// 10 MB (10,000,000 bytes), and 3 older parts.
    fn default() -> Self {
        Self { max_bytes: 10_000_000, keep: 3 }
    }
}

/// A log was not rotated, or not to the end. It grows on, nothing is lost, and
/// the next call goes on where this one ended.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The directory cannot be looked through.
    #[error("cannot look through the logs in {}: {source}; no log is rotated until that works", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot rotate the log {}: {action} {}: {source}; {}", log.display(), path.display(), next_step(source))]
    Io {
        /// The log.
        log: PathBuf,
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The file system can neither collapse a range of a file nor punch a hole.
    #[error(
        "cannot rotate the log {}: its file system cannot remove the beginning of a file, so the log grows; \
         put the state directory on ext4, xfs, btrfs or tmpfs (--state-dir)",
        log.display()
    )]
    Unsupported {
        /// The log.
        log: PathBuf,
    },
}

fn next_step(source: &io::Error) -> &'static str {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "the log grows until some space is free",
        ErrorKind::PermissionDenied => "the log grows until its owner, mode and attributes (lsattr) allow it",
        _ => "the log grows until that works",
    }
}

/// Rotates every `<model>.log` in `logs` that is too long, and ends what an
/// earlier herdsman began. Symlinks, and what else is no regular file, are left
/// alone. Where nothing is to be done, this reads the directory and asks for
/// each log's size. The caller holds the lock of the pass.
pub fn rotate(logs: &Path, rotation: &Rotation) -> Vec<RotateError> {
    rotate_by(&[Removal::Collapse, Removal::Punch], logs, rotation)
}

/// Rotates by the first of these that works.
fn rotate_by(removals: &[Removal], logs: &Path, rotation: &Rotation) -> Vec<RotateError> {
    let due = match due(logs, rotation) {
        Ok(due) => due,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(source) => return vec![RotateError::Directory { path: logs.to_owned(), source }],
    };
    due.iter().filter_map(|log| rotate_log(removals, logs, log, rotation).err()).collect()
}

/// The names of the logs that are too long, or whose last rotation was cut short.
fn due(logs: &Path, rotation: &Rotation) -> io::Result<BTreeSet<String>> {
    let mut due = BTreeSet::new();
    for entry in std::fs::read_dir(logs)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some(log) = name.strip_suffix(".0").filter(|log| log.ends_with(".log")) {
            due.insert(log.to_owned());
        } else if name.ends_with(".log") {
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() && live::size(&metadata) > rotation.max_bytes => {
                    due.insert(name.to_owned());
                }
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(due)
}

fn rotate_log(removals: &[Removal], logs: &Path, name: &str, rotation: &Rotation) -> Result<(), RotateError> {
    let rotated = Rotated::new(logs, name);
    let pending = rotated.pending()?;
    let Some(mut live) = Live::open(&logs.join(name))? else {
        // Deleted by hand, but not the copy of it.
        return if pending.is_some() { rotated.shift(rotation.keep) } else { Ok(()) };
    };
    let max_bytes = rotation.max_bytes.max(Rotation::LEAST_BYTES).max(8 * live.grain());
    if pending.is_none() && live.held() <= max_bytes {
        return Ok(());
    }
    reach(Point::RotateBegin);
    let removal = Removal::choose(removals, &rotated, &live)?;
    if let Some(copy) = pending {
        finish(&mut live, &rotated, removal, &copy, rotation.keep)?;
    }
    // What `keep` parts and the live log would not hold anyway is not copied.
    let worth_copying = max_bytes.saturating_mul(u64::from(rotation.keep) + 1);
    while live.held() > max_bytes {
        let part = live.part(max_bytes / 8 * 7)?;
        let copies = live.held() <= worth_copying;
        if copies {
            rotated.copy(&live, part)?;
            rotated.name_copy()?;
        }
        live.blank(part, &rotated.note(copies))?;
        live.remove(part, removal)?;
        if copies {
            rotated.shift(rotation.keep)?;
        }
    }
    rotated.drop_beyond(rotation.keep)
}

/// Ends a rotation that was cut short when the copy had its name already.
fn finish(live: &mut Live, rotated: &Rotated, removal: Removal, copy: &File, keep: u32) -> Result<(), RotateError> {
    if let Some(part) = live.still_holds(copy)? {
        live.blank(part, &rotated.note(true))?;
        live.remove(part, removal)?;
    }
    rotated.shift(keep)
}

#[cfg(test)]
mod tests;
