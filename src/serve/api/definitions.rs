//! `GET /api/definitions` and `GET /api/definitions/{file}`: the definitions as they are
//! in the directory. Nothing is written here ([`super::edit`]).

use std::io::ErrorKind;
use std::path::Path;

use hyper::StatusCode;
use hyper::header::{ETAG, HeaderValue};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Api, edit, require_admin, unavailable};
use crate::serve::access::Caller;
use crate::serve::body::Answer;
use crate::serve::gateway::errors::Error;
use crate::serve::gateway::own::answers::json as answer;

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
    let files = api.ask(|host| host.definitions().map(names)).await?.ok_or_else(in_git)?;
    let files = files.map_err(|problem| unavailable(&format!("the definitions cannot be read: {problem}")))?;
    let read_only = edit::refusal(api).map(|refusal| refusal.message);
    Ok(answer(StatusCode::OK, &Definitions { files, read_only }))
}

/// One file.
pub(super) async fn one(api: &Api, caller: &Caller, file: &str) -> Result<Answer, Error> {
    require_admin(caller)?;
    if !is_definition(file) {
        return Err(no_file(file));
    }
    let name = file.to_owned();
    let read = api.ask(move |host| host.definitions().map(|dir| std::fs::read_to_string(dir.join(name)))).await?;
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

fn names(dir: impl AsRef<Path>) -> std::io::Result<Vec<String>> {
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
