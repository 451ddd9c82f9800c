//! `/chat/`: llama.cpp's own page, whether a model runs or not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use flate2::read::GzDecoder;
use herdsman::llama::page::PageServer;

use super::front::Front;
use crate::support::{Process, eventually, llama_server, pids};

const PATIENCE: Duration = Duration::from_secs(30);

struct Got {
    status: u16,
    head: String,
    /// Unpacked.
    text: String,
}

/// Asks for a file of the page as a browser does, with more headers.
fn fetch(front: &Front, path: &str, headers: &str) -> Got {
    let mut stream = TcpStream::connect(("127.0.0.1", front.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let gzip = if headers.contains("Accept-Encoding") { "" } else { "Accept-Encoding: gzip, br\r\n" };
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{gzip}{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
    let mut text = String::new();
    match head.contains("content-encoding: gzip") {
        true => GzDecoder::new(&answer[end + 4..]).read_to_string(&mut text).unwrap_or_default(),
        false => (&answer[end + 4..]).read_to_string(&mut text).unwrap(),
    };
    Got { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, text }
}

/// Returns the servers that are asked for the page's files.
fn page_servers(front: &Front) -> Vec<i32> {
    servers_in(&front.state().cache().join("page/run"))
}

fn servers_in(run: &Path) -> Vec<i32> {
    let of_page = |pid: &i32| {
        fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == run)
            && Process::read(*pid).is_some_and(|process| process.arguments[0].ends_with("llama-server"))
    };
    pids().filter(of_page).collect()
}

#[test]
fn the_page_is_there_while_no_model_runs() {
    let front = Front::new(&["alpha"]);
    let page = fetch(&front, "/chat/", "");
    assert_eq!(page.status, 200);
    assert!(page.text.contains("<!doctype html>"), "{}", page.text);
    // The page is isolated from others by what llama-server says with it.
    for header in ["content-type: text/html", "etag: ", "cache-control: no-cache", "cross-origin-opener-policy: "] {
        assert_eq!(page.head.matches(header).count(), 1, "{header}: {}", page.head);
    }
    let bundle = page.text.split('"').find(|word| word.starts_with("./_app/") && word.ends_with(".js")).unwrap();
    let bundle = fetch(&front, &format!("/chat/{}", &bundle[2..]), "");
    assert_eq!(bundle.status, 200);
    assert!(bundle.text.len() > 1 << 20 && bundle.head.contains("immutable"), "{}", bundle.head);
    assert_eq!(page_servers(&front).len(), 1);
    eventually("the server for the page has ended", PATIENCE, || page_servers(&front).is_empty());

    // From here on it needs no server for these, also after herdsman starts anew.
    assert_eq!(fetch(&front, "/chat/", "").text, page.text);
    assert!(page_servers(&front).is_empty());
    assert_eq!(front.started("alpha"), 0);

    let etag = page.head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    assert_eq!(fetch(&front, "/chat/", &format!("If-None-Match: {etag}\r\n")).status, 304);
    assert_eq!(fetch(&front, "/chat/nothing.js", "").status, 404);
    assert_eq!(fetch(&front, "/chat/", "Accept-Encoding: identity\r\n").status, 415);
    let moved = fetch(&front, "/chat", "");
    assert!(moved.status == 308 && moved.head.contains("location: /chat/"), "{}", moved.head);
}

#[test]
fn after_an_update_of_the_binary_its_page_is_shown() {
    let front = Front::new(&["alpha"]);
    let binary = front.binary();
    fs::create_dir(binary.parent().unwrap()).unwrap();
    symlink(llama_server(), &binary).unwrap();
    assert_eq!(fetch(&front, "/chat/build.json", "").status, 200);
    let kept = || {
        let kept = fs::read_dir(front.state().cache().join("page")).unwrap().map(|entry| entry.unwrap().file_name());
        kept.filter(|name| name != "run").collect::<Vec<_>>()
    };
    let before = kept();
    assert_eq!(before.len(), 1);

    // Another program in its place, at the same moment as someone asks.
    let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", llama_server().display());
    let beside = binary.with_extension("new");
    fs::write(&beside, script).unwrap();
    fs::set_permissions(&beside, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::rename(&beside, &binary).unwrap();
    assert_eq!(fetch(&front, "/chat/build.json", "").status, 200);
    let after = kept();
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
}

#[test]
fn a_binary_without_a_page_is_named_with_what_it_said() {
    let front = Front::new(&["alpha"]);
    let binary = front.binary();
    fs::create_dir(binary.parent().unwrap()).unwrap();
    fs::write(&binary, "#!/bin/sh\necho error: unknown argument --offline >&2\nexit 1\n").unwrap();
    fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let answer = fetch(&front, "/chat/", "");
    assert_eq!(answer.status, 503);
    assert!(answer.text.contains("unknown argument --offline"), "{}", answer.text);
    assert!(page_servers(&front).is_empty());
}

#[test]
fn a_page_server_that_ends_leaves_the_next_one_alone() {
    let run = tempfile::tempdir().unwrap();
    let first = PageServer::start(&llama_server(), run.path()).unwrap();
    let second = PageServer::start(&llama_server(), run.path()).unwrap();
    drop(first);
    eventually("the first has ended", PATIENCE, || servers_in(run.path()).len() == 1);
    for _ in 0..50 {
        assert!(second.get("/build.json").unwrap().starts_with(b"HTTP/1.1 200 "));
    }
    drop(second);
    eventually("the second has ended", PATIENCE, || servers_in(run.path()).is_empty());
}
