//! Caches the answers of llama-servers, one file per identity: the help, or that
//! there was no answer in time.
//!
//! A file is a line with the BLAKE3 hash of the rest, then the rest. It appears
//! whole (written under another name, then renamed); a file that does not match its
//! hash does not count. Writers hold the lock of a pass, so the temporary file has
//! one name, and a killed herdsman's leftover is replaced.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use crate::model::BinaryIdentity;
use crate::sys::failpoint::{Point, reach};
use crate::sys::regular;

/// The largest file read, bytes: a longer help is not cached.
const LARGEST: u64 = 2 << 20;

fn file(dir: &Path, identity: &BinaryIdentity) -> PathBuf {
    dir.join(format!("{identity}.help", identity = identity.0))
}

fn hash(help: &str) -> String {
    blake3::hash(help.as_bytes()).to_hex().to_string()
}

/// A question without an answer; `question` distinguishes it from others.
fn silence(dir: &Path, identity: &BinaryIdentity, question: &str) -> PathBuf {
    dir.join(format!("{identity}.{question}.silent", identity = identity.0))
}

/// Returns the cached help for `identity`, if there is one and it is whole.
pub(super) fn read(dir: &Path, identity: &BinaryIdentity) -> Option<String> {
    let text = String::from_utf8(regular::read(&file(dir, identity), LARGEST).ok()?).ok()?;
    let (kept, help) = text.split_once('\n')?;
    (kept == hash(help)).then(|| help.to_owned())
}

/// Caches `help`. Failures are ignored: asking again costs 12 ms.
pub(super) fn write(dir: &Path, identity: &BinaryIdentity, help: &str) {
    let _kept = try_write(dir, &file(dir, identity), help);
}

/// How long ago `question` went unanswered, if the cache knows.
pub(super) fn silent_for(dir: &Path, identity: &BinaryIdentity, question: &str) -> Option<Duration> {
    let asked = fs::metadata(silence(dir, identity, question)).ok()?.modified().ok()?;
    // A time in the future counts as now.
    Some(asked.elapsed().unwrap_or_default())
}

/// Remembers that `question` went unanswered. If that fails, the next caller waits
/// in vain, too.
pub(super) fn write_silence(dir: &Path, identity: &BinaryIdentity, question: &str) {
    let _kept = try_write(dir, &silence(dir, identity, question), "");
}

fn try_write(dir: &Path, file: &Path, help: &str) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let beside = dir.join("new");
    let file_for_us = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
    let written = file_for_us.and_then(|mut file| write!(file, "{}\n{help}", hash(help))).and_then(|()| {
        reach(Point::CacheWritten);
        fs::rename(&beside, file)
    });
    reach(Point::CacheNamed);
    if written.is_err() {
        // A partly written file must not stay.
        let _removed = fs::remove_file(&beside);
    }
    written
}
