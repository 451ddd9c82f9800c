//! `herdsman.sock`: the watcher's gateway answers passes and `status` of other processes.
//!
//! A thread of its own answers, so a watcher in the middle of a long pass keeps no
//! `reconcile` waiting. One question a connection, one after the other: an answer
//! takes a lock and no time, and a client has [`PATIENCE`] to ask. Who waits for a pass
//! does so on a thread of its own.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::host::gateway::{Answer, Question, Reply, Request};
use crate::model::Timestamp;
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

/// The socket; its file goes with it.
#[derive(Debug)]
pub struct Socket {
    state: StateDir,
    identity: Option<(u64, u64)>,
}

impl Socket {
    /// Answers for `gateway` until the process ends. Call it under the watcher's lock:
    /// what a watcher before left there is replaced.
    ///
    /// # Errors
    /// The socket cannot be made, or the system gives no thread.
    pub fn serve(state: &StateDir, gateway: Gateway) -> io::Result<Self> {
        let listener = state.listen()?;
        let socket = Self { state: state.clone(), identity: state.socket_identity() };
        thread::Builder::new().name("socket".to_owned()).spawn(move || answer_all(&listener, &gateway))?;
        Ok(socket)
    }

    /// Whether its file is still in its place: then other processes find it.
    #[must_use]
    pub fn is_found(&self) -> bool {
        self.identity.is_some() && self.state.socket_identity() == self.identity
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

fn answer_all(listener: &UnixListener, gateway: &Gateway) {
    loop {
        match listener.accept() {
            // Who leaves without a question wanted to know whether it is here.
            Ok((stream, _)) => answer(stream, gateway),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn answer(stream: UnixStream, gateway: &Gateway) {
    match ask(&stream) {
        Ok(Some(Ok(Question::Attend))) => {
            let gateway = gateway.clone();
            let wait = move || drop(reply(&stream, Answer::Attended { in_time: attend(&gateway) }));
            // Without a thread, the connection ends: the process that asked says so.
            drop(thread::Builder::new().name("attend".to_owned()).spawn(wait));
        }
        Ok(Some(Ok(question))) => drop(reply(&stream, answer_to(question, gateway))),
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

fn answer_to(question: Question, gateway: &Gateway) -> Answer {
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
    }
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
