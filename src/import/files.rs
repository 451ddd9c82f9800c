//! Definitions onto the disk: checked first, then all of them or none.
//!
//! ```text
//!   refuse if one is there -> check beside what is there -> write hidden -> give each its name
//! ```
//!
//! Invariants: no file is ever replaced, not even one that appears meanwhile;
//! what is left of an import that failed is nothing, or is named.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::definition::{Embedded, LoadError, LoadOptions, Loader, ReadFrom};
use crate::model::Diagnostic;

/// A definition to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, `NAME.toml`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Files are there already; none is ever overwritten.
    #[error("{} {}: nothing was written; move away what is there, or give another directory", there(.0), if .0.len() == 1 { "is there already" } else { "are there already" })]
    Exists(Vec<PathBuf>),
    /// The definitions are not valid beside those that are there.
    #[error("{} of the definitions would not be valid: nothing was written", .0.len())]
    Invalid(Vec<Diagnostic>),
    /// The definitions could not be checked.
    #[error("the definitions could not be checked: {0}")]
    Check(#[from] LoadError),
    /// The disk refused.
    #[error("{path} cannot be written: {cause}; nothing was written: is the disk full, or may you write there?", path = .path.display())]
    Disk {
        /// What was to be written.
        path: PathBuf,
        /// Why it was not.
        cause: io::Error,
    },
}

fn there(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Refuses if one of the files is there already.
///
/// # Errors
/// [`WriteError::Exists`] names all that are.
pub fn none_is_there(dir: &Path, files: &[File]) -> Result<(), WriteError> {
    let paths = files.iter().map(|file| dir.join(&file.name));
    let there: Vec<PathBuf> = paths.filter(|path| path.symlink_metadata().is_ok()).collect();
    if there.is_empty() { Ok(()) } else { Err(WriteError::Exists(there)) }
}

/// Checks the files as the next pass would read them in `dir` (absolute),
/// beside the definitions that are there, in a directory of its own.
///
/// # Errors
/// [`WriteError::Invalid`] holds every problem that is one of theirs.
pub fn check(dir: &Path, files: &[File]) -> Result<(), WriteError> {
    let disk = |path: &Path| {
        let path = path.to_owned();
        move |cause| WriteError::Disk { path, cause }
    };
    let scratch = tempfile::Builder::new().prefix("herdsman-import-").tempdir().map_err(disk(&std::env::temp_dir()))?;
    // What relative paths in the definitions that are there lead to does not matter here.
    let copy = scratch.path().join("models.d");
    std::fs::create_dir(&copy).map_err(disk(&copy))?;
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|end| end == "toml") && path.is_file() {
            let to = copy.join(entry.file_name());
            std::fs::copy(&path, &to).map_err(disk(&path))?;
        }
    }
    for File { name, text } in files {
        std::fs::write(copy.join(name), text).map_err(disk(&copy))?;
    }
    let options = LoadOptions {
        dir: &copy,
        from: ReadFrom::Itself,
        cwd: scratch.path(),
        state_key: [0; 32],
        catalogues: &Embedded,
    };
    let desired = Loader::default().load(&options)?;
    let is_good =
        |file: &File| desired.definitions.values().any(|d| d.file.strip_prefix("models.d/") == Some(&file.name));
    if files.iter().all(is_good) {
        return Ok(());
    }
    let is_theirs =
        |problem: &&Diagnostic| files.iter().any(|file| problem.file.strip_prefix("models.d/") == Some(&file.name));
    let mut problems: Vec<Diagnostic> = desired.diagnostics.iter().filter(is_theirs).cloned().collect();
    if problems.is_empty() {
        // The fault is in what they share: `_defaults.toml`.
        problems = desired.diagnostics.clone();
    }
    for problem in &mut problems {
        let name = problem.file.strip_prefix("models.d/").unwrap_or(&problem.file);
        problem.file = dir.join(name).to_string_lossy().into();
    }
    Err(WriteError::Invalid(problems))
}

/// Writes the files into `dir`, which is made if it is not there.
///
/// # Errors
/// One is there already, or the disk refuses; what was written is taken back.
pub fn write(dir: &Path, files: &[File]) -> Result<(), WriteError> {
    let disk = |path: PathBuf| move |cause| WriteError::Disk { path, cause };
    std::fs::create_dir_all(dir).map_err(disk(dir.to_owned()))?;
    let mut hidden: Vec<(NamedTempFile, PathBuf)> = Vec::with_capacity(files.len());
    for File { name, text } in files {
        let path = dir.join(name);
        hidden.push((write_hidden(dir, text).map_err(disk(path.clone()))?, path));
    }
    let mut written: Vec<PathBuf> = Vec::with_capacity(files.len());
    for (file, path) in hidden {
        if let Err(error) = file.persist_noclobber(&path) {
            for path in &written {
                // What cannot be removed was ours to write, and is whole.
                let _ = std::fs::remove_file(path);
            }
            return Err(match error.error.kind() {
                io::ErrorKind::AlreadyExists => WriteError::Exists(vec![path]),
                _ => WriteError::Disk { path, cause: error.error },
            });
        }
        written.push(path);
    }
    Ok(())
}

/// A file that no reader of the directory takes for a definition.
fn write_hidden(dir: &Path, text: &str) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt as _;
    let readable = std::fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().prefix(".import-").permissions(readable).tempfile_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}
