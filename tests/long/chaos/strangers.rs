//! Processes that are none of herdsman's business, however much they look like
//! it, and those that sit on its models' ports.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::eye::{Eye, Id};
use super::namespace::next_pid_is;
use crate::support::{Background, Process, World, eventually, free_port, get, llama_server};

/// A process that must stay as it is.
pub struct Stranger {
    process: Background,
    id: Id,
}

impl Stranger {
    /// A llama-server that somebody started by hand, in a session of its own,
    /// on a port out of those that herdsman allots.
    pub fn by_hand(world: &World, eye: &Eye) -> Self {
        let weights = world.weights("by-hand", "by-hand ");
        let port = *world.ports().range().end();
        let mut command = Command::new("setsid");
        command.arg(llama_server()).arg("--model").arg(weights).args(["--port", &port.to_string()]);
        command.args(["--ctx-size", "256", "--threads", "1"]).env_clear().env("OMP_WAIT_POLICY", "passive");
        Self::start(command, port, eye, "the llama-server started by hand")
    }

    /// A llama-server with the command line, but for the port, and the
    /// environment of `instance`; only it does not lead a session.
    pub fn double_of(instance: &Process, eye: &Eye) -> Self {
        let (program, arguments) = instance.arguments.split_first().unwrap();
        let mut command = Command::new(program);
        let mut is_port = false;
        let port = free_port();
        for argument in arguments {
            if is_port {
                command.arg(port.to_string())
            } else {
                command.arg(argument)
            };
            is_port = argument == "--port";
        }
        command.env_clear().envs(instance.environment.iter().filter_map(|entry| entry.split_once('=')));
        Self::start(command, port, eye, "a process with the environment of an instance")
    }

    /// A process with the pid and the environment of a server that is gone;
    /// `None` if somebody else was faster to get that pid.
    pub fn heir_of(server: &Process, eye: &Eye) -> Option<Self> {
        let mut command = Command::new("sleep");
        command.arg("infinity").env_clear();
        command.envs(server.environment.iter().filter_map(|entry| entry.split_once('=')));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        next_pid_is(server.pid);
        let mut process = Background::from(command.spawn().unwrap());
        let heir = Process::read(i32::try_from(process.child().id()).unwrap())?;
        (heir.pid == server.pid)
            .then(|| Self::guarded(process, Id::from(&heir), eye, "a process with the pid of a former server"))
    }

    fn start(mut command: Command, port: u16, eye: &Eye, what: &str) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        let mut process = Background::from(command.spawn().unwrap());
        eventually("a stranger serves", Duration::from_secs(60), || {
            get(port, "/health").is_ok_and(|(code, _)| code == 200)
        });
        let pid = i32::try_from(process.child().id()).unwrap();
        let id = Id::from(&Process::read(pid).unwrap());
        Self::guarded(process, id, eye, what)
    }

    fn guarded(process: Background, id: Id, eye: &Eye, what: &str) -> Self {
        eye.guard(id, what);
        Self { process, id }
    }

    pub const fn id(&self) -> Id {
        self.id
    }

    /// Ends it; the eye learns of it before.
    pub fn end(self, eye: &Eye) {
        eye.let_go(self.id);
        drop(self.process);
    }
}

/// Somebody else who listens on the port of a model and says 200 to whatever
/// is asked. Dropping it gives the port back.
pub struct Thief {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Thief {
    /// Takes `port` as soon as it is free, unless that takes longer than
    /// `patience`.
    pub fn take(port: u16, patience: Duration) -> Option<Self> {
        let begun = Instant::now();
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", port)) {
                Ok(listener) => break listener,
                Err(_) if begun.elapsed() < patience => std::thread::yield_now(),
                Err(_) => return None,
            }
        };
        listener.set_nonblocking(true).unwrap();
        let done = Arc::<AtomicBool>::default();
        let ends = Arc::clone(&done);
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                answer(&listener);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Some(Self { done, thread: Some(thread) })
    }
}

/// Who asks may leave in the middle of it.
fn answer(listener: &TcpListener) {
    let Ok((mut stream, _)) = listener.accept() else { return };
    let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
    let _ = stream.read(&mut [0; 1024]);
    let body = r#"{"status":"ok"}"#;
    let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
}

impl Drop for Thief {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A second panic while unwinding would hide the first.
            let _ = thread.join();
        }
    }
}
