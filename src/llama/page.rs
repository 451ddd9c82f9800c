//! llama.cpp's own web page: static files inside llama-server.
//!
//! A llama-server without a model listens after 12 ms, takes 24 MB, and sends its
//! page. So the files come from one that runs for as long as a [`PageServer`] is
//! kept, whether any model runs or not. It listens on a unix socket in a directory
//! that is private to us: no port, and nobody else reaches it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::inherited::environment;
use crate::sys::descriptors;
use crate::sys::text::printable;

/// How long the server may take until it answers, and for each answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often to try whether it answers.
const POLL: Duration = Duration::from_millis(2);

/// The largest answer that is read, bytes: the largest file of b10434 has 2.6 MB.
const LARGEST: u64 = 64 << 20;

const SOCKET: &str = "page.sock";
const LOG: &str = "page.log";

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The server does not start.
    #[error("cannot start {} for its web page: {cause}", path.display())]
    Start {
        /// The llama-server.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// It exited, or does not answer in time.
    #[error("{} did not serve its web page: {last}", path.display())]
    Silent {
        /// The llama-server.
        path: PathBuf,
        /// The last line it wrote, or how long it had time.
        last: String,
    },
}

/// A llama-server without a model, which ends when this is dropped.
#[derive(Debug)]
pub struct PageServer {
    dir: PathBuf,
    /// Closed when this is dropped.
    _end: Sender<()>,
}

impl PageServer {
    /// Starts the llama-server at `path` and waits until it answers. `dir` is for
    /// page servers only, and made if it is missing: a later one there takes the place
    /// of the one before.
    ///
    /// # Errors
    /// It does not start, or does not answer.
    pub fn start(path: &Path, dir: &Path) -> Result<Self, PageError> {
        let start = |cause| PageError::Start { path: path.to_owned(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(start)?;
        let (end, ended) = channel();
        let (ready, is_ready) = sync_channel(1);
        let server = Server { path: path.to_owned(), dir: dir.to_owned() };
        // The kernel kills the server when the thread that started it ends, however
        // that comes.
        thread::Builder::new().name("page".to_owned()).spawn(move || server.run(&ready, &ended)).map_err(start)?;
        is_ready.recv().map_err(|_| start(io::ErrorKind::BrokenPipe.into()))??;
        Ok(Self { dir: dir.to_owned(), _end: end })
    }

    /// Asks for a file by its path (`/favicon.svg`): returns the whole answer, as it
    /// was sent.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn get(&self, path: &str) -> io::Result<Vec<u8>> {
        get(&self.dir, path)
    }
}

fn get(dir: &Path, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = connect(dir)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Whether the server in `dir` answers as it will from then on: before that, it says of
/// every path but those of the page that a model is loading.
fn is_ready(dir: &Path) -> bool {
    get(dir, "/health").is_ok_and(|answer| !answer.is_empty() && !answer.starts_with(b"HTTP/1.1 503"))
}

/// Connects to the socket in `dir`, however long its path is: an address holds 107
/// bytes.
fn connect(dir: &Path) -> io::Result<UnixStream> {
    let dir = openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
}

/// The thread's side.
struct Server {
    path: PathBuf,
    dir: PathBuf,
}

impl Server {
    fn run(&self, ready: &SyncSender<Result<(), PageError>>, ended: &Receiver<()>) {
        // Of the server before.
        let _gone = fs::remove_file(self.dir.join(SOCKET));
        let mut child = match self.spawn() {
            Ok(child) => child,
            Err(cause) => {
                let _gone = ready.send(Err(PageError::Start { path: self.path.clone(), cause }));
                return;
            }
        };
        let listens = self.wait_until_it_answers(&mut child);
        let is_listening = listens.is_ok();
        if ready.send(listens).is_ok() && is_listening {
            let _closed = ended.recv();
        }
        // Already gone, if these fail.
        let _killed = child.kill();
        let _reaped = child.wait();
        // The socket stays: a later server may have put its own there by now.
    }

    fn spawn(&self) -> io::Result<Child> {
        let log = File::create(self.dir.join(LOG))?;
        let mut command = Command::new(&self.path);
        // Relative, so that it fits into a socket's address.
        command.args(["--host", SOCKET, "--offline"]).current_dir(&self.dir);
        command.env_clear().envs(environment());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C is for the watcher, which ends it.
        command.process_group(0);
        // SAFETY: prctl(2) is all the closure calls, and it is async-signal-safe.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        descriptors::restore_in(&mut command);
        command.spawn()
    }

    fn wait_until_it_answers(&self, child: &mut Child) -> Result<(), PageError> {
        let begun = Instant::now();
        while !is_ready(&self.dir) {
            if child.try_wait().is_ok_and(|exited| exited.is_some()) {
                return Err(self.silent(self.last_line()));
            }
            if begun.elapsed() > PATIENCE {
                return Err(self.silent(format!("it did not answer within {} s", PATIENCE.as_secs())));
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    fn silent(&self, last: String) -> PageError {
        PageError::Silent { path: self.path.clone(), last }
    }

    fn last_line(&self) -> String {
        let log = fs::read(self.dir.join(LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        printable(last.unwrap_or("it exited without a word"))
    }
}
