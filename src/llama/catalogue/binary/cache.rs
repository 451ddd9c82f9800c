//! Keeps what llama-servers answered, one file for each identity: the help, or
//! that there was no answer in time.
//!
//! A file is a line with the BLAKE3 of the rest, then the rest. It appears whole
//! (written beside, then renamed); one that does not fit its hash is not there.
//! Who writes holds the lock of a pass, so the file beside has one name, and what
//! a killed herdsman left there is replaced.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use crate::model::BinaryIdentity;
use crate::sys::failpoint::{Point, reach};
use crate::sys::regular;

/// The largest file read, bytes: more of a help is not kept, and its hash
/// stands before it.
const LARGEST: u64 = 2 << 20;

fn file(dir: &Path, identity: &BinaryIdentity) -> PathBuf {
    dir.join(format!("{identity}.help", identity = identity.0))
}

fn hash(help: &str) -> String {
    blake3::hash(help.as_bytes()).to_hex().to_string()
}

/// A question that was not answered; `question` tells it from others.
fn silence(dir: &Path, identity: &BinaryIdentity, question: &str) -> PathBuf {
    dir.join(format!("{identity}.{question}.silent", identity = identity.0))
}

/// The help kept for `identity`, if it is there and whole.
pub(super) fn read(dir: &Path, identity: &BinaryIdentity) -> Option<String> {
    let text = String::from_utf8(regular::read(&file(dir, identity), LARGEST).ok()?).ok()?;
    let (kept, help) = text.split_once('\n')?;
    (kept == hash(help)).then(|| help.to_owned())
}

/// Keeps `help`. Without effect where it cannot: asking again costs 12 ms.
pub(super) fn write(dir: &Path, identity: &BinaryIdentity, help: &str) {
    let _kept = try_write(dir, &file(dir, identity), help);
}

/// How long ago `question` was asked in vain, if that is kept.
pub(super) fn silent_for(dir: &Path, identity: &BinaryIdentity, question: &str) -> Option<Duration> {
    let asked = fs::metadata(silence(dir, identity, question)).ok()?.modified().ok()?;
    // A time in the future counts as now.
    Some(asked.elapsed().unwrap_or_default())
}

/// Keeps that `question` was asked in vain. Where that cannot be kept, whoever
/// asks next waits in vain, too.
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
        // What could not be written whole must not stay.
        let _removed = fs::remove_file(&beside);
    }
    written
}
