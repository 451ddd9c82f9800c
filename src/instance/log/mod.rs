//! Servers' logs: each instance has a file of its own, which nothing else writes.
//!
//! ```text
//!   <logs>/<model>/2026-11-28T211627.123Z-0f8fad5b.log
//!          | freed ········| cut line | line | line |<── the server appends
//! ```
//!
//! - No file is renamed, copied or rewritten, so a byte keeps its position for
//!   ever, and a reader needs no lock: `read`.
//! - `shorten` frees the oldest bytes of a model: it deletes files that nobody
//!   writes, and frees whole blocks at the head of others. That leaves a hole,
//!   which takes no space. Readers skip it, with the line that its end cuts.
//! - Nothing has to be finished after a kill: each step stands by itself.
//! - The kernel tells whether a server still writes a file ([`is_written`]), so
//!   this needs no records.
//! - A model may have more files than a process may open, so few are open at once.
//!
//! Earlier versions kept one log per model, `<logs>/<model>.log`, and copied its
//! older lines to `.log.1`, `.log.2` and so on. A server that was started then
//! still writes there. Those files count as the oldest ones of their model.

mod read;
mod shorten;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

pub use read::{LogReader, Part};
pub use shorten::{LogError, LogLimits, limit};

use crate::model::{InstanceId, ModelName, log_suffix};
use crate::sys::regular;

/// Where an instance writes.
#[derive(Clone, Debug)]
pub(super) struct InstanceLog {
    pub path: PathBuf,
    /// Other instances have written there, too: it is the log of an earlier version.
    pub shared: bool,
}

/// Returns the log of an instance, whether or not it is there.
pub(super) fn of_instance(logs: &Path, model: &ModelName, id: &InstanceId) -> InstanceLog {
    let own = own(logs, model.as_str()).unwrap_or_default();
    let end = log_suffix(id);
    match own.into_iter().find(|path| path.to_str().is_some_and(|path| path.ends_with(&end))) {
        Some(path) => InstanceLog { path, shared: false },
        None => InstanceLog { path: logs.join(format!("{model}.log")), shared: true },
    }
}

/// Returns the log of the instance of `model` that was started last.
///
/// # Errors
/// There is none ([`ErrorKind::NotFound`]), or the directory cannot be read.
pub fn newest(logs: &Path, model: &ModelName) -> io::Result<PathBuf> {
    if let Some(own) = own(logs, model.as_str())?.pop() {
        return Ok(own);
    }
    // Of the files of an earlier version, this one goes last.
    let earlier = logs.join(format!("{model}.log"));
    if earlier.is_file() { Ok(earlier) } else { Err(ErrorKind::NotFound.into()) }
}

/// Returns every model that has a log, with the files that an earlier version
/// left of it, oldest first. Without the directory there is none.
///
/// # Errors
/// The directory cannot be read.
pub fn models(logs: &Path) -> io::Result<BTreeMap<String, Vec<PathBuf>>> {
    let mut models = BTreeMap::<String, Vec<(u64, PathBuf)>>::new();
    for entry in entries(logs)? {
        let Some(name) = entry.file_name().and_then(|name| name.to_str()) else { continue };
        // Not `lost+found`.
        if entry.is_dir() && ModelName::parse(name).is_ok() {
            models.entry(name.to_owned()).or_default();
        } else if let Some((model, part)) = earlier_part(name) {
            models.entry(model.to_owned()).or_default().push((part, entry));
        }
    }
    let oldest_first = |mut parts: Vec<(u64, PathBuf)>| {
        parts.sort_by(|one, other| other.cmp(one));
        parts.into_iter().map(|(_, path)| path).collect()
    };
    Ok(models.into_iter().map(|(model, parts)| (model, oldest_first(parts))).collect())
}

/// Takes `m.log` and `m.log.2` apart into the model and the age of the part:
/// 0 for the file that a server appends to.
fn earlier_part(name: &str) -> Option<(&str, u64)> {
    if let Some(model) = name.strip_suffix(".log") {
        return Some((model, 0));
    }
    let (model, number) = name.rsplit_once(".log.")?;
    Some((model, number.parse::<u64>().ok()?.checked_add(1)?))
}

/// The files of a model, oldest first.
fn files(logs: &Path, model: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = models(logs)?.remove(model).unwrap_or_default();
    files.extend(own(logs, model)?);
    Ok(files)
}

/// The files of a model's instances, oldest first: their names begin with a time.
fn own(logs: &Path, model: &str) -> io::Result<Vec<PathBuf>> {
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let mut files: Vec<PathBuf> = entries(&logs.join(model))?.into_iter().filter(is_log).collect();
    files.sort();
    Ok(files)
}

fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Returns where the whole lines of a log begin: at 0, or behind the hole at its
/// head and the line that the hole cuts.
pub(super) fn begin(file: &File) -> io::Result<u64> {
    let hole_end = hole_end(file)?;
    let (mut at, mut buffer) = (hole_end, [0; 4096]);
    loop {
        let read = read_at(file, &mut buffer, at)?;
        let block = &buffer[..read];
        // Where a file system cannot tell holes, they are zeros.
        if block.is_empty() || at == 0 && block[0] != 0 {
            return Ok(at);
        }
        match block.iter().position(|byte| *byte == b'\n') {
            Some(newline) => return Ok(at + newline as u64 + 1),
            None => at += block.len() as u64,
        }
    }
}

/// Where the hole at the head of a file ends; 0 if there is none.
fn hole_end(file: &File) -> io::Result<u64> {
    match rustix::fs::seek(file, SeekFrom::Data(0)) {
        Ok(position) => Ok(position),
        // There is nothing but a hole, or nothing at all.
        Err(Errno::NXIO) => Ok(file.metadata()?.len()),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// How to ask whether any process has a file open for writing. The file is open
/// for reading only.
type AskLease = fn(&File) -> io::Result<bool>;

/// Whether any process has a file open for writing, which `file` is for reading
/// only. Where the kernel cannot tell, only those count that have it as their
/// output, as servers do.
///
/// # Errors
/// The file belongs to another user, whose processes cannot be seen either.
fn is_written(file: &File) -> io::Result<bool> {
    is_written_by(ask_lease, file)
}

fn is_written_by(ask: AskLease, file: &File) -> io::Result<bool> {
    match ask(file) {
        Err(error) if error.kind() != ErrorKind::PermissionDenied => is_an_output(file),
        known => known,
    }
}

/// The kernel grants a read lease (`fcntl(2)`) on a file that nobody writes.
///
/// # Errors
/// The file system grants no leases, or the file belongs to another user.
fn ask_lease(file: &File) -> io::Result<bool> {
    const F_SETSIG: libc::c_int = 10;
    // A process that opens it for writing meanwhile breaks the lease; the signal that
    // tells would be SIGIO, which kills. This one is ignored by default.
    fcntl(file, F_SETSIG, libc::SIGURG)?;
    match fcntl(file, libc::F_SETLEASE, libc::F_RDLCK) {
        Ok(()) => fcntl(file, libc::F_SETLEASE, libc::F_UNLCK).map(|()| false),
        Err(error) if error.kind() == ErrorKind::WouldBlock && !leases_come_from_a_server(file)? => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether the file is on NFS, CIFS or SMB. Their servers lend leases as they
/// please, so that a refusal says nothing.
fn leases_come_from_a_server(file: &File) -> io::Result<bool> {
    let kind = rustix::fs::fstatfs(file)?.f_type;
    // The magic numbers of statfs(2); the type of the field differs by platform.
    Ok([0x6969, 0xff53_4d42, 0xfe53_4d42].contains(&(kind as u32)))
}

/// Whether a process has the file as its standard output or standard error.
fn is_an_output(file: &File) -> io::Result<bool> {
    let wanted = file.metadata()?;
    for entry in std::fs::read_dir("/proc")? {
        let process = entry?.path();
        // Other users' processes do not show theirs. The file is of this user.
        let is_wanted = |output: &str| {
            std::fs::metadata(process.join(output))
                .is_ok_and(|found| (found.dev(), found.ino()) == (wanted.dev(), wanted.ino()))
        };
        if is_wanted("fd/1") || is_wanted("fd/2") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Creates the directory for the logs of a model. A file may be in its place:
/// the log that an earlier version kept of a model `x`, where this one is called
/// `x.log`. It goes when nobody writes it.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    let make = || std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    let in_the_way = match make() {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => error,
        made => return made,
    };
    let is_earlier_log = directory.extension().is_some_and(|extension| extension == "log");
    if !is_earlier_log || !directory.symlink_metadata()?.is_file() {
        return Err(in_the_way);
    }
    if is_written(&regular::open(directory)?.0)? {
        let said = format!("a server of an earlier version still writes to {}; stop it first", directory.display());
        return Err(io::Error::new(ErrorKind::AlreadyExists, said));
    }
    std::fs::remove_file(directory)?;
    make()
}

fn fcntl(file: &File, command: libc::c_int, argument: libc::c_int) -> io::Result<()> {
    // SAFETY: these commands take a number and touch no memory of this process.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
