//! The side that takes: a watcher that was started as a successor.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

use super::{BEGUN, FIRST, HALL, HandoverError, Note, READY, VARIABLE, VERSION};
use crate::serve::gateway::{Gateway, Unfinished};
use crate::serve::server::SocketFile;

/// How long a predecessor may take to let go once this process serves.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the watcher before this one gave.
#[derive(Debug)]
pub struct Inherited {
    /// Its process.
    pub from: u32,
    /// The watcher's lock, held.
    pub watch_lock: Option<File>,
    /// The listening sockets, and what each is for.
    pub listeners: Vec<(String, OwnedFd)>,
    /// The files of those that herdsman made itself.
    pub socket_files: Vec<SocketFile>,
    line: UnixStream,
}

/// Takes what the watcher before this one gave; `None`: this process was started
/// in the ordinary way. Call it once, before anything opens a descriptor.
///
/// # Errors
/// The variable is set, and does not describe a handover.
pub fn inherited() -> Result<Option<Inherited>, HandoverError> {
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(None) };
    let note: Note = serde_json::from_str(&text).map_err(|error| HandoverError::Note(error.to_string()))?;
    if note.version != VERSION {
        return Err(HandoverError::Note(format!("its version is {}, not {VERSION}", note.version)));
    }
    let line = UnixStream::from(take(FIRST)?);
    let watch_lock = File::from(take(FIRST + 1)?);
    let listeners = note.listeners.into_iter().zip(FIRST + 2..);
    let listeners = listeners.map(|(what, number)| Ok((what, take(number)?))).collect::<Result<_, HandoverError>>()?;
    let (from, socket_files) = (note.from, note.socket_files);
    Ok(Some(Inherited { from, watch_lock: Some(watch_lock), listeners, socket_files, line }))
}

/// Takes a descriptor that this process was started with.
fn take(number: RawFd) -> Result<OwnedFd, HandoverError> {
    let missing = |cause: rustix::io::Errno| HandoverError::Note(format!("descriptor {number}: {cause}"));
    // SAFETY: only looked at; a number that is not open is an error of the call.
    let borrowed = unsafe { rustix::fd::BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(borrowed).map_err(missing)?;
    fcntl_setfd(borrowed, flags | FdFlags::CLOEXEC).map_err(missing)?;
    // SAFETY: it is open, and nothing else in this process knows of it: it was
    // given by the predecessor, and this is called once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

impl Inherited {
    /// Takes the listening socket that is for `what`.
    pub fn take_listener(&mut self, what: &str) -> Option<OwnedFd> {
        let at = self.listeners.iter().position(|(is_for, _)| is_for == what)?;
        Some(self.listeners.swap_remove(at).1)
    }

    /// Takes the sockets that earlier watchers send their waiting requests to.
    pub fn take_halls(&mut self) -> Vec<OwnedFd> {
        std::iter::from_fn(|| self.take_listener(HALL)).collect()
    }

    /// Takes the listening sockets of addresses, and leaves those of other purposes.
    pub(super) fn take_addresses(&mut self) -> Vec<(String, OwnedFd)> {
        // An address has a colon: `HOST:PORT` or `unix:/PATH`.
        let (addresses, others) =
            std::mem::take(&mut self.listeners).into_iter().partition(|(what, _)| what.contains(':'));
        self.listeners = others;
        addresses
    }

    /// Says that this process is ready, and waits until it may begin.
    ///
    /// # Errors
    /// The predecessor has ended: nobody gave leave.
    pub fn wait_for_go(mut self) -> Result<Predecessor, HandoverError> {
        let ready = self.line.write_all(&[READY]).map_err(HandoverError::Abandoned);
        let (line, unfinished) = (BufReader::new(self.line), Unfinished::new());
        let mut predecessor = Predecessor { pid: self.from, line, unfinished, gateway: None };
        ready.and_then(|()| predecessor.read().map_err(HandoverError::Abandoned))?;
        Ok(predecessor)
    }
}

/// The watcher before this one, which has let this one begin, and finishes what it has
/// begun itself.
#[derive(Debug)]
pub struct Predecessor {
    /// Its process.
    pub pid: u32,
    line: BufReader<UnixStream>,
    /// What it still answers, as it said last.
    unfinished: Unfinished,
    gateway: Option<Gateway>,
}

impl Predecessor {
    /// Counts what it still answers as in flight at `gateway`, from now on until it has
    /// ended.
    pub fn counts_for(&mut self, gateway: Gateway) {
        gateway.set_unfinished(std::mem::take(&mut self.unfinished));
        self.gateway = Some(gateway);
    }

    /// Says that this process serves, and waits until the predecessor has let go. A
    /// thread of its own listens to it from then on.
    ///
    /// # Errors
    /// The system gives no thread or descriptor. The predecessor goes on.
    pub fn let_go(mut self) -> io::Result<()> {
        let mut line = self.line.get_ref().try_clone()?;
        let (has_spoken, spoken) = mpsc::channel();
        thread::Builder::new().name("predecessor".to_owned()).spawn(move || {
            while self.hear() {
                // Only the first time matters.
                let _ = has_spoken.send(());
            }
        })?;
        // If it has died meanwhile, it has let go, too.
        let _ = line.write_all(&[BEGUN]);
        let _ = spoken.recv_timeout(PATIENCE);
        Ok(())
    }

    /// Hears what it still answers; `false`: nothing more, it has ended.
    fn hear(&mut self) -> bool {
        let is_there = self.read().is_ok();
        let unfinished = if is_there { std::mem::take(&mut self.unfinished) } else { Unfinished::new() };
        self.gateway.iter().for_each(|gateway| gateway.set_unfinished(unfinished.clone()));
        is_there
    }

    fn read(&mut self) -> io::Result<()> {
        let mut line = Vec::new();
        self.line.read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.unfinished = serde_json::from_slice(&line)?;
        Ok(())
    }
}
