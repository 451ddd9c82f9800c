//! HTTP/1.1 as a client speaks it, by hand: what arrives is seen when it arrives, and
//! nothing is sent twice.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long an answer may keep a client waiting, for its next byte.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// A connection to the gateway.
pub struct Connection(BufReader<TcpStream>);

/// The head of an answer.
#[derive(Debug)]
pub struct Head {
    pub status: u16,
    /// When its first byte was there.
    pub at: Instant,
    /// The length of its body; `None`: it comes in chunks.
    length: Option<usize>,
    /// Whether the connection ends with it.
    pub closes: bool,
}

impl Connection {
    pub fn open(port: u16) -> Result<Self, String> {
        let stream = TcpStream::connect(("127.0.0.1", port)).map_err(|error| format!("connecting: {error}"))?;
        stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(DEADLINE))).map_err(|e| e.to_string())?;
        Ok(Self(BufReader::new(stream)))
    }

    pub fn send(&mut self, request: &str) -> Result<(), String> {
        self.0.get_mut().write_all(request.as_bytes()).map_err(|error| format!("sending: {error}"))
    }

    /// Waits for the head of the answer.
    pub fn head(&mut self) -> Result<Head, String> {
        let status = self.line()?;
        let at = Instant::now();
        let status =
            status.split(' ').nth(1).and_then(|text| text.parse().ok()).ok_or(format!("no status: {status}"))?;
        let mut head = Head { status, at, length: None, closes: false };
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(": ") {
                Some(("content-length", value)) => head.length = value.parse().ok(),
                Some(("connection", value)) => head.closes = value.contains("close"),
                None if line.is_empty() => return Ok(head),
                _ => {}
            }
        }
    }

    /// Adds what comes next of the body; `false`: that was all of it.
    pub fn next(&mut self, head: &mut Head, body: &mut String) -> Result<bool, String> {
        let (size, is_chunk) = match head.length.take() {
            Some(length) => (length, false),
            None => {
                let size = self.line()?;
                (usize::from_str_radix(&size, 16).map_err(|_| format!("not the size of a chunk: {size:?}"))?, true)
            }
        };
        let mut bytes = vec![0; size];
        self.0.read_exact(&mut bytes).map_err(|error| format!("in the body: {error}"))?;
        body.push_str(&String::from_utf8_lossy(&bytes));
        if is_chunk {
            self.line()?;
        }
        Ok(is_chunk && size > 0)
    }

    /// Reads the whole body.
    pub fn body(&mut self, mut head: Head) -> Result<String, String> {
        let mut body = String::new();
        while self.next(&mut head, &mut body)? {}
        Ok(body)
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).map_err(|error| format!("reading: {error}"))?;
        if read == 0 || !line.ends_with('\n') {
            return Err(format!("the connection ended after {line:?}"));
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

/// A POST of JSON.
pub fn post(path: &str, body: &str, closes: bool) -> String {
    let connection = if closes { "close" } else { "keep-alive" };
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A GET, as a page in a browser sends it.
pub fn get(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\nAccept: */*\r\n\
         Accept-Encoding: gzip\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\r\n"
    )
}
