//! Writes definitions to disk: checks them first, then writes all of them or none.
//!
//! ```text
//!   refuse if one is there -> check beside what is there -> write hidden -> give each its name
//! ```
//!
//! Invariants: no file is ever replaced, not even one that appears meanwhile; a
//! failed import leaves nothing behind, or names what it leaves.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::definition::{Catalogues, GROUPS_FILE, LoadError, LoadOptions, Loader, ReadFrom};
use crate::model::Diagnostic;

/// A definition to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, `NAME.toml`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Why not everything was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Files already exist; none is ever overwritten.
    #[error("{} {}: nothing was written; move it away, or choose another directory", there(.0), if .0.len() == 1 { "already exists" } else { "already exist" })]
    Exists(Vec<PathBuf>),
    /// The definitions are invalid together with the existing ones.
    #[error("{} of the definitions would be invalid; nothing was written", .0.len())]
    Invalid(Vec<Diagnostic>),
    /// The definitions could not be checked.
    #[error("cannot check the definitions: {0}")]
    Check(#[from] LoadError),
    /// The disk refused.
    #[error("cannot write {path}: {cause}; nothing was written; check the free space and the permissions", path = .path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why writing failed.
        cause: io::Error,
    },
    /// An existing definition cannot be read, so nothing could be checked with it.
    #[error("cannot read {path}, which belongs to the same directory: {cause}; nothing was written; check its permissions", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why reading failed.
        cause: io::Error,
    },
    /// The import failed halfway, and could not remove what it had written.
    #[error("cannot write {path}: {cause}; could not undo {}: remove that, then import again", there(left), path = .path.display())]
    Left {
        /// The file.
        path: PathBuf,
        /// Why writing failed.
        cause: io::Error,
        /// What was written before and still exists.
        left: Vec<PathBuf>,
    },
}

fn there(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Fails if one of the files already exists.
///
/// # Errors
/// [`WriteError::Exists`] names every existing file.
pub fn none_is_there(dir: &Path, files: &[File]) -> Result<(), WriteError> {
    let paths = files.iter().map(|file| dir.join(&file.name));
    let there: Vec<PathBuf> = paths.filter(|path| path.symlink_metadata().is_ok()).collect();
    if there.is_empty() { Ok(()) } else { Err(WriteError::Exists(there)) }
}

/// Lists the definitions in `dir` by name; none if it does not exist yet.
fn there_already(dir: &Path) -> Result<Vec<(OsString, PathBuf)>, WriteError> {
    let unreadable = |path: &Path, cause| WriteError::Unreadable { path: path.to_owned(), cause };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(unreadable(dir, cause)),
    };
    let mut there = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|cause| unreadable(dir, cause))?;
        let path = entry.path();
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => there.push((entry.file_name(), path)),
            Ok(_) => {}
            // A dangling link, or somebody was faster.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(unreadable(&path, cause)),
        }
    }
    Ok(there)
}

/// Checks the files as the next pass would read them in `dir` (absolute), together
/// with its definitions, in a temporary directory.
///
/// # Errors
/// [`WriteError::Invalid`] has every problem of the new files;
/// [`WriteError::Unreadable`]: an existing definition cannot be read.
pub fn check(dir: &Path, files: &[File], servers: &dyn Catalogues) -> Result<(), WriteError> {
    let disk = |path: &Path| {
        let path = path.to_owned();
        move |cause| WriteError::Disk { path, cause }
    };
    let scratch = tempfile::Builder::new().prefix("herdsman-import-").tempdir().map_err(disk(&std::env::temp_dir()))?;
    // Where relative paths in the existing definitions lead does not matter here.
    let copy = scratch.path().join("models.d");
    std::fs::create_dir(&copy).map_err(disk(&copy))?;
    for (name, path) in there_already(dir)? {
        let text = std::fs::read(&path).map_err(|cause| WriteError::Unreadable { path, cause })?;
        std::fs::write(copy.join(name), text).map_err(disk(&copy))?;
    }
    for File { name, text } in files {
        std::fs::write(copy.join(name), text).map_err(disk(&copy))?;
    }
    let options = LoadOptions {
        dir: &copy,
        from: ReadFrom::Itself,
        cwd: scratch.path(),
        state_key: [0; 32],
        catalogues: servers,
    };
    let desired = Loader::default().load(&options)?;
    let is_good =
        |file: &File| desired.definitions.values().any(|d| d.file.strip_prefix("models.d/") == Some(&file.name));
    // What is wrong with the groups is wrong with their members.
    if files.iter().filter(|file| file.name != GROUPS_FILE).all(is_good) {
        return Ok(());
    }
    let is_theirs =
        |problem: &&Diagnostic| files.iter().any(|file| problem.file.strip_prefix("models.d/") == Some(&file.name));
    let mut problems: Vec<Diagnostic> = desired.diagnostics.iter().filter(is_theirs).cloned().collect();
    if problems.is_empty() {
        // The problem is in `_defaults.toml`, which they share.
        problems = desired.diagnostics.clone();
    }
    for problem in &mut problems {
        let name = problem.file.strip_prefix("models.d/").unwrap_or(&problem.file);
        problem.file = dir.join(name).to_string_lossy().into();
    }
    Err(WriteError::Invalid(problems))
}

/// Writes the files into `dir`, creating it if necessary.
///
/// # Errors
/// A file already exists, or the disk fails; what was written is removed again, or
/// named.
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
            return Err(take_back(&written, path, error.error));
        }
        written.push(path);
    }
    Ok(())
}

/// Removes what was written before writing `path` failed, and names what stays.
fn take_back(written: &[PathBuf], path: PathBuf, cause: io::Error) -> WriteError {
    let stays =
        |path: &&PathBuf| std::fs::remove_file(path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound);
    let left: Vec<PathBuf> = written.iter().filter(stays).cloned().collect();
    match cause.kind() {
        _ if !left.is_empty() => WriteError::Left { path, cause, left },
        io::ErrorKind::AlreadyExists => WriteError::Exists(vec![path]),
        _ => WriteError::Disk { path, cause },
    }
}

/// A name that no reader of the directory takes for a definition.
fn write_hidden(dir: &Path, text: &str) -> io::Result<NamedTempFile> {
    use std::os::unix::fs::PermissionsExt as _;
    let readable = std::fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().prefix(".import-").permissions(readable).tempfile_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::definition::Embedded;

    #[test]
    fn names_files_it_could_not_remove() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, gone, c] = ["a", "b", "gone", "c"].map(|name| dir.path().join(name));
        std::fs::write(&a, "").unwrap();
        // Not even root removes a directory as a file.
        std::fs::create_dir(&b).unwrap();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let error = take_back(&[a.clone(), b.clone(), gone.clone()], c.clone(), full()).to_string();
        assert!(error.contains(&format!("could not undo {}", b.display())), "{error}");
        assert!(!error.contains("nothing was written") && !a.exists(), "{error}");
        assert!(take_back(&[a, gone], c, full()).to_string().contains("nothing was written"));
    }

    #[test]
    fn reports_a_directory_that_cannot_be_listed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("models.d");
        std::fs::write(&file, "").unwrap();
        let error = check(&file, &[], &Embedded).unwrap_err().to_string();
        assert!(error.contains("models.d, which belongs to the same directory"), "{error}");
        check(&dir.path().join("none"), &[], &Embedded).unwrap();
    }

    #[test]
    fn an_unreadable_definition_is_not_reported_as_a_full_disk() {
        let dir = tempfile::tempdir().unwrap();
        // Not even root reads through a link to itself.
        std::os::unix::fs::symlink("loop.toml", dir.path().join("loop.toml")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling.toml")).unwrap();
        let error = check(dir.path(), &[], &Embedded).unwrap_err().to_string();
        assert!(error.contains("loop.toml, which belongs to the same directory") && !error.contains("disk"), "{error}");
    }
}
