//! A process that somebody else started, as it was when it started.

use std::io;
use std::path::PathBuf;

use super::marker::Environment;
use super::process::{self, Stat};

/// What `/proc` tells of a process.
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
}

/// Looks at the process `pid`. What is not UTF-8 is read lossily.
///
/// # Errors
/// `NotFound`: there is no such process, or it is a zombie. `PermissionDenied`:
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
    })
}
