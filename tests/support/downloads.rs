//! A web server on 127.0.0.1 that weights are downloaded from: plain files, and
//! a hub's repository where `hf_repo` names one.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::json;

/// The only commit of every repository.
const COMMIT: &str = "c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0";

#[derive(Default)]
struct Kept {
    /// By path; a repository's are `/ORG/REPO/resolve/COMMIT/FILE`.
    files: BTreeMap<String, Vec<u8>>,
    requests: Vec<String>,
    pause: Duration,
}

/// The web server; its thread ends with the test program.
pub struct Downloads {
    port: u16,
    kept: Arc<Mutex<Kept>>,
}

impl Downloads {
    /// One that has no file yet.
    pub fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = Arc::clone(&kept);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, kept) = (stream.unwrap(), Arc::clone(&shared));
                // A client that goes away in the middle is none.
                thread::spawn(move || drop(serve(stream, &kept)));
            }
        });
        Self { port, kept }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Adds or replaces `/NAME`: its URL.
    pub fn file(&self, name: &str, bytes: Vec<u8>) -> String {
        self.kept().files.insert(format!("/{name}"), bytes);
        format!("{}/{name}", self.url())
    }

    /// Adds or replaces a file of the repository `repo`.
    pub fn file_of(&self, repo: &str, name: &str, bytes: Vec<u8>) {
        self.kept().files.insert(format!("/{repo}/resolve/{COMMIT}/{name}"), bytes);
    }

    /// No file is there any more.
    pub fn clear(&self) {
        self.kept().files.clear();
    }

    /// Pauses for so long before each twentieth of a file.
    pub fn pause(&self, pause: Duration) {
        self.kept().pause = pause;
    }

    /// `GET /a.gguf bytes=100-`, and so on, since the last time.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.kept().requests)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Kept>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let line = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut range = None;
    for header in lines {
        let header = header?.to_ascii_lowercase();
        range = header.strip_prefix("range: ").map(str::to_owned).or(range);
        if header.is_empty() {
            break;
        }
    }
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (body, pause) = {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = range.as_ref().map_or_else(String::new, |range| format!(" {range}"));
        kept.requests.push(format!("{method} {path}{asked}"));
        (kept.files.get(&path).cloned().or_else(|| hub(&kept.files, &path)), kept.pause)
    };
    answer(stream, &method, body, range.as_deref(), pause)
}

/// What the hub says of a repository.
fn hub(files: &BTreeMap<String, Vec<u8>>, path: &str) -> Option<Vec<u8>> {
    let (repo, what) = path
        .strip_prefix("/api/models/")?
        .split_once("/refs")
        .map(|(repo, _)| (repo, "refs"))
        .or_else(|| path.strip_prefix("/api/models/")?.split_once("/tree/").map(|(repo, _)| (repo, "tree")))?;
    let prefix = format!("/{repo}/resolve/{COMMIT}/");
    let of_it = || files.iter().filter_map(|(path, bytes)| Some((path.strip_prefix(&prefix)?, bytes.len())));
    of_it().next()?;
    let answer = if what == "refs" {
        json!({ "branches": [{ "name": "main", "ref": "refs/heads/main", "targetCommit": COMMIT }], "tags": [] })
    } else {
        let file = |(path, size)| {
            let oid = format!("{size:064x}");
            json!({ "type": "file", "path": path, "oid": COMMIT, "size": size, "lfs": { "oid": oid, "size": size } })
        };
        of_it().map(file).collect()
    };
    Some(answer.to_string().into_bytes())
}

fn answer(
    mut stream: TcpStream,
    method: &str,
    body: Option<Vec<u8>>,
    range: Option<&str>,
    pause: Duration,
) -> std::io::Result<()> {
    let Some(body) = body else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    let from: usize = range
        .and_then(|range| range.strip_prefix("bytes=")?.split('-').next()?.parse().ok())
        .filter(|from| *from <= body.len())
        .unwrap_or(0);
    let (status, rest) = (if from > 0 { "206 Partial Content" } else { "200 OK" }, &body[from..]);
    let etag = body.iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    write!(
        stream,
        "HTTP/1.1 {status}\r\nETag: \"{etag:x}\"\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n\
         Content-Range: bytes {from}-{}/{}\r\nConnection: close\r\n\r\n",
        rest.len(),
        body.len().saturating_sub(1),
        body.len()
    )?;
    if method == "HEAD" {
        return Ok(());
    }
    for part in rest.chunks(body.len().div_ceil(20).max(1)) {
        thread::sleep(pause);
        stream.write_all(part)?;
    }
    Ok(())
}
