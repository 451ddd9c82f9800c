//! What definitions, rows, logs, reasons and clients say reaches programs and the page as
//! text, whatever it is.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::client::{Events, PATIENCE, database, get, post, send};
use crate::gateway::served::Served;
use crate::support::{World, eventually};

/// Texts that are something else to a page, a terminal, a stream of events, a reader of C.
fn corpus() -> Vec<String> {
    let fixed = [
        "<img src=x onerror=alert(1)>",
        "<script>alert(2)</script><b>bold</b>",
        "\"><svg onload=alert(3)><iframe srcdoc='<script>alert(4)</script>'>",
        "javascript:alert(5)//{{7*7}}${7*7}",
        "\u{1b}[31mred\u{1b}]0;title\u{7}\u{1b}[2J",
        "\u{202e}gpj.exe\u{202c}\u{200b}\u{feff}",
        "one\ndata: {\"type\":\"models\",\"data\":[]}\n\nevent: x\rid: 7\r\n",
        "\u{2028}line\u{2029}paragraph\u{85}next",
        "a\0b",
        "]]>--><!--&amp;&lt;",
    ];
    let long = "<i>long</i>".repeat(2_000);
    fixed.into_iter().map(str::to_owned).chain([long]).collect()
}

/// A world whose every text is of the corpus: rows of another program, reasons, a log, a
/// file, a definition that is wrong.
fn served() -> Served {
    let world = World::new();
    world.weights("chat", "word ");
    let toml = World::tiny_toml("chat");
    world.write_definition("chat", &format!("description = '<img src=x onerror=alert(6)>'\n{toml}"));
    world.write_definition("bad", "model = \"<img src=x onerror=alert(7)>.gguf\"\n\"<b>key</b>\" = 1\n");
    world.write_definition("<img src=x onerror=alert(8)>", "model = 7\n");
    let mut served = Served::new(world);
    served.watcher().eventually_says("chat is ready");
    let rows = rusqlite::Connection::open(database(&served.world)).unwrap();
    for (number, text) in corpus().iter().enumerate() {
        let row = "INSERT INTO models (name, type, status, chat_template, parameters, created_at, updated_at) \
                   VALUES (?1, ?1, 'stopped', ?1, ?2, 1, 1)";
        let parameters = json!({text.as_str(): text}).to_string();
        rows.execute(row, (&text[..text.len().min(300 + number)], parameters)).unwrap();
    }
    let mut log = fs::OpenOptions::new().append(true).open(log_of(&served.world)).unwrap();
    for text in corpus() {
        log.write_all(text.as_bytes()).unwrap();
        log.write_all(b"\n\xff\xfe invalid \xc3\x28\n").unwrap();
    }
    // A request's path is what its client likes.
    assert_eq!(get(served.port, "/upstream/chat/%3Cscript%3Ealert(9)%3C/script%3E").status, 404);
    served
}

fn log_of(world: &World) -> PathBuf {
    let files = walkdir::WalkDir::new(world.state_dir().join("logs")).into_iter().map(Result::unwrap);
    let is_of_chat = |path: &PathBuf| path.is_file() && path.to_str().unwrap().contains("chat");
    files.map(|file| file.path().to_owned()).find(is_of_chat).unwrap()
}

fn names(of: &Value) -> Vec<String> {
    let mut names: Vec<_> = of.as_array().unwrap().iter().map(|is| is["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn programs_read_every_text_as_it_is() {
    let served = served();
    let port = served.port;
    let expected: Vec<String> =
        corpus().iter().enumerate().map(|(at, text)| text[..text.len().min(300 + at)].to_owned()).collect();
    eventually("the rows are shown", PATIENCE, || {
        names(&get(port, "/api/models").json()["models"]).len() >= expected.len() + 2
    });
    let list = get(port, "/api/models").json()["models"].clone();
    for (name, text) in expected.iter().zip(corpus()) {
        let row = list.as_array().unwrap().iter().find(|row| row["name"] == name.as_str()).unwrap();
        assert_eq!(
            (&row["template"], &row["parameters"][&text], &row["type"]),
            (&json!(name), &json!(text), &json!("other"))
        );
        let encoded = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        let one = get(port, &format!("/api/models/{encoded}"));
        assert_eq!((one.status, &one.json()["name"]), (200, &json!(name)), "{name:?}");
    }
    let log = get(port, "/api/models/chat/logs?lines=100000");
    assert_eq!(log.header("content-type"), Some("text/plain; charset=utf-8"));
    assert!(log.body.contains("\u{fffd}\u{fffd} invalid \u{fffd}("), "bytes that are no text");
    corpus().iter().for_each(|text| assert!(log.body.contains(text.as_str()), "{text:?}"));

    let mut readers =
        [Events::connect(port, ""), Events::by_sse(port, "", None), Events::by_sse(port, "?changes=true", None)];
    for reader in &mut readers {
        assert_eq!(names(&reader.next().unwrap()["data"]), names(&list));
    }
    // As a reason, each goes through a command, the database, the history and the events.
    for text in corpus() {
        let answer = post(port, "/api/models/chat/suspend", &json!({"reason": text}).to_string());
        assert_eq!(answer.status, 202, "{text:?}: {answer:?}");
        let shown = answer.json()["model"]["byHand"][0]["reason"].as_str().unwrap().to_owned();
        for reader in &mut readers {
            reader.until(|message| {
                let all = message["data"].as_array().map_or_else(|| vec![&message["data"]], |all| all.iter().collect());
                all.iter().any(|model| model["byHand"][0]["reason"] == shown.as_str())
            });
        }
        assert!(
            text.starts_with(shown.trim_end_matches('…')) || !shown.contains(['<', '\n', '\u{1b}']) || shown == text,
            "{text:?} became {shown:?}"
        );
    }
    let history = get(port, "/api/models/chat/history").json().to_string();
    assert!(history.contains("onerror=alert(1)"), "{history}");
    let requests = get(port, "/api/activity").json();
    assert!(requests.to_string().contains("alert(9)"), "{requests}");
}

#[test]
fn a_stream_of_events_holds_nothing_but_events() {
    let served = served();
    eventually("the rows are shown", PATIENCE, || get(served.port, "/api/models").body.contains("event: x"));
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", served.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    for reason in corpus() {
        let answer = post(served.port, "/api/models/chat/suspend", &json!({"reason": reason}).to_string());
        assert_eq!(answer.status, 202);
    }
    assert_eq!(post(served.port, "/api/models/chat/resume", r#"{"reason": "the end"}"#).status, 202);
    let mut bytes = Vec::new();
    let is_over = |bytes: &[u8]| {
        bytes.windows(2).any(|end| end == b"\n\n") && {
            let text = String::from_utf8_lossy(bytes);
            text.rsplit("data: ").next().is_some_and(|last| {
                last.contains("\"byHand\":[]") && !last.contains("suspended\"") && last.ends_with("\n\n\r\n")
            })
        }
    };
    while !is_over(&bytes) {
        let mut part = [0; 65_536];
        let read = std::io::Read::read(&mut stream, &mut part).unwrap();
        bytes.extend_from_slice(&part[..read]);
        assert!(read > 0);
    }
    let text = String::from_utf8(bytes).unwrap();
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let mut events = 0;
    for line in body.split('\n') {
        let size = line.trim_end_matches('\r');
        let is_framing = size.is_empty() || usize::from_str_radix(size, 16).is_ok();
        match line.split_once(": ") {
            Some(("id", number)) => assert!(number.parse::<u64>().is_ok(), "{line}"),
            Some(("data", document)) => {
                let message: Value = serde_json::from_str(document).unwrap();
                assert_eq!(message["type"], "models");
                events += 1;
            }
            _ => assert!(is_framing, "{line:?}"),
        }
    }
    assert!(events > 1, "{events}");
}

#[test]
fn the_page_shows_every_text_and_runs_none() {
    let served = served();
    let reason = corpus()[..3].concat();
    let suspended = post(served.port, "/api/models/chat/suspend", &json!({"reason": reason}).to_string());
    assert_eq!(suspended.status, 202, "{suspended:?}");
    // The same page, by what its visitor's address bar can be made to hold.
    assert_eq!(send(served.port, "GET", "/?%3Cscript%3Ealert(1)", &[], "").status, 200);
    let seen = served.world.client("injected.py", &[&format!("http://127.0.0.1:{}/", served.port)]);
    assert_eq!(seen, "list: 0\nmodel: 0\nlog: 0\nplan: 0\nrequests: 0\nmachine: 0\naddress: 0\n");
}
