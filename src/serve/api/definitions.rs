//! `GET /api/definitions` and `GET /api/definitions/{file}`: the definitions as they are
//! in the directory. Nothing is written here ([`super::edit`]).

use std::io::{self, ErrorKind};
use std::path::Path;

use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Api, edit, require_admin, require_all, unavailable};
use crate::definition::Edit;
use crate::serve::access::Caller;
use crate::serve::body::Answer;
use crate::serve::gateway::errors::Error;
use crate::serve::gateway::own::answers::json as answer;
use crate::sys::regular;

/// The largest file that is read, bytes: one that is too large for a definition can
/// still be looked at.
pub(super) const LARGEST: u64 = 64 * Edit::LARGEST as u64;

/// The files of the directory.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Definitions {
    /// By name.
    pub files: Vec<String>,
    /// Why they cannot be changed here; absent: they can.
    pub read_only: Option<String>,
}

/// A file of the directory.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Definition {
    /// Its name in the directory.
    pub file: String,
    /// What is in it.
    pub text: String,
}

/// The names of the files.
pub(super) async fn list(api: &Api, caller: &Caller) -> Result<Answer, Error> {
    require_admin(caller)?;
    require_all(caller, "the definitions name")?;
    let files = api.ask(|host| host.definitions().map(names)).await?.ok_or_else(in_git)?;
    let files = files.map_err(|problem| unavailable(&format!("the definitions cannot be read: {problem}")))?;
    let read_only = edit::refusal(api).map(|refusal| refusal.message);
    Ok(answer(StatusCode::OK, &Definitions { files, read_only }))
}

/// One file.
pub(super) async fn one(api: &Api, caller: &Caller, file: &str) -> Result<Answer, Error> {
    require_admin(caller)?;
    require_all(caller, "the definitions name")?;
    if !is_definition(file) {
        return Err(no_file(file));
    }
    let name = file.to_owned();
    let read = api.ask(move |host| host.definitions().map(|dir| text(&dir.join(name)))).await?;
    let text = read.ok_or_else(in_git)?.map_err(|problem| match problem.kind() {
        ErrorKind::NotFound => no_file(file),
        _ => unavailable(&format!("{file} cannot be read: {problem}")),
    })?;
    let tag = HeaderValue::from_str(&tag(text.as_bytes())).ok();
    let mut answer = answer(StatusCode::OK, &Definition { file: file.to_owned(), text });
    answer.headers_mut().extend(tag.map(|tag| (ETAG, tag)));
    Ok(answer)
}

/// Returns the `ETag` of a file with this content.
pub(super) fn tag(content: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(content).to_hex()[..32])
}

/// Reads a file, or the one that a link leads to: only a definition, because a link in a
/// repository may lead to what only herdsman's user can read.
fn text(path: &Path) -> io::Result<String> {
    if path.is_symlink() && path.canonicalize()?.extension() != Some("toml".as_ref()) {
        return Err(io::Error::other("it is a link to something else than a .toml file; look at that where it is"));
    }
    String::from_utf8(regular::read(path, LARGEST)?).map_err(|_| io::Error::other("it is not UTF-8"))
}

fn names(dir: impl AsRef<Path>) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        // A file whose name is not UTF-8 cannot be a definition.
        files.extend(entry?.file_name().into_string().ok().filter(|name| is_definition(name)));
    }
    files.sort();
    Ok(files)
}

/// Whether a name is that of a file in the directory, and not of one elsewhere.
pub(super) fn is_definition(file: &str) -> bool {
    file.ends_with(".toml") && !file.starts_with('.') && !file.contains(['/', '\0'])
}

fn no_file(file: &str) -> Error {
    let message = format!("no definition file is called {file:?}; GET /api/definitions lists them all");
    Error::new(StatusCode::NOT_FOUND, "not_found_error", message)
}

fn in_git() -> Error {
    let message = "the definitions are read from a Git revision (`--from-git`): look at them there";
    Error::new(StatusCode::NOT_FOUND, "not_found_error", message)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn what_is_no_file_of_text_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        mknodat(CWD, path("pipe.toml"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::fs::File::create(path("large.toml")).unwrap().set_len(LARGEST + 1).unwrap();
        std::fs::write(path("latin.toml"), [0xe9]).unwrap();
        std::os::unix::fs::symlink("/dev/zero", path("zero.toml")).unwrap();
        let whys = [
            ("pipe", "not a regular"),
            ("large", "longer than"),
            ("latin", "UTF-8"),
            ("zero", "a link to something else"),
        ];
        for (name, why) in whys {
            let problem = text(&path(&format!("{name}.toml"))).unwrap_err().to_string();
            assert!(problem.contains(why), "{name}: {problem}");
        }
        std::fs::write(path("shared.toml"), "x = 1\n").unwrap();
        std::os::unix::fs::symlink("shared.toml", path("link.toml")).unwrap();
        assert_eq!(text(&path("link.toml")).unwrap(), "x = 1\n");
    }
}
