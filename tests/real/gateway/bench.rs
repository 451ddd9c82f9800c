//! What these tests stand on: a gateway whose routes the test publishes, clients that
//! write bytes, a real server, and a fake one that reads and writes bytes.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use herdsman::model::{Address, InstanceId, ModelName};
use herdsman::owner::settings::serve::Serve;
use herdsman::serve::app::App;
use herdsman::serve::gateway::naming::Spool;
use herdsman::serve::gateway::record::Finished;
use herdsman::serve::gateway::routes::{About, ApiKey};
use herdsman::serve::gateway::{Backend, Gateway, Route, Routes, Standing};
use herdsman::serve::server::{Serving, Tls, bind, serve};

use crate::support::gguf::TinyGguf;
pub use crate::support::{eventually, free_port, get, llama_server};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway that serves on a port of its own.
pub struct Gate {
    pub gateway: Gateway,
    pub port: u16,
    pub serving: Option<Serving>,
    pub finished: Arc<Mutex<Vec<Finished>>>,
    _spool: tempfile::TempDir,
}

impl Gate {
    pub fn new() -> Self {
        Self::with(Serve::default())
    }

    pub fn with(settings: Serve) -> Self {
        Self::behind(settings, None)
    }

    /// As [`Gate::with`]; with `tls`, clients speak TLS with it.
    pub fn behind(settings: Serve, tls: Option<Tls>) -> Self {
        let spool = tempfile::tempdir().unwrap();
        // What these clients call it.
        let hosts = [settings.hosts, vec!["h".to_owned()]].concat();
        let settings = Serve { hosts, ..settings };
        let gateway = Gateway::new(settings, || {});
        let finished = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&finished);
        let app = App {
            api: None,
            gateway: gateway.clone(),
            observer: Some(Arc::new(move |one: &Finished| seen.lock().unwrap().push(one.clone()))),
            spool: Spool::new(16 << 20, spool.path().to_owned()),
        };
        let listener = bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let port = listener.address().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
        let serving = serve(app, vec![listener], tls).unwrap();
        Self { gateway, port, serving: Some(serving), finished, _spool: spool }
    }

    /// Publishes what these models are.
    pub fn publish(&self, routes: Vec<Route>) {
        self.gateway.publish(Routes::new(Instant::now(), routes));
    }

    /// A gateway to one server.
    pub fn to(port: u16) -> Self {
        let gate = Self::new();
        gate.publish(vec![ready("m", port)]);
        gate
    }

    pub fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_nodelay(true).unwrap();
        client
    }

    /// Sends these bytes, and nothing more; returns all that is answered until the
    /// connection ends.
    pub fn exchange(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.connect();
        client.write_all(request.as_ref()).unwrap();
        text(&mut client)
    }

    /// POSTs JSON; the answer ends the connection.
    pub fn post(&self, path: &str, body: &str) -> String {
        self.exchange(post(path, "Connection: close\r\n", body))
    }
}

/// A POST of JSON, with more headers.
pub fn post(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Reads to the end of the connection, or its reset.
pub fn text(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}; until then: {}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads until `end` is there.
pub fn read_until(client: &mut TcpStream, end: &str) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0; 1];
    while !bytes.ends_with(end.as_bytes()) {
        let read = client.read(&mut byte).unwrap_or(0);
        assert!(read > 0, "no {end:?} in {:?}", String::from_utf8_lossy(&bytes));
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

/// A route to a server on `port`.
pub fn ready(model: &str, port: u16) -> Route {
    let address = Address { host: "127.0.0.1".into(), port: Some(port), ..Address::default() };
    to_backend(model, backend(&format!("{model}-{port}"), address))
}

pub fn backend(instance: &str, address: Address) -> Backend {
    Backend { instance: InstanceId(instance.to_owned()), generation: 1, address, max_in_flight: None, api_key: None }
}

pub fn to_backend(model: &str, backend: Backend) -> Route {
    route(model, Standing::Ready(Arc::new(backend)))
}

pub fn with_key(mut backend: Backend, key: &str) -> Backend {
    backend.api_key = Some(ApiKey(key.to_owned()));
    backend
}

pub fn route(model: &str, standing: Standing) -> Route {
    let model = ModelName::parse(model).unwrap();
    Route { model, aliases: Vec::new(), listed: true, on_demand: false, standing, about: About::default() }
}

/// A real llama-server with a tiny model.
pub struct Server {
    pub port: u16,
    child: Child,
    _weights: tempfile::TempDir,
}

impl Server {
    pub fn start(weights: &TinyGguf, options: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tiny.gguf");
        weights.write(&path).unwrap();
        let port = free_port();
        let mut command = Command::new(llama_server());
        command.arg("-m").arg(&path).args(["--port", &port.to_string(), "--host", "127.0.0.1"]).args(options);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Self { port, child, _weights: directory };
        if !options.contains(&"--ssl-key-file") {
            let prefix = options.windows(2).find(|pair| pair[0] == "--api-prefix").map_or("", |pair| pair[1]);
            let health = format!("{prefix}/health");
            eventually("the server is ready", PATIENCE, || get(port, &health).is_ok_and(|(status, _)| status == 200));
        }
        server
    }

    pub fn tiny() -> Self {
        Self::start(&TinyGguf::new("hello "), &[])
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server that hands each connection to the test.
pub struct Fake {
    pub port: u16,
    connections: Receiver<TcpStream>,
}

impl Fake {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, connections) = channel();
        // Ends with the first connection after the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                if sender.send(stream).is_err() {
                    break;
                }
            }
        });
        Self { port, connections }
    }

    /// Returns the next connection.
    pub fn accept(&self) -> TcpStream {
        self.connections.recv_timeout(PATIENCE).expect("a connection")
    }

    /// Returns the next connection, if it comes soon.
    pub fn accept_within(&self, time: Duration) -> Option<TcpStream> {
        self.connections.recv_timeout(time).ok()
    }

    /// Whether no further connection comes.
    pub fn is_left_alone(&self) -> bool {
        self.connections.recv_timeout(Duration::from_millis(200)).is_err()
    }

    /// Returns the next connection, once a request's head was read from it.
    pub fn request(&self) -> (TcpStream, String) {
        let mut stream = self.accept();
        let head = read_until(&mut stream, "\r\n\r\n");
        (stream, head)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        // Wakes the thread, so that it ends.
        while self.connections.try_recv().is_ok() {}
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// How long it takes until the other side closes the connection.
pub fn closed_within(stream: &mut TcpStream) -> Duration {
    let since = Instant::now();
    let mut buffer = [0; 1 << 10];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
    since.elapsed()
}
