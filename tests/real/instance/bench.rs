//! What the tests stand on: a state id of its own for each, whose instances
//! die with it.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use herdsman::instance::{Host, StopError, newest_log};
use herdsman::model::{
    Health, Instance, InstanceId, InstanceRecord, InstanceState, Launch, ModelName, Observed, ProcessId, Progress,
    SpecHash, StopTarget, Timestamp, log_path,
};
use rustix::process::{Pid, Signal};

use crate::support::gguf::TinyGguf;
pub use crate::support::{free_port, llama_server};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Each launch gets a time, and so a log, of its own.
static STARTS: AtomicI64 = AtomicI64::new(0);

/// A directory, a host, and the instances started by it.
pub struct Bench {
    pub directory: tempfile::TempDir,
    pub host: Host,
    pub started: Vec<StopTarget>,
    pub records: Vec<InstanceRecord>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.started.iter_mut().for_each(|target| target.force = true);
        self.host.stop(&self.started);
    }
}

impl Bench {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let host = Host::new(directory.path().to_str().unwrap()).unwrap();
        Self { directory, host, started: Vec::new(), records: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn logs(&self) -> PathBuf {
        self.path("logs")
    }

    pub fn launch(&self, model: &str, binary: impl Into<PathBuf>, args: &[&str]) -> Launch {
        let (id, model_name) = (InstanceId(format!("id-of-{model}")), ModelName::parse(model).unwrap());
        Launch {
            log: log_path(&self.logs(), &model_name, &id, Timestamp(STARTS.fetch_add(1, Ordering::Relaxed))),
            id,
            model: model_name,
            spec: SpecHash("v1:0123".to_owned()),
            definition: self.path(&format!("{model}.toml")).to_str().unwrap().to_owned(),
            binary: binary.into(),
            args: args.iter().map(|&word| word.to_owned()).collect(),
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            download: None,
            socket: None,
        }
    }

    /// Something that lives and does nothing.
    pub fn sleeper(&self, model: &str) -> Launch {
        self.launch(model, "/bin/sleep", &["1000"])
    }

    /// A llama-server that says its own name.
    pub fn llama(&self, model: &str, args: &[&str]) -> Launch {
        let weights = self.path(&format!("{model}.gguf"));
        TinyGguf::new(format!("{model} ")).write(&weights).unwrap();
        let mut words = vec!["--model", weights.to_str().unwrap()];
        words.extend(args);
        self.launch(model, llama_server(), &words)
    }

    /// Starts it, as the tests of `spawn` itself do too.
    pub fn spawn(&mut self, launch: &Launch) -> ProcessId {
        let process = self.host.spawn(launch).unwrap();
        self.started.push(StopTarget {
            handle: process.clone().into(),
            id: launch.id.clone(),
            model: launch.model.clone(),
            force: false,
            socket: launch.socket.clone(),
        });
        self.records.push(record(launch, process.clone()));
        process
    }

    pub fn observe(&mut self) -> Observed {
        let logs = self.logs();
        self.host.observe(&self.records, &logs).unwrap()
    }

    /// Looks, and waits for changes between looks, until `wanted`.
    pub fn until(&mut self, what: &str, wanted: impl Fn(&Observed) -> bool) -> Observed {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let observed = self.observe();
            if wanted(&observed) {
                return observed;
            }
            assert!(Instant::now() < deadline, "not {what}: {observed:#?}");
            self.host.wait_for_change(&observed.instances, Duration::from_millis(200));
        }
    }

    /// Waits until the only instance is ready.
    pub fn until_ready(&mut self) -> Instance {
        let ready = |seen: &Observed| matches!(&seen.instances[..], [one] if one.health == Health::Ready);
        self.until("ready", ready).instances.remove(0)
    }

    pub fn stop(&mut self) -> Vec<Result<(), StopError>> {
        self.host.stop(&self.started)
    }

    pub fn log(&self, model: &str) -> String {
        let log = newest_log(&self.logs(), &ModelName::parse(model).unwrap()).unwrap();
        String::from_utf8_lossy(&std::fs::read(log).unwrap()).into_owned()
    }
}

/// The record of a start.
pub fn record(launch: &Launch, process: ProcessId) -> InstanceRecord {
    InstanceRecord {
        id: launch.id.clone(),
        model: launch.model.clone(),
        generation: 1,
        spec: launch.spec.clone(),
        host: "127.0.0.1".to_owned(),
        port: None,
        state: InstanceState::Loading,
        handle: Some(process.into()),
        started_at: Timestamp(0),
        progress: (Progress(0), Timestamp(0)),
        ready: None,
        unanswered_since: None,
        log_offset: 0,
        binary: None,
    }
}

/// Signals a process that the test started and has not stopped yet.
pub fn signal(process: &ProcessId, signal: Signal) {
    rustix::process::kill_process(Pid::from_raw(process.pid).unwrap(), signal).unwrap();
}

/// Whether the pid is there and no zombie, by a second opinion.
pub fn is_alive(process: &ProcessId) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Asks again until it is so.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "never {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Somebody else's server, which answers 200 to everything, `/health` included.
pub struct Impostor(Child);

impl Impostor {
    pub fn on(port: u16) -> Self {
        const PROGRAM: &str = "
import http.server, sys
class Yes(http.server.BaseHTTPRequestHandler):
    def do_GET(self): self.send_response(200); self.end_headers()
    def log_message(self, *args): pass
http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), Yes).serve_forever()";
        let mut command = Command::new("python3");
        let child = command.args(["-c", PROGRAM, &port.to_string()]).stdin(Stdio::null()).spawn().unwrap();
        eventually("listening", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self(child)
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}
