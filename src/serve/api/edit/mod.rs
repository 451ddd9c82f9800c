//! `PUT` and `DELETE /api/definitions/{file}`: one file of the directory is written as it
//! comes, comments and all, if the reader finds nothing wrong with it.
//!
//! ```text
//!   may they?  ->  still what they read (If-Match)?  ->  what would it do?  ->  write  ->  commit
//!   403 409 428    412                                   422                               409: taken back
//! ```
//!
//! With `?dry-run=true` nothing is written, and a condition is checked only if there is
//! one. One writer at a time; [`place`] sees to others. From the write to the end of the
//! commit the watcher does not read the directory, so it never applies an edit that a hook
//! then refuses; `herdsman reconcile`, run by hand at that moment, may.

mod place;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::{Body as HttpBody, Bytes};
use hyper::header::{CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use hyper::http::request::Parts;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use self::place::PlaceError;
use super::definitions::tag;
use super::diagnostic::DiagnosticDocument;
use super::{Api, Host, collect, definitions, flag, require_admin, require_all, unavailable};
use crate::definition::{Edit, is_part};
use crate::git::commit_file;
use crate::model::Diagnostic;
use crate::serve::access::Caller;
use crate::serve::body::{Answer, BodyError};
use crate::serve::gateway::errors::{Error, Shape};
use crate::serve::gateway::own::answers::json as answer;

/// The longest file name, bytes: that of Linux.
const LONGEST_NAME: usize = 255;

/// Keeps writers apart; one that waits holds no thread.
pub(super) type Writing = Arc<Mutex<()>>;

/// What an edit would do.
#[derive(Debug)]
pub struct Preview {
    /// The problems of the file, and those that it makes in others.
    pub diagnostics: Vec<Diagnostic>,
    /// The document of `GET /api/plan`.
    pub plan: Value,
}

/// What became of an edit.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Edited {
    /// The file.
    file: String,
    /// Whether it was written, or deleted.
    written: bool,
    /// The problems of the file, and those that it makes in others. One that is an
    /// error keeps it from being written.
    diagnostics: Vec<DiagnosticDocument>,
    /// The document of `GET /api/plan`, as it is with the edit.
    plan: Value,
    /// The Git commit; absent without `commit = true` in `[serve]`, and where the last
    /// commit has the file as it is.
    commit: Option<String>,
}

/// What a client says of the file that it has read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    /// It is one of these; empty: any.
    Is(Vec<String>),
    /// There is none.
    IsNew,
}

/// An edit that may be made.
struct Request {
    dir: PathBuf,
    file: String,
    content: Option<Vec<u8>>,
    condition: Option<Condition>,
    is_dry_run: bool,
    /// Who commits it; `None`: nobody.
    author: Option<String>,
}

/// Writes a file.
pub(super) async fn put<B>(api: &Api, caller: &Caller, parts: &Parts, file: &str, body: B) -> Result<Answer, Error>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let dir = directory(api, caller).await?;
    require_text(parts)?;
    let content = collect(body, Edit::LARGEST).await?;
    make(api, request(api, caller, parts, (dir, file), Some(content.to_vec()))?).await
}

/// Deletes a file.
pub(super) async fn delete(api: &Api, caller: &Caller, parts: &Parts, file: &str) -> Result<Answer, Error> {
    let dir = directory(api, caller).await?;
    make(api, request(api, caller, parts, (dir, file), None)?).await
}

/// Why nobody may write a file.
pub(super) fn refusal(api: &Api) -> Option<Error> {
    let message = "definitions are read only here: set `edit = true` in `[serve]` of herdsman's settings";
    let refused = || Error::new(StatusCode::FORBIDDEN, "permission_error", message).with_code("edit_off");
    let settings = api.gateway.settings();
    let for_everybody = || {
        let message = "definitions are read only here while `open = true` lets everybody in without a key: a \
                       definition can run any program; add `[[serve.keys]]` with `admin = true`";
        Error::new(StatusCode::FORBIDDEN, "permission_error", message).with_code("edit_open")
    };
    match () {
        () if !settings.edit => Some(refused()),
        () if settings.open && settings.keys.is_empty() => Some(for_everybody()),
        () => None,
    }
}

/// Returns the directory, if the caller may write there.
async fn directory(api: &Api, caller: &Caller) -> Result<PathBuf, Error> {
    require_admin(caller)?;
    require_all(caller, "the definitions name")?;
    let from_git = || {
        let message = "the definitions are read from a Git revision (`--from-git`): commit the change there";
        Error::new(StatusCode::CONFLICT, "conflict_error", message).with_code("from_git")
    };
    let dir = api.ask(|host| host.definitions()).await?.ok_or_else(from_git)?;
    refusal(api).map_or(Ok(dir), Err)
}

fn request(
    api: &Api,
    caller: &Caller,
    parts: &Parts,
    (dir, file): (PathBuf, &str),
    content: Option<Vec<u8>>,
) -> Result<Request, Error> {
    require_name(file)?;
    let is_dry_run = flag(parts, "dry-run")?;
    let condition = condition(parts)?;
    if condition.is_none() && !is_dry_run {
        let message = format!(
            "say which {file} this replaces: send its ETag (GET /api/definitions/{file}) as If-Match, or \
             `If-None-Match: *` to create it"
        );
        return Err(Error::new(StatusCode::PRECONDITION_REQUIRED, "invalid_request_error", message));
    }
    if condition == Some(Condition::IsNew) {
        require_plain(file)?;
    }
    if content.is_none() && condition == Some(Condition::IsNew) {
        return Err(Error::invalid("what does not exist cannot be deleted; send the file's ETag as If-Match"));
    }
    let name = || caller.name.as_deref().map_or_else(user, str::to_owned);
    let author = api.gateway.settings().commit.then(name);
    Ok(Request { dir, file: file.to_owned(), content, condition, is_dry_run, author })
}

/// Checks that a name is one for a shell and for Git, too.
fn require_plain(file: &str) -> Result<(), Error> {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-');
    if file.chars().all(is_plain) && !file.starts_with('-') {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{file:?} cannot be the name of a new definition: use letters, digits, `.`, `_` and `-`, and not `-` first; \
         another name for the model goes into `name` in the file"
    )))
}

/// Checks that the reader reads files of this name.
fn require_name(file: &str) -> Result<(), Error> {
    if definitions::is_definition(file) && is_part(file.as_ref()) && file.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{file:?} cannot be the name of a definition: use NAME.toml without `/`, not starting with `.` or `_` \
         (but for _defaults.toml and _groups.toml), {LONGEST_NAME} bytes at most"
    )))
}

/// Checks that the body is not a form, or JSON.
fn require_text(parts: &Parts) -> Result<(), Error> {
    let Some(given) = parts.headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = given.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if ["text/plain", "application/toml", "application/octet-stream"].contains(&essence.as_str()) {
        return Ok(());
    }
    let message = format!("the body is the TOML text itself: send it as application/toml, not {essence:?}");
    Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request_error", message))
}

fn condition(parts: &Parts) -> Result<Option<Condition>, Error> {
    let list = |name: &HeaderName| -> Option<Vec<String>> {
        let values = parts.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let tags = |value: Cow<'_, str>| value.split(',').map(|tag| tag.trim().to_owned()).collect::<Vec<_>>();
        parts.headers.contains_key(name).then(|| values.flat_map(tags).collect())
    };
    let is_any = |tags: &[String]| tags.iter().any(|tag| tag == "*");
    match (list(&IF_MATCH), list(&IF_NONE_MATCH)) {
        (None, None) => Ok(None),
        (Some(tags), None) if is_any(&tags) => Ok(Some(Condition::Is(Vec::new()))),
        (Some(tags), None) => Ok(Some(Condition::Is(tags))),
        (None, Some(tags)) if is_any(&tags) => Ok(Some(Condition::IsNew)),
        _ => Err(Error::invalid("send either If-Match with an ETag, or `If-None-Match: *`")),
    }
}

/// The user that this process runs as, for commits where no key says who it is.
fn user() -> String {
    nix::unistd::User::from_uid(nix::unistd::Uid::effective())
        .ok()
        .flatten()
        .map_or_else(|| "herdsman".to_owned(), |user| user.name)
}

async fn make(api: &Api, request: Request) -> Result<Answer, Error> {
    if request.is_dry_run {
        return api.ask(move |host| try_out(host, &request)).await?;
    }
    let place = api.edits.take()?;
    let alone = Arc::clone(&api.writing).lock_owned().await;
    api.ask(move |host| {
        // Until the edit is made, also when its client has left.
        let _held = (place, alone);
        write(host, request)
    })
    .await?
}

fn try_out(host: &dyn Host, request: &Request) -> Result<Answer, Error> {
    // A file that cannot be written can still be looked at.
    if request.condition.is_some() {
        check(
            request,
            place::read(&request.dir.join(&request.file)).map_err(|error| failed(request, &error))?.as_deref(),
        )?;
    }
    let Preview { diagnostics, plan } = preview(host, request)?;
    let diagnostics = diagnostics.iter().map(DiagnosticDocument::of).collect();
    let edited = Edited { file: request.file.clone(), written: false, diagnostics, plan, commit: None };
    Ok(answer(StatusCode::OK, &edited))
}

fn write(host: &dyn Host, request: Request) -> Result<Answer, Error> {
    let path = request.dir.join(&request.file);
    let before = place::read(&path).map_err(|error| failed(&request, &error))?;
    check(&request, before.as_deref())?;
    let Preview { diagnostics, plan } = preview(host, &request)?;
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Ok(invalid(&request.file, &diagnostics));
    }
    let is_new = before.is_none();
    let unsettled = host.edits();
    let made = place::change(&path, before, request.content.clone()).map_err(|error| failed(&request, &error))?;
    let commit = match commit(&request, is_new) {
        Ok(commit) => commit,
        Err(problem) => {
            let end = match made.undo() {
                Ok(()) if is_new => format!("{} was not created", request.file),
                Ok(()) => format!("{} is as it was", request.file),
                Err(error) => format!("{} stays written: {error}", request.file),
            };
            drop(unsettled);
            host.wake();
            let message = format!("not committed: {problem}; {end}");
            return Err(Error::new(StatusCode::CONFLICT, "conflict_error", message).with_code("not_committed"));
        }
    };
    made.keep();
    drop(unsettled);
    host.wake();
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let diagnostics = diagnostics.iter().map(DiagnosticDocument::of).collect();
    let tag = request.content.as_deref().map(tag);
    let edited = Edited { file: request.file, written: true, diagnostics, plan, commit };
    Ok(tagged(answer(status, &edited), tag))
}

fn preview(host: &dyn Host, request: &Request) -> Result<Preview, Error> {
    let edit = Edit::new(&request.file, request.content.clone());
    host.preview(edit).map_err(|why| unavailable(&why))
}

/// Checks that the file is what the client has read.
fn check(request: &Request, now: Option<&[u8]>) -> Result<(), Error> {
    let file = &request.file;
    let message = match (request.condition.as_ref(), now) {
        (None, _) | (Some(Condition::IsNew), None) => return Ok(()),
        (Some(Condition::Is(tags)), Some(now)) if tags.is_empty() || tags.contains(&tag(now)) => return Ok(()),
        (Some(Condition::IsNew), Some(_)) => {
            format!("{file} exists already; read it, and send its ETag as If-Match to replace it")
        }
        (Some(Condition::Is(_)), Some(_)) => changed(file),
        (Some(Condition::Is(_)), None) if request.content.is_none() => format!("{file} is gone already"),
        (Some(Condition::Is(_)), None) => format!("{file} is gone; send `If-None-Match: *` to create it again"),
    };
    Err(Error::new(StatusCode::PRECONDITION_FAILED, "conflict_error", message).with_code("changed"))
}

fn changed(file: &str) -> String {
    format!("{file} has changed since you read it; read it again, and make your change to that")
}

fn failed(request: &Request, error: &PlaceError) -> Error {
    let file = &request.file;
    if matches!(error, PlaceError::Changed) {
        return Error::new(StatusCode::PRECONDITION_FAILED, "conflict_error", changed(file)).with_code("changed");
    }
    match error.help(&user()) {
        Some(help) => unavailable(&format!("{file}: {error}; {help}")),
        None => Error::new(StatusCode::CONFLICT, "conflict_error", format!("{file}: {error}")),
    }
}

/// Commits the file where the owner wants that.
fn commit(request: &Request, is_new: bool) -> Result<Option<String>, String> {
    let Some(author) = &request.author else { return Ok(None) };
    let verb = match (&request.content, is_new) {
        (None, _) => "Delete",
        (Some(_), true) => "Add",
        (Some(_), false) => "Change",
    };
    let message = format!("{verb} {}", request.file);
    let committed = commit_file(&request.dir, &request.file, &message, author).map_err(|error| error.to_string())?;
    Ok(committed.map(|commit| commit.as_str().to_owned()))
}

/// 422: problem details, with the diagnostics.
fn invalid(file: &str, diagnostics: &[Diagnostic]) -> Answer {
    let first = diagnostics.iter().find(|diagnostic| diagnostic.is_error());
    let first = first.map(|error| {
        let place = error.position().map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
        let help = error.help.as_ref().map_or_else(String::new, |help| format!("; {help}"));
        format!("{}{place}: {}{help}", error.file, error.message)
    });
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    let problem = json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": format!("{file} was not written: {}", first.unwrap_or_default()),
        "code": "invalid_definition",
        "diagnostics": diagnostics.iter().map(DiagnosticDocument::of).collect::<Vec<_>>(),
    });
    let mut answer = Error::new(status, "invalid_request_error", "").answer(Shape::Problem);
    *answer.body_mut() = crate::serve::body::full(problem.to_string());
    answer
}

fn tagged(mut answer: Answer, tag: Option<String>) -> Answer {
    let tag = tag.and_then(|tag| HeaderValue::from_str(&tag).ok());
    answer.headers_mut().extend(tag.map(|tag| (ETAG, tag)));
    answer
}
