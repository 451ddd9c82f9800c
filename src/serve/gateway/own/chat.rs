//! `/chat/`: llama.cpp's own web page over all models. The page's files come from
//! the binary; everything else below `/chat/` is the gateway's own at `/`.
//!
//! ```text
//! <state-dir>/cache/page/IDENTITY/=FILE   an answer of that llama-server, as it was sent
//! <state-dir>/cache/page/run/             where one runs to be asked for what is not kept
//! ```

use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_NONE_MATCH, LOCATION, SERVER, TRANSFER_ENCODING,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::Mutex;

use super::answers::{error, text, wrong_method};
use super::uses::is_of_page;
use crate::llama::catalogue::binary::identify;
use crate::llama::page::PageServer;
use crate::model::BinaryIdentity;
use crate::serve::body::{Answer, empty, full};
use crate::serve::gateway::Gateway;
use crate::sys::regular;

/// How long the server that is asked for files runs: a browser asks for all of them
/// within 2 s.
const LIFETIME: Duration = Duration::from_secs(10);

/// The largest file that is read back, bytes.
const LARGEST: u64 = 64 << 20;

/// How many files are kept: the page has some 10.
const MOST: usize = 256;

/// Headers of an answer that are about the connection it came by, or about origins,
/// which the gateway decides.
const NOT_KEPT: [HeaderName; 5] = [ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, CONTENT_LENGTH, SERVER, TRANSFER_ENCODING];

/// The server that is asked for files, if one runs.
pub(super) type Page = Mutex<Option<(BinaryIdentity, Arc<PageServer>)>>;

/// Answers for the page's files. Of any other address below `/chat/` it cuts that
/// prefix off.
pub(super) async fn answer(gateway: &Gateway, parts: &mut Parts) -> Option<Answer> {
    let path = parts.uri.path();
    if path == "/chat" {
        return Some(redirect("/chat/"));
    }
    let below = path.strip_prefix("/chat").filter(|below| below.starts_with('/'))?;
    if !is_of_page(below) {
        parts.uri = without_prefix(&parts.uri, below);
        return None;
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Some(wrong_method("GET, HEAD", "the files of the page can only be read"));
    }
    if !accepts_gzip(&parts.headers) {
        // As llama-server says it, which has them in no other form.
        return Some(text(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Error: gzip is not supported by this browser"));
    }
    let kept = file(gateway, below).await.and_then(|answer| read(&answer));
    Some(kept.map_or_else(
        |why| error(StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", &format!("no chat page: {why}")),
        |answer| unless_known(answer, &parts.headers),
    ))
}

fn redirect(to: &'static str) -> Answer {
    let mut answer = Response::new(empty());
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    answer.headers_mut().insert(LOCATION, HeaderValue::from_static(to));
    answer
}

fn without_prefix(uri: &Uri, below: &str) -> Uri {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = format!("{below}{query}").parse().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT_ENCODING);
    accepted.iter().any(|value| value.to_str().is_ok_and(|value| value.to_ascii_lowercase().contains("gzip")))
}

/// 304 if the client has this very file.
fn unless_known(mut answer: Answer, headers: &HeaderMap) -> Answer {
    if headers.get(IF_NONE_MATCH).is_some_and(|known| answer.headers().get(ETAG) == Some(known)) {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        *answer.body_mut() = empty();
    }
    answer
}

/// Returns llama-server's answer for a file: the kept one, or a new one.
async fn file(gateway: &Gateway, path: &str) -> Result<Vec<u8>, String> {
    let host = gateway.host().ok_or("the watcher is not ready; try again")?;
    let path = path.to_owned();
    let (file, identity, kept) = blocking(move || {
        let binary = host.llama_server().ok_or("there is no llama-server")?;
        let file = Kept { path, dir: host.state().cache().join("page"), binary };
        let identity = identify(&file.binary).map_err(|problem| problem.to_string())?;
        let kept = file.read(&identity);
        Ok((file, identity, kept))
    })
    .await?;
    if let Some(kept) = kept {
        return Ok(kept);
    }
    let server = server(gateway, &file, &identity).await?;
    blocking(move || {
        let answer = server.get(&file.path).map_err(|problem| problem.to_string())?;
        if answer.starts_with(b"HTTP/1.1 200 ")
            && let Err(problem) = file.write(&identity, &answer)
        {
            tracing::warn!("cannot keep {} of the chat page: {problem}", file.path);
        }
        Ok(answer)
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err("herdsman ends".to_owned()))
}

/// Returns the running server of this binary, or starts it. It ends soon after.
async fn server(gateway: &Gateway, file: &Kept, identity: &BinaryIdentity) -> Result<Arc<PageServer>, String> {
    let mut running = gateway.0.own.page.lock().await;
    if let Some((of, server)) = &*running
        && of == identity
    {
        return Ok(Arc::clone(server));
    }
    // There is one place to run in.
    *running = None;
    let (binary, dir) = (file.binary.clone(), file.dir.join("run"));
    let server = blocking(move || PageServer::start(&binary, &dir).map_err(|problem| problem.to_string())).await?;
    let server = Arc::new(server);
    *running = Some((identity.clone(), Arc::clone(&server)));
    let (gateway, started) = (gateway.clone(), Arc::downgrade(&server));
    tokio::spawn(async move {
        tokio::time::sleep(LIFETIME).await;
        let mut running = gateway.0.own.page.lock().await;
        running.take_if(|(_, server)| Arc::as_ptr(server) == started.as_ptr());
    });
    Ok(server)
}

/// A file of the page, kept or not.
struct Kept {
    /// Its path, `/` for the page itself.
    path: String,
    /// `<state-dir>/cache/page`.
    dir: PathBuf,
    binary: PathBuf,
}

impl Kept {
    fn place(&self, identity: &BinaryIdentity) -> PathBuf {
        let name = utf8_percent_encode(&self.path, NON_ALPHANUMERIC).to_string();
        self.dir.join(&identity.0).join(format!("={name}"))
    }

    fn read(&self, identity: &BinaryIdentity) -> Option<Vec<u8>> {
        regular::read(&self.place(identity), LARGEST).ok()
    }

    /// Keeps an answer, and forgets those of other binaries.
    fn write(&self, identity: &BinaryIdentity, answer: &[u8]) -> io::Result<()> {
        let place = self.place(identity);
        let of_binary = self.dir.join(&identity.0);
        if !of_binary.exists() {
            forget_others(&self.dir);
            DirBuilder::new().recursive(true).mode(0o700).create(&of_binary)?;
        } else if fs::read_dir(&of_binary)?.count() >= MOST {
            return Ok(());
        }
        let mut beside = tempfile::NamedTempFile::new_in(&of_binary)?;
        beside.write_all(answer)?;
        beside.persist(place)?;
        Ok(())
    }
}

/// Removes what is kept of every binary; what cannot be removed does no harm.
fn forget_others(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name() != "run") {
        let _removed = fs::remove_dir_all(entry.path());
    }
}

/// Reads an answer as it was sent.
fn read(sent: &[u8]) -> Result<Answer, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Response::new(&mut headers);
    let length = match parsed.parse(sent) {
        Ok(httparse::Status::Complete(length)) => length,
        _ => return Err("llama-server's answer is not HTTP".to_owned()),
    };
    let mut answer = Response::builder().status(parsed.code.unwrap_or_default());
    let mut announced = None;
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|problem| problem.to_string())?;
        if name == CONTENT_LENGTH {
            announced = std::str::from_utf8(header.value).ok().and_then(|length| length.parse::<usize>().ok());
        } else if !NOT_KEPT.contains(&name) && name != "keep-alive" {
            answer = answer.header(name, header.value);
        }
    }
    let body = &sent[length..];
    if announced != Some(body.len()) {
        return Err("llama-server's answer is not whole".to_owned());
    }
    answer.body(full(body.to_vec())).map_err(|problem| problem.to_string())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn keeps_some_files_of_one_binary() {
        let dir = tempfile::tempdir().unwrap();
        let keep = |path: String, identity: &str| {
            let kept = Kept { path, dir: dir.path().to_owned(), binary: PathBuf::new() };
            kept.write(&BinaryIdentity(identity.to_owned()), b"x").unwrap();
        };
        fs::create_dir(dir.path().join("run")).unwrap();
        let count = |name: &str| fs::read_dir(dir.path().join(name)).map_or(0, Iterator::count);
        (0..2 * MOST).for_each(|number| keep(format!("/{number}.js"), "old"));
        assert_eq!(count("old"), MOST);
        keep("/".to_owned(), "new");
        assert_eq!((count("old"), count("new"), count("run")), (0, 1, 0));
        assert!(dir.path().join("run").exists());
    }
}
