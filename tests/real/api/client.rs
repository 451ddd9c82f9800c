//! A client of the API.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket, client};

/// How long anything may take on a machine that does much else besides.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Sends a request with further header lines.
pub fn send(port: u16, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    try_send(port, method, path, headers, body).unwrap_or_else(|| panic!("no whole answer to {method} {path}"))
}

/// As [`send`]; `None`: there is nobody, or the connection ends before the answer does.
pub fn try_send(port: u16, method: &str, path: &str, headers: &[&str], body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let host = if more.to_lowercase().contains("host: ") { "" } else { "Host: localhost\r\n" };
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\n{host}{more}Connection: close\r\nContent-Length: {length}\r\n");
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Some(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
}

pub fn get(port: u16, path: &str) -> Answer {
    send(port, "GET", path, &[], "")
}

pub fn post(port: u16, path: &str, body: &str) -> Answer {
    send(port, "POST", path, &[], body)
}

/// A reader of the events.
pub enum Events {
    Socket(Box<WebSocket<TcpStream>>),
    Sse(Lines<BufReader<TcpStream>>),
}

impl Events {
    /// Connects by web socket, with a query, `?changes=true`.
    pub fn connect(port: u16, query: &str) -> Self {
        Self::connect_with(port, query, None)
    }

    /// … and a key.
    pub fn connect_with(port: u16, query: &str, key: Option<&str>) -> Self {
        let mut request = format!("ws://127.0.0.1:{port}/api/events{query}").into_client_request().unwrap();
        let key = key.map(|key| ("x-api-key", key.parse().unwrap()));
        request.headers_mut().extend(key.map(|(name, key)| (tungstenite::http::HeaderName::from_static(name), key)));
        Self::Socket(Box::new(client(request, Self::stream(port)).unwrap().0))
    }

    /// Connects by server-sent events, with a query and a key.
    pub fn by_sse(port: u16, query: &str, key: Option<&str>) -> Self {
        let mut stream = Self::stream(port);
        let key = key.map(|key| format!("x-api-key: {key}\r\n")).unwrap_or_default();
        write!(stream, "GET /api/events{query} HTTP/1.1\r\nHost: localhost\r\n{key}\r\n").unwrap();
        Self::Sse(BufReader::new(stream).lines())
    }

    fn stream(port: u16) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The next message that is no heartbeat; `None`: the connection is closed.
    pub fn next(&mut self) -> Option<Value> {
        let text = self.next_text()?;
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}")))
    }

    /// [`Events::next`] as it comes.
    pub fn next_text(&mut self) -> Option<String> {
        loop {
            let text = match self {
                Self::Socket(socket) => match socket.read() {
                    Ok(Message::Text(text)) => text.to_string(),
                    Ok(Message::Close(_)) | Err(_) => return None,
                    Ok(_) => continue,
                },
                Self::Sse(lines) => match lines.next()?.ok()?.strip_prefix("data: ") {
                    Some(text) => text.to_owned(),
                    None => continue,
                },
            };
            if !text.contains("\"type\":\"heartbeat\"") {
                return Some(text);
            }
        }
    }

    /// The messages up to the first one that `is_it`. Others come for as long as the
    /// connection lasts, so it ends when that takes too long.
    pub fn until(&mut self, mut is_it: impl FnMut(&Value) -> bool) -> Vec<Value> {
        let (mut seen, begun) = (Vec::new(), Instant::now());
        loop {
            assert!(begun.elapsed() < PATIENCE, "it did not come; there came {seen:?}");
            let message = self.next().unwrap_or_else(|| panic!("the connection ended after {seen:?}"));
            seen.push(message);
            if is_it(&seen[seen.len() - 1]) {
                return seen;
            }
        }
    }
}

/// The status of a model in a message with all models.
pub fn status(message: &Value, name: &str) -> String {
    let model = message["data"].as_array().unwrap().iter().find(|model| model["name"] == name);
    model.and_then(|model| model["status"].as_str()).unwrap_or("missing").to_owned()
}

/// The database that a world's herdsman makes.
pub fn database(world: &crate::support::World) -> std::path::PathBuf {
    world.state_dir().join("herdsman.db")
}
