//! The llama-server on disk: finds it, identifies it, and asks it questions.
//!
//! ```text
//! locate    a name or path            -> the file that would run
//! identify  its files                 -> an identity, without running it (0.1 ms)
//! catalogue `--help`, once an identity -> its options
//! dry_run   `… --version`             -> whether it accepts a command line (12 ms)
//! ```
//!
//! A program run here gets no standard input, a deadline and bounded memory for its
//! output, and is gone when the function returns.

mod cache;
mod dry_run;
mod process;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

pub use dry_run::{Verdict, dry_run, dry_run_on};
pub use process::{Leash, PATIENCE};

use super::{Catalogue, EMBEDDED_HELP};
use crate::model::BinaryIdentity;
use crate::sys::program::End;

/// The program looked up in `PATH` when nothing names a llama-server.
const DEFAULT_NAME: &str = "llama-server";

/// Why there is no usable llama-server.
#[derive(Debug, thiserror::Error)]
pub enum BinaryProblem {
    /// No such file.
    #[error(
        "no llama-server at {}; install llama.cpp, or set its llama-server with --llama-server or `binary`",
        path.display()
    )]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// No such command.
    #[error("{name} is not in PATH; install llama.cpp, or set its llama-server with --llama-server or `binary`")]
    NotInPath {
        /// The command's name.
        name: String,
    },
    /// A file that cannot be executed.
    #[error("cannot run {} ({why}); make it executable, or set another llama-server", path.display())]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A program, but not llama-server.
    #[error("{} is not llama.cpp's llama-server: {why}; set the right one with --llama-server or `binary`", path.display())]
    NotLlamaServer {
        /// The program.
        path: PathBuf,
        /// The evidence.
        why: String,
    },
    /// It did not answer in time.
    #[error(
        "{} did not answer {question} within {} s; run it by hand to see why, then `herdsman reconcile --retry`",
        path.display(), after.as_secs_f32()
    )]
    Silent {
        /// The program.
        path: PathBuf,
        /// The question: an option.
        question: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// It failed to answer.
    #[error("{} {why}; run it by hand with --version to see what is missing", path.display())]
    Failed {
        /// The program.
        path: PathBuf,
        /// What happened, as the end of a sentence that starts with its path.
        why: String,
    },
}

/// Finds the llama-server to run: `explicit` is a path if it contains a `/`, or
/// else a name in `path_var` (the value of `PATH`); `llama-server` by default.
/// Relative entries of `PATH` are skipped, because they mean another file in every
/// directory.
///
/// # Errors
/// There is no such file, or it cannot be executed.
pub fn locate(explicit: Option<&str>, path_var: Option<&OsStr>) -> Result<PathBuf, BinaryProblem> {
    let name = explicit.unwrap_or(DEFAULT_NAME);
    if name.contains('/') {
        let path = PathBuf::from(name);
        let path = std::path::absolute(&path).unwrap_or(path);
        return executable(&path).map(|_| path);
    }
    let mut problem = BinaryProblem::NotInPath { name: name.to_owned() };
    for dir in std::env::split_paths(path_var.unwrap_or_default()).filter(|dir| dir.is_absolute()) {
        let path = dir.join(name);
        match executable(&path) {
            Ok(_) => return Ok(path),
            Err(BinaryProblem::NotFound { .. }) => {}
            Err(other) => problem = other,
        }
    }
    Err(problem)
}

/// Returns the metadata of an executable file.
fn executable(path: &Path) -> Result<Metadata, BinaryProblem> {
    let not_executable = |why: String| BinaryProblem::NotExecutable { path: path.to_owned(), why };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Err(BinaryProblem::NotFound { path: path.to_owned() });
        }
        Err(error) => return Err(not_executable(error.to_string())),
    };
    if !metadata.is_file() {
        return Err(not_executable("it is not a file".to_owned()));
    }
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).map_err(|error| not_executable(error.to_string()))?;
    Ok(metadata)
}

/// Identifies a llama-server without running it: by path, size, modification time
/// and inode of the program and of the shared libraries beside it (the pinned one
/// is a stub of 14 KB over those).
///
/// # Errors
/// The file is gone, cannot be executed, or its directory cannot be read.
pub fn identify(path: &Path) -> Result<BinaryIdentity, BinaryProblem> {
    let metadata = executable(path)?;
    let unreadable = |error: io::Error| BinaryProblem::NotExecutable { path: path.to_owned(), why: error.to_string() };
    let canonical = fs::canonicalize(path).map_err(unreadable)?;
    let mut hasher = blake3::Hasher::new();
    add_file(&mut hasher, canonical.as_os_str(), &metadata);
    for (name, metadata) in libraries(&canonical).map_err(unreadable)? {
        add_file(&mut hasher, &name, &metadata);
    }
    Ok(BinaryIdentity(hasher.finalize().to_hex()[..32].to_owned()))
}

/// Lists the shared libraries beside a program, by name.
fn libraries(program: &Path) -> io::Result<Vec<(OsString, Metadata)>> {
    let mut found = Vec::new();
    let Some(dir) = program.parent() else { return Ok(found) };
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if is_library(&name)
            // A dangling link is not a library.
            && let Ok(metadata) = fs::metadata(dir.join(&name))
        {
            found.push((name, metadata));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
}

/// `libggml.so`, `libggml.so.0.20.0`, `libggml.dylib`.
fn is_library(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("lib") && (name.ends_with(".so") || name.contains(".so.") || name.ends_with(".dylib"))
}

fn add_file(hasher: &mut blake3::Hasher, name: &OsStr, metadata: &Metadata) {
    hasher.update(name.as_bytes());
    // A name contains no NUL, so two different lists never read the same.
    hasher.update(&[0]);
    hasher.update(&metadata.size().to_le_bytes());
    hasher.update(&metadata.mtime().to_le_bytes());
    hasher.update(&metadata.mtime_nsec().to_le_bytes());
    hasher.update(&metadata.ino().to_le_bytes());
}

/// Returns the options of the llama-server at `path`. Its help comes from the
/// directory `cache` if it is there for this identity, and is stored there if
/// `write`. If the cache is damaged or unwritable, the program is asked again.
///
/// # Errors
/// The program does not run, or is not llama-server.
pub fn catalogue(
    path: &Path,
    identity: &BinaryIdentity,
    cache: Option<&Path>,
    write: bool,
) -> Result<Arc<Catalogue>, BinaryProblem> {
    if let Some(catalogue) = cache.and_then(|dir| recall(identity, dir)) {
        return Ok(catalogue);
    }
    let heard = ask(path, None)?;
    if let (Some(dir), true) = (cache, write) {
        heard.keep(identity, dir);
    }
    Ok(heard.catalogue)
}

/// Returns the options of the llama-server of this identity, if the directory
/// `cache` has its help.
#[must_use]
pub fn recall(identity: &BinaryIdentity, cache: &Path) -> Option<Arc<Catalogue>> {
    parse(&cache::read(cache, identity)?).ok()
}

/// A llama-server's answer to `--help`.
#[derive(Debug)]
pub struct Heard {
    /// Its options.
    pub catalogue: Arc<Catalogue>,
    help: String,
}

impl Heard {
    /// Stores it in the directory `cache`, for [`recall`]. Call this under the lock
    /// of a pass.
    pub fn keep(&self, identity: &BinaryIdentity, cache: &Path) {
        cache::write(cache, identity, &self.help);
    }
}

/// Asks the llama-server at `path` for its options; ended by `leash`.
///
/// # Errors
/// The program does not run, does not answer, or is not llama-server.
pub fn ask(path: &Path, leash: Option<&Leash>) -> Result<Heard, BinaryProblem> {
    let help = help(path, leash)?;
    let not_llama =
        |why: super::HelpError| BinaryProblem::NotLlamaServer { path: path.to_owned(), why: why.to_string() };
    let catalogue = parse(&help).map_err(not_llama)?;
    Ok(Heard { catalogue, help })
}

/// Whether the llama-server of this identity left `question` unanswered, less than
/// `within` ago.
#[must_use]
pub fn was_silent(identity: &BinaryIdentity, question: &str, cache: &Path, within: Duration) -> bool {
    cache::silent_for(cache, identity, question).is_some_and(|ago| ago < within)
}

/// Remembers that it left `question` unanswered. Call this under the lock of a
/// pass.
pub fn keep_silence(identity: &BinaryIdentity, question: &str, cache: &Path) {
    cache::write_silence(cache, identity, question);
}

fn parse(help: &str) -> Result<Arc<Catalogue>, super::HelpError> {
    if help == EMBEDDED_HELP { Ok(Catalogue::embedded()) } else { Catalogue::from_help(help).map(Arc::new) }
}

/// Returns what the program prints for `--help`.
fn help(path: &Path, leash: Option<&Leash>) -> Result<String, BinaryProblem> {
    let mut command = Command::new(path);
    command.arg("--help");
    let output = process::run(path, command, "--help", leash)?;
    match output.end {
        End::Code(0) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        _ => Err(process::failed(path, &output)),
    }
}
