//! `herdsman.sock`: the watcher's gateway answers passes and `status` of other processes.
//!
//! A thread of its own answers, so a watcher in the middle of a long pass keeps no
//! `reconcile` waiting. One question a connection, one after the other: an answer
//! takes a lock and no time, and a process that connects has [`PATIENCE`] to ask. One
//! that waits, for a pass or a change, does so on a thread of its own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::gateway::{Answer, Question, Reply, Request};
use crate::model::Timestamp;
use crate::serve::api::board::Board;
use crate::serve::gateway::Gateway;
use crate::state::StateDir;

/// How long one that has connected may take to ask.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a process waits for a pass, and how often is looked whether there was one.
const ATTENDED: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(5);

/// The longest question that is read, bytes: 40 an instance.
const LONGEST: u64 = 4 << 20;

/// How long to wait after a connection that could not be taken: the process may be
/// out of descriptors.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest time that a process waits for a change.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The socket; its file goes with it.
pub struct Socket {
    state: StateDir,
    source: Source,
    identity: Mutex<Option<(u64, u64)>>,
}

/// What the answers come from.
#[derive(Clone)]
pub struct Source {
    /// The gateway.
    pub gateway: Gateway,
    /// What is shown.
    pub board: Board,
    /// Where the page is: URLs, and `unix:/PATH`.
    pub addresses: Arc<[String]>,
}

impl Socket {
    /// Answers from `source` until the process ends. Call it under the watcher's lock:
    /// what a watcher before left there is replaced.
    ///
    /// # Errors
    /// The socket cannot be made, or the system gives no thread.
    pub fn serve(state: &StateDir, source: Source) -> io::Result<Self> {
        let socket = Self { state: state.clone(), source, identity: Mutex::default() };
        socket.listen()?;
        Ok(socket)
    }

    /// Answers again if another process has taken its place and failed.
    ///
    /// # Errors
    /// As of [`Socket::serve`].
    pub fn return_to_place(&self) -> io::Result<()> {
        if self.is_found() { Ok(()) } else { self.listen() }
    }

    fn listen(&self) -> io::Result<()> {
        let (listener, source) = (self.state.listen()?, self.source.clone());
        *self.identity() = self.state.socket_identity();
        thread::Builder::new().name("socket".to_owned()).spawn(move || answer_all(&listener, &source))?;
        Ok(())
    }

    fn identity(&self) -> MutexGuard<'_, Option<(u64, u64)>> {
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its file is still in its place: then other processes find it.
    #[must_use]
    pub fn is_found(&self) -> bool {
        let identity = *self.identity();
        identity.is_some() && self.state.socket_identity() == identity
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.is_found() {
            // Without it nobody listens either.
            let _gone = std::fs::remove_file(self.state.socket());
        }
    }
}

fn answer_all(listener: &UnixListener, source: &Source) {
    loop {
        match listener.accept() {
            // Who leaves without a question wanted to know whether it is here.
            Ok((stream, _)) => answer(stream, source),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn answer(stream: UnixStream, source: &Source) {
    match ask(&stream) {
        Ok(Some(Ok(question @ (Question::Attend | Question::Changed { .. })))) => {
            let source = source.clone();
            let wait = move || drop(reply(&stream, answer_to(question, &source)));
            // Without a thread, the connection ends: the process that asked says so.
            drop(thread::Builder::new().name("waits".to_owned()).spawn(wait));
        }
        Ok(Some(Ok(question))) => drop(reply(&stream, answer_to(question, source))),
        Ok(Some(Err(why))) => drop(reply(&stream, Answer::NotUnderstood { why })),
        Ok(None) | Err(_) => {}
    }
}

/// Returns what a client asks, `None` if nothing.
fn ask(stream: &UnixStream) -> io::Result<Option<Result<Question, String>>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = Vec::new();
    BufReader::new(stream.take(LONGEST)).read_until(b'\n', &mut line)?;
    Ok((!line.is_empty()).then(|| Request::read(&line)))
}

fn answer_to(question: Question, source: &Source) -> Answer {
    let gateway = &source.gateway;
    match question {
        Question::Withdraw { instances } => {
            gateway.withdraw(&instances);
            Answer::Withdrawn
        }
        Question::Readmit { instances } => {
            gateway.readmit(&instances);
            Answer::Readmitted
        }
        Question::InFlight { instances } => {
            let in_flight = instances.into_iter().map(|id| (gateway.in_flight(&id), id));
            Answer::InFlight { requests: in_flight.filter(|(count, _)| *count > 0).map(|(n, id)| (id, n)).collect() }
        }
        Question::Traffic => {
            let now = Timestamp(jiff::Timestamp::now().as_millisecond());
            Answer::Traffic { models: gateway.demand(now).models }
        }
        Question::Attend => Answer::Attended { in_time: attend(gateway) },
        Question::Addresses => Answer::Addresses { addresses: source.addresses.to_vec() },
        Question::Changed { since, within_ms } => {
            let within = Duration::from_millis(within_ms).min(LONGEST_WAIT);
            Answer::Changed { number: changed(&source.board, since, within) }
        }
    }
}

/// Waits until what is shown has another number, and returns it.
fn changed(board: &Board, since: u64, within: Duration) -> u64 {
    let mut shown = board.follow();
    match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => {
            let changed = shown.wait_for(|shown| shown.seq != since);
            let _in_time = runtime.block_on(async { tokio::time::timeout(within, changed).await.is_ok() });
        }
        // No descriptor is left: the process that asked looks as often as it does alone.
        Err(_) => thread::sleep(within),
    }
    board.shown().seq
}

/// Waits until requests go by what a pass found that began after this was asked.
fn attend(gateway: &Gateway) -> bool {
    let asked = Instant::now();
    gateway.ring();
    while gateway.routes().began <= asked {
        if asked.elapsed() > ATTENDED {
            return false;
        }
        thread::sleep(LOOK);
    }
    true
}

fn reply(mut stream: &UnixStream, answer: Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(&Reply::new(answer))?;
    line.push(b'\n');
    stream.write_all(&line)
}
