//! When to ask a draining server for its slots.
//!
//! A server that answers `/slots` more often than once a second does not notice that
//! the client of a plain request has left, and works on for nobody: each answer
//! restarts the second after which it checks its client. So herdsman asks
//! - at once, the first time;
//! - at once, when it has closed a connection that it held when it was asked:
//!   a request may be over, whether it was answered or its client left. The
//!   slot is free a little later, so it is asked again soon, then ever later;
//! - at once, when the last request that a gateway has sent to it is over, and again
//!   as above;
//! - not at all while a gateway has requests in flight there: that is answer enough;
//! - else every [`Busy::ASKED_EVERY`].
//!
//! In between, the last answer stands. Every other herdsman of the state directory
//! shares it through a file, because the server cannot distinguish them. A pass
//! holds its lock, so there is one writer. The file is a cache: without it each
//! herdsman follows the rule on its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Host;
use super::socket::sockets_of;
use crate::model::{Busy, Instance, InstanceId, ProcessId, Timestamp};
use crate::sys::failpoint::{Point, reach};
use crate::sys::regular;

/// How soon it is asked again after it closed a connection; each time later.
const SOON: Duration = Duration::from_millis(100);

/// How often connections are looked at while waiting.
pub(super) const LOOK: Duration = Duration::from_millis(50);

/// How long one that only looks on leaves the asking to others.
const LOOKING_ON: Duration = Duration::from_secs(3);

/// The largest file read, bytes: an instance takes some hundred.
const LARGEST: u64 = 1 << 20;

/// What is remembered of busy servers.
#[derive(Debug, Default)]
pub(super) struct Drains {
    /// Where it is shared; `None`: it is not.
    file: Option<PathBuf>,
    /// Others ask, this one looks on and leaves the file alone.
    looks_on: bool,
    asked: BTreeMap<InstanceId, Asked>,
    /// Those that a gateway had requests in flight at when it was asked last.
    of_gateway: BTreeSet<InstanceId>,
    /// The sockets of each instance at the last look, before it was asked
    /// anything: none is of a connection of ours.
    sockets: BTreeMap<InstanceId, BTreeSet<u64>>,
    /// Those that the last pass waits for.
    awaited: Vec<(ProcessId, BTreeSet<u64>, Instant)>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    at: Timestamp,
    busy: Busy,
    /// What it held before it was asked, by inode.
    sockets: BTreeSet<u64>,
    /// How long the answer stands.
    pause: Duration,
}

impl Asked {
    /// How long the answer still stands, unless a connection is closed. A clock
    /// that was set back ends it.
    fn left(&self, now: Timestamp, looks_on: bool) -> Duration {
        let pause = if looks_on { LOOKING_ON } else { self.pause };
        if now < self.at { Duration::ZERO } else { pause.saturating_sub(now.since(self.at)) }
    }

    fn has_closed_one(&self, sockets: &BTreeSet<u64>) -> bool {
        !sockets.is_superset(&self.sockets)
    }

    /// Whether the answer stands for a server that holds `sockets` now.
    fn stands(&self, sockets: &BTreeSet<u64>, now: Timestamp, looks_on: bool) -> bool {
        !self.left(now, looks_on).is_zero() && (looks_on || !self.has_closed_one(sockets))
    }

    /// How long the next answer stands.
    fn next_pause(&self, sockets: &BTreeSet<u64>) -> Duration {
        let pause = if self.has_closed_one(sockets) { SOON } else { self.pause.saturating_mul(2) };
        pause.min(Busy::ASKED_EVERY)
    }
}

impl Drains {
    /// A look begins: nothing is known to be waited for.
    pub fn looked(&mut self, sockets: BTreeMap<InstanceId, BTreeSet<u64>>) {
        self.sockets = sockets;
        self.awaited.clear();
    }

    /// Whether one of those waited for may have changed: it closed a connection,
    /// or its answer no longer stands. Said once; the next pass waits anew.
    pub fn may_have_ended(&mut self) -> bool {
        let now = Instant::now();
        let changed = |(process, sockets, until): &(ProcessId, BTreeSet<u64>, Instant)| {
            *until <= now || !sockets_of(process.pid).is_superset(sockets)
        };
        let ended = self.awaited.iter().any(changed);
        if ended {
            self.awaited.clear();
        }
        ended
    }

    /// Whether any is waited for.
    pub fn is_waiting(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Whether this one is waited for.
    pub fn awaits(&self, process: &ProcessId) -> bool {
        self.awaited.iter().any(|(awaited, ..)| awaited == process)
    }

    fn read(&mut self) {
        let Some(file) = &self.file else { return };
        // Gone or damaged: what this process remembers is still true.
        if let Some(asked) = regular::read(file, LARGEST).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            self.asked = asked;
        }
    }

    fn write(&self) {
        if let Some(file) = self.file.as_ref().filter(|_| !self.looks_on) {
            reach(Point::AskedWrite);
            // Without it, or with a half of it, others ask for themselves.
            let _shared = serde_json::to_vec(&self.asked).map_err(io::Error::from).and_then(|text| {
                let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
                open?.write_all(&text)
            });
            reach(Point::AskedWritten);
        }
    }

    fn remember(&mut self, id: &InstanceId, busy: Busy, sockets: BTreeSet<u64>, now: Timestamp) {
        let pause = if self.of_gateway.remove(id) {
            SOON
        } else {
            self.asked.get(id).map_or(Busy::ASKED_EVERY, |before| before.next_pause(&sockets))
        };
        match busy {
            // It is stopped, or comes back as one that was never asked.
            Busy::No => drop(self.asked.remove(id)),
            busy => drop(self.asked.insert(id.clone(), Asked { at: now, busy, sockets, pause })),
        }
    }
}

impl Host {
    /// Shares with other herdsmen, through `file`, when servers were asked;
    /// `looks_on`: this one asks only where no other does.
    #[must_use]
    pub fn sharing(mut self, file: PathBuf, looks_on: bool) -> Self {
        (self.drains.file, self.drains.looks_on) = (Some(file), looks_on);
        self
    }

    /// Whether each instance has requests in flight, in the order given; all
    /// that are due are asked at once. One that is gone or owns no socket is
    /// unknown. `in_flight` are the requests that a gateway has sent to them.
    pub fn busy(&mut self, instances: &[&Instance], in_flight: &BTreeMap<InstanceId, u32>) -> Vec<Busy> {
        if instances.is_empty() {
            return Vec::new();
        }
        self.drains.read();
        let now = Timestamp(jiff::Timestamp::now().as_millisecond());
        let sockets = |instance: &&Instance| {
            let at_the_look = self.drains.sockets.get(&instance.id);
            at_the_look.cloned().unwrap_or_else(|| sockets_of(instance.handle.pid()))
        };
        let sockets: Vec<BTreeSet<u64>> = instances.iter().map(sockets).collect();
        let sent = |instance: &Instance| in_flight.get(&instance.id).copied().filter(|sent| *sent > 0);
        let looks_on = self.drains.looks_on;
        let due: Vec<bool> = instances
            .iter()
            .zip(&sockets)
            .map(|(instance, held)| {
                let stands = |asked: &Asked| asked.stands(held, now, looks_on);
                let is_over = self.drains.of_gateway.contains(&instance.id);
                sent(instance).is_none() && (is_over || !self.drains.asked.get(&instance.id).is_some_and(stands))
            })
            .collect();
        let targets = self.targets(instances).into_iter().zip(&due).map(|(target, due)| target.filter(|_| *due));
        let answers = self
            .ask(targets.collect(), Busy::Unknown, |http, targets| http.busy(targets))
            .unwrap_or_else(|_| vec![Busy::Unknown; instances.len()]);
        for (((instance, held), due), busy) in instances.iter().zip(sockets).zip(&due).zip(answers) {
            if *due {
                self.drains.remember(&instance.id, busy, held, now);
            }
        }
        let are_asked = |id: &InstanceId| instances.iter().any(|instance| instance.id == *id);
        self.drains.of_gateway.retain(are_asked);
        self.drains.asked.retain(|id, asked| are_asked(id) || now.since(asked.at) < LOOKING_ON);
        if due.contains(&true) {
            self.drains.write();
        }
        instances
            .iter()
            .map(|instance| match sent(instance) {
                Some(sent) => self.await_gateway(instance, sent),
                None => self.await_end(instance, now),
            })
            .collect()
    }

    /// Waits for requests that a gateway has sent: it rings when they are over, unless
    /// it is that of another process.
    fn await_gateway(&mut self, instance: &Instance, sent: u32) -> Busy {
        self.drains.of_gateway.insert(instance.id.clone());
        let until = Instant::now() + Busy::ASKED_EVERY;
        self.drains.awaited.push((instance.handle.process().clone(), BTreeSet::new(), until));
        Busy::Yes(usize::try_from(sent).unwrap_or(usize::MAX))
    }

    /// What an instance answered last, which is waited out unless it is idle.
    fn await_end(&mut self, instance: &Instance, now: Timestamp) -> Busy {
        let Some(asked) = self.drains.asked.get(&instance.id) else { return Busy::No };
        let until = Instant::now() + asked.left(now, self.drains.looks_on);
        self.drains.awaited.push((instance.handle.process().clone(), asked.sockets.clone(), until));
        asked.busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Timestamp = Timestamp(1_000_000);

    fn sockets(held: &[u64]) -> BTreeSet<u64> {
        held.iter().copied().collect()
    }

    fn after(ms: i64) -> Timestamp {
        Timestamp(T.0 + ms)
    }

    #[test]
    fn an_answer_stands_until_its_time_is_over_or_a_connection_of_then_is_closed() {
        let asked = Asked { at: T, busy: Busy::Yes(1), sockets: sockets(&[1, 2]), pause: Busy::ASKED_EVERY };
        assert!(asked.stands(&sockets(&[1, 2]), after(1_000), false));
        assert!(asked.stands(&sockets(&[1, 2, 3]), after(1_000), false), "a new one ends nothing");
        assert!(!asked.stands(&sockets(&[1, 3]), after(1), false));
        assert!(!asked.stands(&sockets(&[1, 2]), after(1_100), false));
        assert!(!asked.stands(&sockets(&[1, 2]), after(-1), false), "the clock was set back");
    }

    #[test]
    fn a_read_only_host_leaves_the_asking_to_others_for_a_while() {
        let asked = Asked { at: T, busy: Busy::Yes(1), sockets: sockets(&[1]), pause: SOON };
        assert!(asked.stands(&sockets(&[]), after(2_900), true));
        assert!(!asked.stands(&sockets(&[1]), after(3_000), true));
    }

    #[test]
    fn after_a_connection_was_closed_it_is_asked_again_soon_and_then_ever_later() {
        let (mut drains, id) = (Drains::default(), InstanceId("i".to_owned()));
        let mut pauses = Vec::new();
        for held in [&[1, 2][..], &[1], &[1], &[1], &[1], &[1], &[1], &[]] {
            drains.remember(&id, Busy::Yes(1), sockets(held), T);
            pauses.push(drains.asked[&id].pause.as_millis());
        }
        assert_eq!(pauses, [1100, 100, 200, 400, 800, 1100, 1100, 100]);
        drains.remember(&id, Busy::No, sockets(&[]), T);
        assert!(drains.asked.is_empty());
    }

    #[test]
    fn herdsmen_share_answers_through_a_file_and_survive_a_damaged_one() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let file = directory.path().join("slots.json");
        let drains = || Drains { file: Some(file.clone()), ..Drains::default() };
        let (mut one, mut other, id) = (drains(), drains(), InstanceId("i".to_owned()));
        one.read();
        one.remember(&id, Busy::Yes(2), sockets(&[7]), T);
        one.write();
        other.read();
        assert_eq!(other.asked, one.asked);
        std::fs::write(&file, "{\"i\":")?;
        other.read();
        assert_eq!(other.asked, one.asked);
        Ok(())
    }
}
