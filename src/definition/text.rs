//! The text of a definition file.

use std::fs::Metadata;
use std::io::{self, Read};
use std::path::Path;

use crate::sys::regular;

/// The largest definition that is read, bytes. A real one has a few hundred, or
/// some ten thousand with a chat template; parsing takes 350 times its size in
/// memory.
pub(super) const LARGEST: u64 = 256 * 1024;

/// Why a definition has no text: what is wrong, and the fix.
#[derive(Debug)]
pub(super) struct TextProblem {
    pub message: String,
    pub help: &'static str,
}

/// Reads the file into `buffer`, which is reused from file to file. The metadata
/// belong to the file that was read, even if its name now leads to another; a
/// problem has them too, if the file was opened.
pub(super) fn read_into<'b>(path: &Path, buffer: &'b mut Vec<u8>) -> (Option<Metadata>, Result<&'b str, TextProblem>) {
    buffer.clear();
    let (file, metadata) = match regular::open(path) {
        Ok(opened) => opened,
        Err(error) => return (None, Err(unreadable(&error))),
    };
    let text = match file.take(LARGEST + 1).read_to_end(buffer) {
        Err(error) => Err(unreadable(&error)),
        Ok(_) => checked(buffer),
    };
    (Some(metadata), text)
}

/// The content of a file as text.
pub(super) fn checked(content: &[u8]) -> Result<&str, TextProblem> {
    if u64::try_from(content.len()).is_ok_and(|length| length > LARGEST) {
        return Err(too_large());
    }
    std::str::from_utf8(content).map_err(|error| TextProblem {
        message: format!("the file is not valid UTF-8: byte {} starts no character", error.valid_up_to() + 1),
        help: "save it as UTF-8",
    })
}

/// The problem of a file that is larger than [`LARGEST`].
pub(super) fn too_large() -> TextProblem {
    TextProblem {
        message: "the file is larger than 256 KiB".to_owned(),
        help: "a definition is a few hundred bytes long; is this the right file?",
    }
}

/// The help for a directory in place of a definition.
pub(super) const NOT_A_DIRECTORY: &str =
    "definitions are files; give the directory a name that does not end in `.toml`";

fn unreadable(error: &io::Error) -> TextProblem {
    let help = match error.kind() {
        io::ErrorKind::NotFound => "it is a broken symlink; fix it or remove it",
        io::ErrorKind::PermissionDenied => "make it readable for herdsman's user",
        io::ErrorKind::IsADirectory => NOT_A_DIRECTORY,
        _ => "make it a readable file, or remove it",
    };
    TextProblem { message: format!("cannot read the file: {error}"), help }
}
