//! Waits between passes until another look is worth it.

use std::time::{Duration, Instant};

use super::endpoint::{Endpoint, Target};
use super::observe::endpoint;
use super::pidfd::Pidfd;
use super::socket::{Listening, sockets_of};
use super::{Host, HostError};
use crate::model::{Health, Instance};

/// The first pause between two questions: a tiny model is ready in 31 ms.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// The longest one.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

impl Host {
    /// Blocks until something about the watched instances may have changed
    /// (one exits, or answers otherwise than when it was seen) and says `true`,
    /// or until the time is over and says `false`. An exit is noticed at once,
    /// an answer after 5 ms at first and 200 ms later on.
    ///
    /// A machine that cannot be looked at counts as a change: the next pass
    /// reports it.
    pub fn wait_for_change(&mut self, watched: &[Instance], timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        let (mut processes, mut asked) = (Vec::new(), Vec::new());
        for instance in watched {
            let pid = instance.process.pid;
            match (Pidfd::open(pid, instance.process.start_ticks), endpoint(pid)) {
                (Ok(Some(pidfd)), Ok(endpoint)) => {
                    processes.push(pidfd);
                    asked.push(Asked { pid, endpoint, target: None });
                }
                _ => return true,
            }
        }
        let processes: Vec<&Pidfd> = processes.iter().collect();
        let mut pause = FIRST_PAUSE;
        loop {
            let left = deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
            match Pidfd::wait_any(&processes, pause.min(left)) {
                Ok(gone) if !gone.contains(&true) => {}
                Ok(_) | Err(_) => return true,
            }
            if left.is_zero() {
                return false;
            }
            match self.answers(&mut asked) {
                Ok(answers) if !differ(watched, &answers) => {}
                Ok(_) | Err(_) => return true,
            }
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    /// What each answers now. The kernel's list of sockets is read only for
    /// those that hold a socket and were not found in it yet.
    fn answers(&mut self, asked: &mut [Asked]) -> Result<Vec<Health>, HostError> {
        let mut sought: Vec<&mut Asked> =
            asked.iter_mut().filter(|one| one.target.is_none() && !sockets_of(one.pid).is_empty()).collect();
        if !sought.is_empty() {
            let listening =
                Listening::read_for(sought.iter().map(|one| &one.endpoint)).map_err(HostError::reading("/proc/net"))?;
            sought.iter_mut().for_each(|one| one.target = one.endpoint.target(one.pid, &listening));
        }
        let targets = asked.iter().map(|one| one.target.clone()).collect();
        self.ask(targets, Health::NotListening, |http, targets| http.health(targets))
    }
}

/// Why a server gives no answer may be worded otherwise each time.
fn differ(watched: &[Instance], answers: &[Health]) -> bool {
    let kind = std::mem::discriminant::<Health>;
    watched.iter().zip(answers).any(|(instance, answer)| kind(&instance.health) != kind(answer))
}

/// One that is asked again and again.
struct Asked {
    pid: i32,
    endpoint: Endpoint,
    /// Once it owns its socket, it does so until it ends.
    target: Option<Target>,
}
