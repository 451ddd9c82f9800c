//! A llama-server that reports when it is executed.
//!
//! herdsman itself is unchanged: it runs a llama-server that is this very program,
//! which sends the time and its pid through a socket and then executes the real
//! one in its place, with the same arguments and environment. It reads the time at
//! the beginning of `main`, so the stamp is late by the time that the program takes
//! to load; [`Stamps::loading`] measures that together with the fork.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::clock::monotonic;
use crate::support::{World, llama_server};

/// The name by which the program knows that it is to be a llama-server.
const NAME: &str = "llama-server";
/// Beside it: a link to the real one, and the socket.
const REAL: &str = "real";
const SOCKET: &str = "stamps";

/// An execution.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// When, as [`monotonic`] tells.
    pub at: Duration,
    /// Of what.
    pub pid: i32,
    /// Whether it was one with `--version` or `--help`, and serves nothing.
    pub dry_run: bool,
}

/// Receives the times.
pub struct Stamps {
    socket: UnixDatagram,
    dir: PathBuf,
}

/// Becomes a llama-server if this process was executed as one; to be called
/// first in `main`.
pub fn serve_if_asked() {
    let now = monotonic();
    let mut arguments = std::env::args_os();
    let own = PathBuf::from(arguments.next().expect("argv[0]"));
    let (Some(dir), true) = (own.parent(), own.file_name().is_some_and(|name| name == NAME)) else { return };
    let arguments: Vec<_> = arguments.collect();
    let dry_run = arguments.last().is_some_and(|last| matches!(last.as_bytes(), b"--version" | b"--help"));
    let stamp = format!("{} {} {dry_run}", now.as_nanos(), std::process::id());
    // A benchmark that has ended needs no time.
    let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(stamp.as_bytes(), dir.join(SOCKET)));
    // By its own path, beside its libraries.
    let real = fs::read_link(dir.join(REAL)).expect("the link to the real llama-server");
    let error = Command::new(real).args(arguments).exec();
    panic!("cannot execute the real llama-server: {error}");
}

impl Stamps {
    /// Puts the program into `world`.
    pub fn new(world: &World) -> Self {
        let dir = world.path().join("bin");
        fs::create_dir(&dir).expect("bin");
        let real = llama_server().canonicalize().expect("the real llama-server");
        fs::copy(std::env::current_exe().expect("/proc/self/exe"), dir.join(NAME)).expect("copy");
        std::os::unix::fs::symlink(&real, dir.join(REAL)).expect("symlink");
        link_libraries(&real, &dir);
        let socket = UnixDatagram::bind(dir.join(SOCKET)).expect("socket");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
        Self { socket, dir }
    }

    /// The path to give to herdsman.
    pub fn llama_server(&self) -> String {
        self.dir.join(NAME).to_str().expect("a path in UTF-8").to_owned()
    }

    /// Waits for the next execution.
    ///
    /// # Panics
    /// There is none for a minute.
    pub fn next(&self) -> Stamp {
        let mut buffer = [0; 100];
        let length = self.socket.recv(&mut buffer).expect("llama-server was not executed");
        let text = std::str::from_utf8(&buffer[..length]).expect("a stamp");
        let fields: Vec<&str> = text.split(' ').collect();
        let nanoseconds = fields[0].parse().expect("a time");
        Stamp {
            at: Duration::from_nanos(nanoseconds),
            pid: fields[1].parse().expect("a pid"),
            dry_run: fields[2] == "true",
        }
    }

    /// Forgets the executions so far.
    pub fn clear(&self) {
        self.socket.set_nonblocking(true).expect("socket");
        while self.socket.recv(&mut [0; 100]).is_ok() {}
        self.socket.set_nonblocking(false).expect("socket");
    }

    /// How long it takes from before the fork to the stamp, with nothing
    /// around it: what any program that starts a server would need.
    pub fn loading(&self) -> Duration {
        let mut command = Command::new(self.dir.join(NAME));
        command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A fork, as herdsman's own, not a vfork.
        // SAFETY: setsid(2) is async-signal-safe, and nothing is allocated.
        unsafe { command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?)) };
        self.clear();
        let before = monotonic();
        let mut child = command.spawn().expect("spawn");
        let stamp = self.next();
        assert!(child.wait().expect("wait").success(), "--version");
        stamp.at - before
    }
}

/// herdsman looks at the libraries beside a llama-server to know it again: here
/// at as many as usual.
fn link_libraries(real: &Path, dir: &Path) {
    for entry in fs::read_dir(real.parent().expect("a directory")).expect("a directory").map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("lib") {
            std::os::unix::fs::symlink(entry.path(), dir.join(entry.file_name())).expect("symlink");
        }
    }
}
