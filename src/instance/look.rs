//! A process that herdsman did not start, as it was at its start.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::marker::Environment;
use super::process::{self, Stat};

/// What `/proc` shows of a process.
#[derive(Debug)]
pub struct Look {
    /// Its command line.
    pub words: Vec<String>,
    /// Its environment, in order of name; of several of one name the first.
    pub environment: Vec<(String, String)>,
    /// The path of what it runs.
    pub program: String,
    /// Its working directory.
    pub directory: PathBuf,
    /// Its namespaces that are not our own.
    pub apart: Apart,
}

/// Which of a process's namespaces are not our own, as in a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Apart {
    /// Its paths may lead to other files; so, too, if its root is another one.
    pub files: bool,
    /// Its ports are others.
    pub network: bool,
    /// It has another pid there.
    pub processes: bool,
}

impl Apart {
    fn of(pid: i32) -> io::Result<Self> {
        let differs = |name: &str| -> io::Result<bool> {
            let of = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/{name}"));
            Ok(of(&pid.to_string())? != of("self")?)
        };
        let has_own_root = || std::fs::read_link(format!("/proc/{pid}/root")).map(|root| root != Path::new("/"));
        Ok(Self { files: differs("mnt")? || has_own_root()?, network: differs("net")?, processes: differs("pid")? })
    }
}

/// A path of the process `pid` as it is seen from here.
#[must_use]
pub fn seen_from_here(pid: i32, path: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/root{path}"))
}

/// Whether a path leads the process `pid` to what it leads us to. Where it
/// leads neither of us anywhere there is nothing to tell apart.
#[must_use]
pub fn is_same_file(pid: i32, path: &str) -> bool {
    let file = |path: &Path| std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    file(&seen_from_here(pid, path)) == file(Path::new(path))
}

/// Looks at the process `pid`. What is not UTF-8 is read lossily.
///
/// # Errors
/// `NotFound`: the process does not exist, or is a zombie. `PermissionDenied`:
/// it belongs to another user.
pub fn look(pid: i32) -> io::Result<Look> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let as_gone = |error: io::Error| if process::is_gone(&error) { gone() } else { error };
    if pid <= 0 || Stat::of(pid)?.is_none_or(Stat::is_dead) {
        return Err(gone());
    }
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).map_err(as_gone)?;
    let directory = std::fs::read_link(format!("/proc/{pid}/cwd")).map_err(as_gone)?;
    let environment = Environment::of(pid).map_err(as_gone)?.entries();
    let words = process::command_line_of_instance(pid).map_err(as_gone)?;
    let words = words.strip_suffix(b"\0").unwrap_or(&words).split(|&byte| byte == 0);
    Ok(Look {
        words: words.map(|word| String::from_utf8_lossy(word).into_owned()).collect(),
        environment: environment.into_iter().collect(),
        program: program.to_string_lossy().into_owned(),
        directory,
        apart: Apart::of(pid).map_err(as_gone)?,
    })
}
