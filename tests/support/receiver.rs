//! Somebody who gets notifications: a web server on 127.0.0.1 that keeps what it gets.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::eventually;

/// What it got.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST /hook HTTP/1.1`.
    pub line: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as JSON.
    pub body: Value,
}

impl Request {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct Kept {
    requests: Vec<Request>,
    /// What it answers next; afterwards 200. 0: nothing, and it holds on.
    answers: VecDeque<u16>,
    held: Vec<TcpStream>,
}

/// The web server; its thread ends with the test program.
pub struct Receiver {
    port: u16,
    kept: Arc<Mutex<Kept>>,
}

impl Receiver {
    /// One that answers so, and 200 afterwards. 0 is no answer at all.
    pub fn answering(answers: &[u16]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = Arc::new(Mutex::new(Kept { answers: answers.iter().copied().collect(), ..Kept::default() }));
        let shared = Arc::clone(&kept);
        thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that goes away in the middle is none.
                let _ = receive(stream.unwrap(), &shared);
            }
        });
        Self { port, kept }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook/s3cret", self.port)
    }

    /// What it got so far.
    pub fn requests(&self) -> Vec<Request> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).requests.clone()
    }

    /// The events of the bodies it got.
    pub fn events(&self) -> Vec<String> {
        self.requests().iter().map(|request| request.body["event"].as_str().unwrap_or("?").to_owned()).collect()
    }

    /// Waits until it got so many; the last of them.
    #[track_caller]
    pub fn eventually_got(&self, count: usize) -> Request {
        eventually("the receiver hears", Duration::from_secs(30), || self.requests().len() >= count);
        self.requests()[count - 1].clone()
    }
}

fn receive(stream: TcpStream, kept: &Mutex<Kept>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let headers: Vec<(String, String)> = lines
        .iter()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let request = Request {
        line: lines.first().cloned().unwrap_or_default(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    let mut stream = reader.into_inner();
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.requests.push(request);
    match kept.answers.pop_front().unwrap_or(200) {
        0 => kept.held.push(stream),
        status => write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?,
    }
    Ok(())
}
