//! The gateway of the watcher beside this process.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::sockopt::socket_peercred;

use super::{Answer, Gateway, GatewayError, Problem, Question, Reply, Request};
use crate::model::{Demand, InstanceId, ModelName, Timestamp, Traffic};
use crate::state::StateDir;

/// How long the watcher may take to answer: all it does for that is take a lock.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a question is asked whose connection ends without an answer: the
/// watcher may be ending, or another may begin.
const TRIES: u32 = 3;

/// The longest answer that is read, bytes.
const LONGEST: u64 = 16 << 20;

/// The gateway that listens in a state directory, if one does.
#[derive(Clone, Debug)]
pub(in crate::host) struct Beside {
    state: StateDir,
    patience: Duration,
}

impl Beside {
    /// The gateway of this state directory.
    pub fn new(state: StateDir) -> Self {
        Self { state, patience: PATIENCE }
    }

    /// Waits so long for an answer.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// What clients ask of each model; `None`: no gateway serves.
    pub fn traffic(&self) -> Result<Option<BTreeMap<ModelName, Traffic>>, GatewayError> {
        match self.ask(&Question::Traffic)? {
            None => Ok(None),
            Some(Answer::Traffic { models }) => Ok(Some(models)),
            Some(_) => Err(self.unexpected()),
        }
    }

    /// Whether requests go by what is so now; `None`: no gateway serves.
    pub fn attend(&self) -> Result<Option<bool>, GatewayError> {
        match self.ask(&Question::Attend)? {
            None => Ok(None),
            Some(Answer::Attended { in_time }) => Ok(Some(in_time)),
            Some(_) => Err(self.unexpected()),
        }
    }

    /// Where the page is; `None`: no gateway serves.
    pub fn addresses(&self) -> Result<Option<Vec<String>>, GatewayError> {
        match self.ask(&Question::Addresses)? {
            None => Ok(None),
            Some(Answer::Addresses { addresses }) => Ok(Some(addresses)),
            Some(_) => Err(self.unexpected()),
        }
    }

    /// The number of what is shown, once it is not `since` or after `within`; `None`: no
    /// gateway serves.
    pub fn changed(&self, since: u64, within: Duration) -> Result<Option<u64>, GatewayError> {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let patient = self.clone().with_patience(self.patience + within);
        match patient.ask(&Question::Changed { since, within_ms })? {
            None => Ok(None),
            Some(Answer::Changed { number }) => Ok(Some(number)),
            Some(_) => Err(self.unexpected()),
        }
    }

    /// Asks; `None`: no gateway serves.
    fn ask(&self, question: &Question) -> Result<Option<Answer>, GatewayError> {
        for _ in 1..TRIES {
            match self.try_to_ask(question) {
                // It ended meanwhile; the next connection says whether one is there.
                Err(GatewayError(Problem::Unusable { cause, .. }))
                    if matches!(
                        cause.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                    ) => {}
                asked => return asked,
            }
        }
        self.try_to_ask(question)
    }

    fn try_to_ask(&self, question: &Question) -> Result<Option<Answer>, GatewayError> {
        let connected = self.state.connect().map_err(|cause| self.failed(None, cause))?;
        let Some(stream) = connected else { return Ok(None) };
        let line = exchange(&stream, question, self.patience).map_err(|cause| self.failed(Some(&stream), cause))?;
        match Reply::read(&line) {
            Ok(Answer::NotUnderstood { why }) | Err(why) => {
                Err(Problem::Foreign { socket: self.state.socket(), why }.into())
            }
            Ok(answer) => Ok(Some(answer)),
        }
    }

    fn failed(&self, stream: Option<&UnixStream>, cause: io::Error) -> GatewayError {
        let socket = self.state.socket();
        // A full backlog is one that nobody takes connections from.
        if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) {
            let pid = stream.and_then(|stream| socket_peercred(stream).ok());
            let pid = pid.map(|credentials| credentials.pid.as_raw_nonzero().get());
            Problem::Silent { pid, socket, waited: self.patience }.into()
        } else {
            Problem::Unusable { socket, cause }.into()
        }
    }

    fn unexpected(&self) -> GatewayError {
        Problem::Foreign { socket: self.state.socket(), why: "it answered another question".to_owned() }.into()
    }
}

fn exchange(stream: &UnixStream, question: &Question, patience: Duration) -> io::Result<Vec<u8>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut line = serde_json::to_vec(&Request::new(question.clone()))?;
    line.push(b'\n');
    (&*stream).write_all(&line)?;
    let mut answer = Vec::new();
    BufReader::new(stream.take(LONGEST)).read_until(b'\n', &mut answer)?;
    if answer.ends_with(b"\n") { Ok(answer) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

impl Gateway for Beside {
    fn serves(&self) -> bool {
        // One that cannot be reached may serve all the same: then nothing is stopped.
        !matches!(self.state.connect(), Ok(None))
    }

    fn demand(&self, _now: Timestamp) -> Option<Demand> {
        None
    }

    fn withdraw(&self, instances: &[InstanceId]) -> Result<(), GatewayError> {
        match self.ask(&Question::Withdraw { instances: instances.to_vec() })? {
            None | Some(Answer::Withdrawn) => Ok(()),
            Some(_) => Err(self.unexpected()),
        }
    }

    fn readmit(&self, instances: &[InstanceId]) -> Result<(), GatewayError> {
        match self.ask(&Question::Readmit { instances: instances.to_vec() })? {
            None | Some(Answer::Readmitted) => Ok(()),
            Some(_) => Err(self.unexpected()),
        }
    }

    fn in_flight(&self, instances: &[InstanceId]) -> Result<BTreeMap<InstanceId, u32>, GatewayError> {
        match self.ask(&Question::InFlight { instances: instances.to_vec() })? {
            None => Ok(BTreeMap::new()),
            Some(Answer::InFlight { requests }) => Ok(requests),
            Some(_) => Err(self.unexpected()),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::time::Instant;

    use super::*;

    fn beside() -> (tempfile::TempDir, Beside) {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path().to_owned());
        (dir, Beside { state, patience: Duration::from_millis(100) })
    }

    #[test]
    fn where_nobody_listens_there_is_no_gateway_and_nothing_to_wait_for() {
        let (_dir, beside) = beside();
        assert!(!beside.serves());
        assert!(beside.withdraw(&[]).is_ok());
        drop(beside.state.listen().unwrap());
        assert!(beside.state.socket().exists(), "as a killed watcher leaves it");
        assert!(!beside.serves());
        assert_eq!(beside.in_flight(&[InstanceId("a".to_owned())]).unwrap(), BTreeMap::new());
    }

    #[test]
    fn one_that_does_not_answer_is_an_error_that_names_it_and_comes_in_time() {
        let (_dir, beside) = beside();
        let _listener = beside.state.listen().unwrap();
        let begun = Instant::now();
        assert!(beside.serves());
        let error = beside.withdraw(&[]).unwrap_err().to_string();
        assert!(begun.elapsed() < Duration::from_secs(2));
        let named = format!("pid {}", std::process::id());
        assert!(error.contains(&named) && error.contains("herdsman.sock") && error.contains("0.1 s"), "{error}");
    }

    #[test]
    fn one_whose_backlog_is_full_is_an_error_too() {
        let (_dir, beside) = beside();
        let _listener = beside.state.listen().unwrap();
        let mut waiting = Vec::new();
        while let Ok(Some(stream)) = beside.state.connect() {
            waiting.push(stream);
        }
        assert!(beside.serves());
        assert!(matches!(beside.withdraw(&[]), Err(GatewayError(Problem::Silent { pid: None, .. }))));
    }

    #[test]
    fn one_that_ends_without_an_answer_is_asked_again() {
        let (_dir, beside) = beside();
        let listener = beside.state.listen().unwrap();
        let ending = std::thread::spawn(move || drop((listener.accept(), listener)));
        assert!(beside.withdraw(&[]).is_ok(), "by then nobody listens");
        ending.join().unwrap();
    }
}
