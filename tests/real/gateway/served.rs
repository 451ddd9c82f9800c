//! A world whose watcher serves.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{PortBlock, Watcher, World, post};

/// How long anything may take on a machine that does much else besides.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A watcher that serves, and its port.
pub struct Served {
    /// Before its world, which holds its log: a test that fails shows it.
    pub watcher: Option<Watcher>,
    pub world: World,
    pub port: u16,
    /// Keeps the port from other tests.
    _ports: PortBlock,
}

impl Served {
    /// Starts the watcher.
    pub fn new(world: World) -> Self {
        let herdsman = world.command();
        Self::by(world, herdsman, &[])
    }

    /// Starts the watcher with `herdsman`, as [`World::watch_by`] takes it, and further
    /// arguments.
    pub fn by(world: World, herdsman: Command, more: &[&str]) -> Self {
        let ports = PortBlock::take();
        let port = *ports.range().start();
        let mut served = Self { world, watcher: None, port, _ports: ports };
        served.start_by(herdsman, more);
        served
    }

    /// Starts another watcher, at the same address.
    pub fn start(&mut self) {
        self.start_by(self.world.command(), &[]);
    }

    fn start_by(&mut self, herdsman: Command, more: &[&str]) {
        let address = format!("127.0.0.1:{}", self.port);
        let watcher = self.world.watch_by(herdsman, &[&["--debounce", "50ms", "--listen", &address], more].concat());
        watcher.eventually_says(&format!("serving at http://{address}/v1"));
        self.watcher = Some(watcher);
    }

    pub fn watcher(&mut self) -> &mut Watcher {
        self.watcher.as_mut().unwrap()
    }

    /// What a model says through the gateway, or why it does not.
    pub fn ask(&self, model: &str) -> Result<String, String> {
        ask(self.port, model)
    }

    /// The status of a request with a key.
    pub fn ask_with(&self, model: &str, key: &str) -> u16 {
        let body = json!({"model": model, "prompt": "hi", "n_predict": 1}).to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head =
            "POST /completion HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
        write!(stream, "{head}Authorization: Bearer {key}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap()
    }

    /// The models that run, in order.
    pub fn running(&self) -> Vec<String> {
        self.world.instances().into_iter().map(|(_, model)| model).collect()
    }
}

/// As [`Served::ask`], from another thread.
pub fn ask(port: u16, model: &str) -> Result<String, String> {
    let body = json!({"model": model, "prompt": "hi", "n_predict": 3, "temperature": 0});
    let (status, body) = post(port, "/completion", &body)?;
    match (status, body["content"].as_str()) {
        (200, Some(content)) => Ok(content.to_owned()),
        _ => Err(format!("{status} {}", body["error"]["message"].as_str().unwrap_or("without a message"))),
    }
}

/// A definition of a model that takes some milliseconds for every token.
pub fn slow_toml(world: &World, name: &str) -> String {
    let path = world.path().join(format!("weights/{name}.gguf"));
    crate::support::gguf::TinyGguf::new(format!("{name} ")).zero_layers(1).context(16_384).write(&path).unwrap();
    World::tiny_toml(name).replace("512", "4096") + "[update]\ndrain = \"5m\"\n"
}

/// A streamed request that is being answered.
pub struct Stream(TcpStream);

impl Stream {
    /// Begins one of so many tokens, and returns once the first has arrived.
    pub fn begin(port: u16, model: &str, tokens: u32) -> Self {
        let body = json!({
            "model": model, "prompt": "hi", "n_predict": tokens, "ignore_eos": true, "stream": true
        })
        .to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head =
            "POST /completion HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut seen = Vec::new();
        while !seen.windows(6).any(|window| window == b"data: ") {
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "no event: {}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&buffer[..read]);
        }
        Self(stream)
    }

    /// Reads to the end; how many tokens came, by the last event.
    pub fn end(mut self) -> u64 {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        assert!(rest.ends_with("0\r\n\r\n"), "the stream was cut off: {:?}", &rest[rest.len().saturating_sub(200)..]);
        let last = rest.lines().rev().find_map(|line| line.strip_prefix("data: {")).unwrap_or_default();
        let last: Value = serde_json::from_str(&format!("{{{last}")).unwrap();
        last["tokens_predicted"].as_u64().unwrap_or_default()
    }
}
