//! Reads and writes saved plans.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::model::text::printable;
use crate::pass::review::{FORMAT_VERSION, Saved};
use crate::sys::failpoint::{Point, reach};
use crate::sys::regular;

/// The longest file read, bytes: ten thousand models take a tenth of it.
const LONGEST: u64 = 256 << 20;

/// Why a saved plan cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// There is none, or it cannot be read.
    #[error("cannot read the saved plan {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not a saved plan.
    #[error("{} is not a saved plan: {reason}; make one with `herdsman reconcile --dry-run --out plan.json`", path.display())]
    NotAPlan {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// Another version of herdsman made it.
    #[error("{} has format_version {found}, but this herdsman reads {FORMAT_VERSION}; save the plan again with this herdsman", path.display())]
    OtherVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// What is there is not a saved plan, and stays.
    #[error("{} exists and is not a saved plan, so it is not overwritten; choose another name, or remove it", .0.display())]
    InTheWay(PathBuf),
    /// It cannot be written.
    #[error("cannot save the plan: {action} {}: {source}", path.display())]
    Unwritable {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Reads a saved plan.
///
/// # Errors
/// There is none that this herdsman can apply.
pub fn read(path: &Path) -> Result<Saved, PlanFileError> {
    let bytes =
        regular::read(path, LONGEST).map_err(|source| PlanFileError::Unreadable { path: path.to_owned(), source })?;
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Saved, PlanFileError> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u64,
    }
    let wrong = |error: serde_json::Error| PlanFileError::NotAPlan {
        path: path.to_owned(),
        reason: printable(&error.to_string()),
    };
    let Version { format_version: found } = serde_json::from_slice(bytes).map_err(wrong)?;
    if found != u64::from(FORMAT_VERSION) {
        return Err(PlanFileError::OtherVersion { path: path.to_owned(), found });
    }
    let saved: Saved = serde_json::from_slice(bytes).map_err(wrong)?;
    // It is recorded, and shown.
    if uuid::Uuid::try_parse(&saved.plan_id).is_err() {
        return Err(PlanFileError::NotAPlan { path: path.to_owned(), reason: "its plan_id is not a uuid".to_owned() });
    }
    Ok(saved)
}

/// Saves a plan for this user alone: whole, or not at all. A plan that was saved
/// there before is replaced, anything else is not.
///
/// A herdsman killed in between leaves a hidden file beside it.
///
/// # Errors
/// Something else is there, or the file cannot be written.
pub fn write(path: &Path, saved: &Saved) -> Result<(), PlanFileError> {
    is_free(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", saved.plan_id));
    let written = write_beside(&beside, saved).and_then(|()| {
        reach(Point::PlanWritten);
        let named = fs::rename(&beside, path).and_then(|()| sync_directory(path));
        reach(Point::PlanNamed);
        named.map_err(failed("name", path))
    });
    if written.is_err() {
        // What could not be written whole must not stay.
        let _removed = fs::remove_file(&beside);
    }
    written
}

/// Whether nothing would be lost: `--out models.d/a.toml` is a mistake.
fn is_free(path: &Path) -> Result<(), PlanFileError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(source) => Err(failed("look at", path)(source)),
        Ok(there) if there.is_file() && matches!(read(path), Ok(_) | Err(PlanFileError::OtherVersion { .. })) => Ok(()),
        Ok(_) => Err(PlanFileError::InTheWay(path.to_owned())),
    }
}

fn write_beside(beside: &Path, saved: &Saved) -> Result<(), PlanFileError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside).map_err(failed("create", beside))?;
    let text = serde_json::to_vec_pretty(saved).map_err(io::Error::other);
    let write = |text: Vec<u8>| {
        file.write_all(&text)?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    text.and_then(write).map_err(failed("write", beside))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PlanFileError {
    let path = path.to_owned();
    move |source| PlanFileError::Unwritable { action, path, source }
}

#[cfg(test)]
mod hostile;
